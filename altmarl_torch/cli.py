"""`altmarl`: the command line."""

from altmarl_torch.runs.cli.main import main

__all__ = ["main"]
