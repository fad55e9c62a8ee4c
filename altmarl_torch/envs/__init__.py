"""The game as environments of Gymnasium and PettingZoo, for whoever learns with other tools (extra `envs`).

`DispatcherEnv` and `vector_env` are the coordinator's side, `LocalEnv` and `local_vector_env` a local agent's, and
`parallel_env` all agents by name; `SimulatedLocalEnv` and `simulated_local_vector_env` are a local agent's side of a
simulator. Nothing here is needed to solve a game. `docs/environments.md` shows them at work.
"""

from altmarl_torch.envs.base import SystemVectorEnv
from altmarl_torch.envs.dispatcher import DispatcherEnv, vector_env
from altmarl_torch.envs.local import LocalEnv, local_vector_env
from altmarl_torch.envs.parallel import GameParallelEnv, parallel_env
from altmarl_torch.envs.simulated import SimulatedLocalEnv, simulated_local_vector_env

__all__ = [
    "DispatcherEnv",
    "GameParallelEnv",
    "LocalEnv",
    "SimulatedLocalEnv",
    "SystemVectorEnv",
    "local_vector_env",
    "parallel_env",
    "simulated_local_vector_env",
    "vector_env",
]
