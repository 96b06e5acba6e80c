"""The gates before traffic, one a file; `serinus.parity.verify` tries them in order."""
