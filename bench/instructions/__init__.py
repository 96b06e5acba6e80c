"""Instruction counts of the hot paths: a regression is seen without a timed test."""
