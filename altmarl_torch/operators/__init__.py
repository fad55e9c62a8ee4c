"""Bellman operators on the counts of k agents, their fixed points, and the joint value of a pair."""
