"""Logs of what agents did: read from files of many makes, checked, and counted into the tables of a game."""
