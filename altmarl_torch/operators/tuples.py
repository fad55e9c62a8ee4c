r"""The Bellman operators on tables over k-tuples of local states, `[sg, sl^k, ag]`.

The paper uses them where sl^k <= sl k^sl (Algorithm 1). Folding tuples onto their counts maps one form to the other.
"""

import torch
from einops import einsum, rearrange
from torch import Tensor

from altmarl_torch.counts.tuples import list_tuples, tuples_to_counts
from altmarl_torch.games.crowd import global_rewards
from altmarl_torch.games.game import Game
from altmarl_torch.operators.bellman import Draws, draw_next_sg

__all__ = ["adapted_bellman_tuples", "draw_next_tuples", "tuple_reward", "uses_tuples"]


def draw_next_tuples(game: Game, P_l_pi: Tensor, k: int, m: int, generator: torch.Generator) -> Draws:
    """Draw m next states from each (s_g, s_1..s_k, a_g) (Definition B.3)."""
    tuples = list_tuples(k, game.num_sl, game.device)
    place = game.num_sl ** torch.arange(k - 1, -1, -1, device=game.device)
    drawn = [
        rearrange(
            torch.multinomial(P_l_pi[:, s], len(tuples) * m * k, True, generator=generator),
            "l (t j i) -> t j i l",
            j=m,
            i=k,
        )
        for s in range(game.num_sg)
    ]
    index = rearrange(tuples, "t i -> t 1 i 1").expand(-1, m, -1, 1)
    local = torch.stack([(states.gather(-1, index)[..., 0] * place).sum(-1) for states in drawn])
    return Draws(draw_next_sg(game, len(tuples), m, generator), local)


def adapted_bellman_tuples(Q: Tensor, reward: Tensor, game: Game, P_l_pi: Tensor, k: int) -> Tensor:
    """T-hat_k Q (Definition B.2) on k-tuples: Q and reward `[sg, sl^k, ag]`, the agents' states in `list_tuples` order.

    E over (s_1', ..., s_k') is taken agent by agent: P_l_pi is applied along each of the k axes in turn.
    """
    backed_up = []
    P_g, P_l_pi = game.P_g.to(Q.dtype), P_l_pi.to(Q.dtype)
    for sg in range(game.num_sg):
        values = rearrange(Q.amax(-1), "G t -> t G")
        for _ in range(k):
            agent_first = rearrange(values, "(l rest) G -> l (rest G)", l=game.num_sl)
            moved = P_l_pi[:, sg] @ agent_first
            values = rearrange(moved, "l (rest G) -> (rest l) G", G=game.num_sg)
        backed_up.append(einsum(P_g[sg], values, "a G, t G -> t a"))
    return reward.to(Q.dtype) + game.gamma * torch.stack(backed_up)


def tuple_reward(game: Game, r_l_pi: Tensor, k: int) -> Tensor:
    """r_Delta of Eq. 6 on k-tuples: `[sg, sl^k, ag]`."""
    frequencies = tuples_to_counts(list_tuples(k, game.num_sl, game.device), game.num_sl).to(r_l_pi.dtype) / k
    globally = game.r_g[:, None, :] if game.r_g_mu is None else global_rewards(game, frequencies)
    return globally + einsum(frequencies, r_l_pi, "t l, l g -> g t").unsqueeze(-1)


def uses_tuples(num_sl: int, k: int) -> bool:
    """The paper's switch rule (Algorithms 1 and 2): tables over tuples where sl^k <= sl k^sl, over counts elsewhere."""
    return bool(num_sl**k <= num_sl * k**num_sl)
