"""What runs inside the peers' own environments. Nothing here may import the rest of the bench."""
