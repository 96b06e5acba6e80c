"""What requests showed about a candidate: counters, tests valid at any look, verdicts. Pure."""
