"""What holds between the parts of a game: rewards beside their laws, the first state's law, types, a finite V_max."""

import math

import torch
from torch import Tensor

from altmarl_torch.errors import GameError
from altmarl_torch.games.initial import InitialLaw
from altmarl_torch.games.reward_base import RewardLaw
from altmarl_torch.games.tables import TABLE_AXES
from altmarl_torch.support.tables import refuse_first

__all__ = ["check_bound", "check_types", "fitting_initial", "split_law"]


def split_law(name: str, table: object, kept: str, law: object) -> tuple[RewardLaw | None, object]:
    """The law of the reward `name` and its mean, from a law that was given as the table, or beside it as `kept`.

    Raises:
        GameError: what was given beside the table is no law, or the table is not its mean.
    """
    if isinstance(table, RewardLaw):
        return table, table.mean
    if law is None:
        return None, table
    if not isinstance(law, RewardLaw):
        raise GameError(f"{kept} must be a reward law or None, not {type(law).__name__}")
    if not (isinstance(table, Tensor) and torch.equal(table, law.mean)):
        raise GameError(f"{name} must be the mean of {kept}; give the law itself as {name}, or {kept} = None")
    return law, table


def check_bound(r_g: Tensor, r_l: Tensor, v_max: float) -> None:
    """Refuse rewards so large that no float holds v_max; the message names the largest."""
    if not math.isfinite(v_max):
        name, table = max((("r_g", r_g), ("r_l", r_l)), key=lambda pair: float(pair[1].abs().max()))
        sizes = table.abs()
        rule = "rewards must be so small that V_max = (max|r_g| + max|r_l|) / (1 - gamma) is finite"
        refuse_first(name, table, TABLE_AXES[name], sizes == sizes.max(), rule, GameError)


def fitting_initial(initial: object, num_sg: int, num_sl: int, device: torch.device) -> InitialLaw:
    """The given law of the first state, or the default for None, on `device`; GameError where it is of other sizes."""
    law = InitialLaw.uniform(num_sg, num_sl) if initial is None else initial
    if not isinstance(law, InitialLaw):
        raise GameError(f"initial must be an InitialLaw or None, not {type(law).__name__}")
    for name, part, size, table in (("sg", law.sg, num_sg, "P_g"), ("local_mean", law.local_mean, num_sl, "P_l")):
        if len(part) != size:
            raise GameError(f"initial.{name} has {len(part)} entries, but {table} has {size} states")
    return law.to(device)


def check_types(P_l: Tensor, num_types: int) -> None:
    """Types never change: P_l `[sl, sg, al, sl']` leads from no block of local states to another."""
    if num_types > 1:
        num_sl = len(P_l)
        block = torch.arange(num_sl, device=P_l.device) * num_types // num_sl
        leaves = block[:, None, None, None] != block
        rule = f"the local states are of {num_types} types, and an agent's type never changes"
        refuse_first("P_l", P_l, TABLE_AXES["P_l"], leaves & (P_l > 0), rule, GameError)
