"""A lifted policy as arrays and text, and back: `policy/coefficients [sg, ag, N_J]`, and JSON under `policy/spec`.

r_g_mu is a function, and in no file: the spec says that the policy reads it, and whoever unpacks has it at hand.
"""

import json
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from altmarl_torch.counts.lifted import Basis
from altmarl_torch.errors import AltMarlError, FileFormatError
from altmarl_torch.games.crowd import CrowdReward
from altmarl_torch.learners.lifted.policies import LiftedPolicy
from altmarl_torch.support.tables import as_finite, as_integer, as_table

__all__ = ["FAMILY", "READS", "pack_lifted", "unpack_lifted"]

FAMILY = "lifted"
SPEC, COEFFICIENTS = "policy/spec", "policy/coefficients"
READS = "r_g_mu"
"""Key of the spec of a policy that reads the game's r_g_mu; others have none."""


def pack_lifted(policy: LiftedPolicy) -> dict[str, NDArray[np.generic] | str]:
    """The entries of a stored policy."""
    seen = None if math.isinf(policy.k) else int(policy.k)
    facts = {"family": FAMILY, "degree": policy.degree, "k": seen}
    spec = json.dumps(facts if policy.r_g_mu is None else facts | {READS: True})
    return {SPEC: spec, COEFFICIENTS: policy.coefficients.cpu().numpy()}


def unpack_lifted(
    arrays: Mapping[str, NDArray[np.generic] | str], num_sl: int, r_g_mu: CrowdReward | None = None
) -> LiftedPolicy:
    """The policy that `pack_lifted` made into `arrays`, on the CPU, with the game's `r_g_mu` where it reads that.

    Raises:
        FileFormatError: an entry is missing or malformed, the coefficients are not of this degree, or r_g_mu is
            missing.
    """
    try:
        spec = json.loads(str(arrays[SPEC]))
        degree = as_integer(f"{SPEC}: degree", spec["degree"], 1, math.inf, FileFormatError)
        k = math.inf
        if spec["k"] is not None:  # a float, as learners have it: digests tell 20 from 20.0
            k = float(as_integer(f"{SPEC}: k", spec["k"], degree, math.inf, FileFormatError))
        table = as_table(COEFFICIENTS, arrays[COEFFICIENTS], "sg ag j", FileFormatError)
        size, reads = Basis(degree, num_sl).size, bool(spec.get(READS, False))
    except FileFormatError:
        raise
    except (AltMarlError, KeyError, TypeError, ValueError) as cause:
        raise FileFormatError(f"the lifted policy is malformed: {type(cause).__name__}: {cause}") from cause
    if table.shape[-1] != size:
        raise FileFormatError(f"{COEFFICIENTS} has {table.shape[-1]} of degree {degree}; {size} are needed")
    if reads and r_g_mu is None:
        raise FileFormatError("the lifted policy reads r_g_mu, a function, which is in no file")
    seen = r_g_mu if reads else None
    return LiftedPolicy(as_finite(COEFFICIENTS, table, "sg ag j", FileFormatError), degree, num_sl, k, seen)
