"""The specified algorithms on tables: G-LEARN (Algorithm 1) and L-LEARN (Algorithm 2), beside a model-based L-LEARN."""

from altmarl_torch.learners.chains.chain import NOTHING_PENDING, ChainedMDP, chained_mdp
from altmarl_torch.learners.chains.deciding import decide_before_acting
from altmarl_torch.learners.chains.episodic import EpisodicMDP
from altmarl_torch.learners.chains.l_learn import ChainResponse, chain_l_learn
from altmarl_torch.learners.chains.simulator import ChainSimulator
from altmarl_torch.learners.chains.ucfh import UCFHResult, ucfh
from altmarl_torch.learners.chains.visits import sample_visits
from altmarl_torch.learners.settings import ChainSettings
from altmarl_torch.learners.tabular.g_learn import GlobalResponse, approx_value, g_learn
from altmarl_torch.learners.tabular.l_learn import LocalResponse, agent_values, l_learn

__all__ = [
    "NOTHING_PENDING",
    "ChainResponse",
    "ChainSettings",
    "ChainSimulator",
    "ChainedMDP",
    "EpisodicMDP",
    "GlobalResponse",
    "LocalResponse",
    "UCFHResult",
    "agent_values",
    "approx_value",
    "chain_l_learn",
    "chained_mdp",
    "decide_before_acting",
    "g_learn",
    "l_learn",
    "sample_visits",
    "ucfh",
]
