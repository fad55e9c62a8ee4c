"""What touches the disk and the terminal: configuration, run folders, training from end to end."""

from altmarl_torch.runs.config import TrainConfig
from altmarl_torch.runs.folder import open_run

__all__ = ["TrainConfig", "open_run"]
