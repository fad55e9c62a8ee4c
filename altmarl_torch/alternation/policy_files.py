"""Any policy that is no table as entries of a file, and back: each family by the learner that makes it."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from altmarl_torch.learners.lifted.policies import LiftedPolicy
from altmarl_torch.learners.lifted.storage import FAMILY, pack_lifted, unpack_lifted
from altmarl_torch.learners.neural import storage
from altmarl_torch.learners.neural.policies import BatchPolicy

__all__ = ["pack_policy", "unpack_policy"]


def pack_policy(policy: BatchPolicy) -> dict[str, NDArray[np.generic] | str]:
    """The entries of a stored policy; an ArgumentError where it cannot be stored."""
    return pack_lifted(policy) if isinstance(policy, LiftedPolicy) else storage.pack_policy(policy)


def unpack_policy(
    arrays: Mapping[str, NDArray[np.generic] | str], k: int, num_sl: int, network: nn.Module | None = None
) -> BatchPolicy:
    """The policy that `pack_policy` made into `arrays`, on the CPU; a FileFormatError where it is malformed.

    `network` is filled, where the policy is that of a network of one's own class.
    """
    if _family(arrays) == FAMILY:
        return unpack_lifted(arrays, num_sl)
    return storage.unpack_policy(arrays, k, num_sl, network)


def _family(arrays: Mapping[str, NDArray[np.generic] | str]) -> Any:
    """What the spec says; None where it says nothing that can be read."""
    try:
        spec = json.loads(str(arrays["policy/spec"]))
    except (KeyError, ValueError, RecursionError):
        return None
    return spec.get("family") if isinstance(spec, dict) else None
