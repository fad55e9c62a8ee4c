"""Counts of k agents: ranking them, and the law of the next counts."""
