"""Classifies why live predictions are odd, by proof; pure over a snapshot of what is known."""
