"""Rewards around zero: an offset of all rewards changes no policy, but it drowns differences and inflates bounds."""

from altmarl_torch.games.game import Game

__all__ = ["centre_rewards"]


def centre_rewards(game: Game) -> tuple[Game, float]:
    """The game with each reward's middle at zero, and by how much each step's reward was lowered.

    Values are lowered by that over 1 - gamma. The middle of r_g_mu is taken from r_g.
    """
    middles = [float(table.max() + table.min()) / 2 for table in (game.r_g, game.r_l)]
    middles[0] += sum(game.crowd_range) / 2
    return game.replace(r_g=game.r_g - middles[0], r_l=game.r_l - middles[1]), sum(middles)
