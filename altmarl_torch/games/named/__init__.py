"""The named games, one file each."""
