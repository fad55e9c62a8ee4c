"""Tuples: the states of k agents that have names, which is what the paper's tables are over where they are few.

A tuple (s_1, ..., s_k) lists a state for each agent; folding it onto its counts forgets who is where.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from altmarl_torch.counts.simplex import MAX_LISTED_ENTRIES, CountSimplex
from altmarl_torch.errors import SizeError

__all__ = ["counts_to_tuples", "list_tuples", "rank_tuples", "tuples_to_counts"]


def list_tuples(k: int, num_sl: int, device: torch.device | str = "cpu") -> Tensor:
    """Every k-tuple of local states, `[sl^k, k]` int64, the last agent running fastest. SizeError where too many."""
    if num_sl**k * k > MAX_LISTED_ENTRIES:
        raise SizeError(f"{num_sl}^{k} = {float(num_sl) ** k:.3g} tuples are too many to list; use counts instead")
    axes: Sequence[Tensor] = [torch.arange(num_sl, device=device)] * k
    return torch.cartesian_prod(*axes).reshape(-1, k)


def rank_tuples(simplex: CountSimplex) -> Tensor:
    """The rank of the counts of every k-tuple, `[sl^k]`, in the order of `list_tuples`."""
    tuples = list_tuples(simplex.k, simplex.num_sl, simplex.device)
    ranks: Tensor = simplex.rank(tuples_to_counts(tuples, simplex.num_sl))
    return ranks


def tuples_to_counts(tuples: Tensor, num_sl: int) -> Tensor:
    """Count the agents in each state: `[..., k]` states to `[..., sl]` counts."""
    return torch.nn.functional.one_hot(tuples, num_sl).sum(-2)


def counts_to_tuples(counts: Tensor) -> Tensor:
    """List the agents in ascending order of state: `[..., sl]` counts with sum k to `[..., k]` states."""
    k = int(counts.reshape(-1, counts.shape[-1])[0].sum())
    places = torch.arange(k, device=counts.device).expand(*counts.shape[:-1], k).contiguous()
    return torch.searchsorted(counts.cumsum(-1).contiguous(), places, right=True)
