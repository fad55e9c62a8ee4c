"""Asking when it pays, beside the best fixed k: how many, a belief decides at each step (`asking.deciding`)."""

from dataclasses import dataclass

from altmarl_torch.alternation.selection import LARGEST_FIT
from altmarl_torch.asking.deciding import BeliefPair, Paid, ask_and_pay, decide_by_belief
from altmarl_torch.asking.played import Asking, Played
from altmarl_torch.learners.beliefs.fitting import work_of
from altmarl_torch.support.intervals import Difference

__all__ = ["Deciding", "when_it_pays"]

NUMBERS = (0, 1, 2, 3, 6)
"""Questions at a step to choose from: belief is quickly sure, and a step later more may be asked."""


@dataclass(frozen=True, eq=False)
class Deciding:
    """A pair that asks when it pays, and what it earns.

    Attributes:
        pair: its dispatcher decides how many to ask.
        paid: its episodes, those of all ways, with its questions.
        lead: its net return over that of the best fixed k, on the same episodes.
    """

    pair: BeliefPair
    paid: Paid
    lead: Difference

    @property
    def net(self) -> float:
        """What is left of the return when everybody who was asked is paid."""
        return float(self.paid.net.mean())

    def __str__(self) -> str:
        """The end of a sentence."""
        more = f"{abs(self.lead.mean):.3g} +- {self.lead.sem:.2g} {'more' if self.lead.mean > 0 else 'less'}"
        return f"asking when it pays, {self.paid.mean_asked:.2g} a step, leaves {self.net:.5g} ({more})"

    def row(self, place: int, prices: int) -> list[str]:
        """Its line of the table, of which it fills the columns of its own price: `place` of so many `prices`."""
        mean, sem = self.paid.mean, self.paid.sem
        paid, net = ([""] * prices for _ in range(2))
        paid[place], net[place] = f"{mean - self.net:.2f}", f"{self.net:.2f} "
        return [f"0..{self.pair.k}", "yes", "when it pays", f"{mean:.2f}", f"{sem:.2f}", *paid, *net]


def when_it_pays(played: Played, best: Asking, price: float, most: int) -> Deciding | None:
    """What asking up to `most` agents when it pays earns beside the `best` fixed k; None where it is not tried.

    That is where questions are free, where some do not answer, and where values of beliefs would take long to fit.
    """
    game, plays, numbers = played.game, played.plays, [number for number in NUMBERS if number <= most]
    if price == 0 or plays.answer_rate < 1 or work_of(game, numbers[-1]) > LARGEST_FIT:
        return None
    pair = decide_by_belief(game, numbers, price=price, pi_l=played.remembering.pi_l, seed=plays.seed)
    paid = ask_and_pay(game, pair, episodes=plays.episodes, horizon=plays.horizon, seed=plays.seed)
    if played.told:
        played.told(f"0 to {pair.k} when it pays {price:g}: {paid.net.mean():.5g} left")
    return Deciding(pair, paid, Difference.of(paid.net - (best.returns - best.paid(price))))
