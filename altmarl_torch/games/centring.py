"""Rewards around zero: an offset of all rewards changes no policy, but it drowns differences and inflates bounds."""

from altmarl_torch.games.game import Game

__all__ = ["centre_rewards"]


def centre_rewards(game: Game) -> tuple[Game, float]:
    """The game with each reward's middle at zero, and by how much each step's reward was lowered.

    Values are lowered by that over 1 - gamma.
    """
    middles = [float(table.max() + table.min()) / 2 for table in (game.r_g, game.r_l)]
    return game.replace(r_g=game.r_g - middles[0], r_l=game.r_l - middles[1]), sum(middles)
