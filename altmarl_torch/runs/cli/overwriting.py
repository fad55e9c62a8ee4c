"""Commands that write files do not write over others unless they are told to."""

import argparse
from pathlib import Path

from altmarl_torch.errors import ArgumentError

__all__ = ["add_force", "refuse_existing"]


def add_force(parser: argparse.ArgumentParser) -> None:
    """The flag `--force`."""
    parser.add_argument("--force", action="store_true", help="write over files that are there already")


def refuse_existing(files: list[Path], force: bool) -> None:
    """Raise an ArgumentError that names the first of `files` that is there already, unless `force`."""
    there = [file for file in files if file.exists()]
    if there and not force:
        raise ArgumentError(f"{there[0]} is there already: pass --force to write over it, or another --out")
