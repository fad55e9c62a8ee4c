"""Runs of simulators: the same run folder, tags and report, with a game that is in no file."""
