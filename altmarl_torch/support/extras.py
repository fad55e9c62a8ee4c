"""Partners' packages, which are extras: imported where they are used, and named where they are missing."""

import importlib
from typing import Any

from altmarl_torch.errors import MissingExtraError

__all__ = ["require"]


def require(module: str, extra: str) -> Any:
    """The module of that name, from a package that the extra of that name installs.

    Raises:
        MissingExtraError: it is not installed; the message is one line with the `pip install`.
    """
    try:
        return importlib.import_module(module)
    except ImportError as cause:
        package = module.partition(".")[0]
        raise MissingExtraError(f"{package} is missing; pip install 'altmarl-torch[{extra}]'") from cause
