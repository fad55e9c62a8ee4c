"""The specified algorithms on tables: G-LEARN (Algorithm 1) and the model-based L-LEARN."""

from altmarl_torch.tabular.g_learn import GlobalResponse, approx_value, g_learn
from altmarl_torch.tabular.l_learn import LocalResponse, agent_values, l_learn

__all__ = ["GlobalResponse", "LocalResponse", "agent_values", "approx_value", "g_learn", "l_learn"]
