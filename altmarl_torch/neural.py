"""The neural solver: the tabular modules' Bellman operators on batches of counts, with networks in place of tables."""

from altmarl_torch.learners.neural.fitting import Fit, fit
from altmarl_torch.learners.neural.l_learn import Gains, local_gains
from altmarl_torch.learners.neural.networks import CountNetwork, LocalNetwork
from altmarl_torch.learners.neural.policies import NetworkPolicy, UniformPolicy
from altmarl_torch.learners.neural.rollout_evaluator import RolloutEvaluator
from altmarl_torch.learners.neural.surrogate import BatchSurrogate, table_values
from altmarl_torch.learners.settings import Settings

__all__ = [
    "BatchSurrogate",
    "CountNetwork",
    "Fit",
    "Gains",
    "LocalNetwork",
    "NetworkPolicy",
    "RolloutEvaluator",
    "Settings",
    "UniformPolicy",
    "fit",
    "local_gains",
    "table_values",
]
