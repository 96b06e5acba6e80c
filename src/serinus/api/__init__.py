"""The control API: turns requests into wishes in the store, and the store into answers."""
