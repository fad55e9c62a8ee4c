"""What touches the disk and the terminal: configuration, run folders, training from end to end."""

from typing import TYPE_CHECKING

from altmarl_torch.runs.config import TrainConfig
from altmarl_torch.support.lazily import lazy

if TYPE_CHECKING:
    from altmarl_torch.runs.folder import open_run

__all__ = ["TrainConfig", "open_run"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(__name__, {"folder": ("open_run",)})
