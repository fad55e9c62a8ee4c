"""Local policies that the alternation of a simulator may begin from, by name.

uniform     every action alike
walk        whatever brings an agent nearest to s_g, where the game says by how much actions move (`offsets`)
greedy      what r_l pays at once, where that does not depend on the crowd
"""

from altmarl_torch.learners.simulated.policies import LocalPolicy, NamedLocal, UniformLocal, local_action_rewards
from altmarl_torch.simulators.game import SimulatedGame
from altmarl_torch.simulators.rules import walk
from altmarl_torch.simulators.spaces import Discrete

__all__ = ["local_starts"]


def local_starts(game: SimulatedGame) -> dict[str, LocalPolicy]:
    """Those of the module's page that the game has."""
    found: dict[str, LocalPolicy] = {"uniform": UniformLocal(game)}
    if not isinstance(game.local_action, Discrete):
        return found
    if game.offsets is not None:
        feature = 0 if game.zones is None else game.zones.feature
        found["walk"] = NamedLocal("walk", walk(game.offsets, feature))
    if "r_l" not in game.sees:
        found["greedy"] = NamedLocal("greedy", lambda s_l, s_g: local_action_rewards(game, s_l, s_g).argmax(-1))
    return found
