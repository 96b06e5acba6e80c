"""Where replicas run. Knows models, environments and processes; nothing of weights or rollouts."""
