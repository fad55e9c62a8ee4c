"""Public names of `policies.rules`."""

from altmarl_torch.policies.rules import (
    RULES,
    WALKERS,
    HeuristicPair,
    Rule,
    RuleDispatcher,
    constant_pair,
    constant_values,
    heuristic_pair,
    heuristic_pairs,
    pair_word,
    table,
)

__all__ = [
    "RULES",
    "WALKERS",
    "HeuristicPair",
    "Rule",
    "RuleDispatcher",
    "constant_pair",
    "constant_values",
    "heuristic_pair",
    "heuristic_pairs",
    "pair_word",
    "table",
]
