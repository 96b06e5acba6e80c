"""The servers a user would pick instead, and the limits, measured beside Serinus in one run."""
