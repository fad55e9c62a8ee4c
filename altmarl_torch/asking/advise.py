r"""`advise`: the k, and whether to remember, that earns most when every question has a price.

Each way of asking (`asking.played`) has a return that does not depend on the price, so a few ways answer for every
price. They are chosen where it matters:

    1  a coarse ladder of k, each about half as much again as the last, with memory and without
    2  for every price, of the kind (with memory or without) that is best there: the k with the highest net return; the
       middles of the gaps beside it are played where a k in the gap could be better by half a standard error, taking
       for granted that more seen earns no less than fewer
    3  2 again until nothing new is asked for
    4  at every price above 0, beside the best k: asking *when it pays*, 0 to 6 questions a step as a belief decides
       (`asking.paying`)

All ways play the same episodes, so that differences of net returns are known better than the returns themselves, and
each is given with Student's interval. Where curves are flat the noise decides between neighbours; `Choice.alike` lists
them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from altmarl_torch.asking.paying import Deciding, when_it_pays
from altmarl_torch.asking.played import Asking, Played, Plays
from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.game import Game, check_game
from altmarl_torch.support.intervals import Difference
from altmarl_torch.support.tables import as_integer, as_number, as_seed
from altmarl_torch.support.threads import one_thread

__all__ = ["Advice", "Choice", "advise"]

LARGEST_K = 50
"""Agents that are asked at most, unless told otherwise."""

STEP = 1.5
"""One rung of the ladder above the last."""


@dataclass(frozen=True, eq=False)
class Choice:
    """What to do at a price.

    Attributes:
        price: for each asked agent and step.
        asking: what earns most after it is paid.
        rival: the best of the other kind (without memory, where the choice has one); None where only one was tried.
        lead: net return of the choice over the rival's, on the same episodes; None without one.
        alike: every k of the choice's kind that was played and whose net return cannot be told from the choice's.
        when_it_pays: asking a number that is decided at each step, and what it leaves over the choice; None without a
            memory, where nothing is paid, where some do not answer, and where its values would take long to fit.
    """

    price: float
    asking: Asking
    rival: Asking | None
    lead: Difference | None
    alike: tuple[int, ...]
    when_it_pays: Deciding | None = None

    @property
    def net(self) -> float:
        """What is left of the return when everybody who was asked is paid."""
        return self.asking.net(self.price)

    def __str__(self) -> str:
        """One sentence."""
        best, said = self.asking, f"at a price of {self.price:g} {_words(self.asking)}: {self.net:.5g}"
        if best.k and self.price:
            said += f" net of {best.paid(self.price):.3g}"
        if self.rival is not None and self.lead is not None:
            less = f"{self.lead.mean:.3g} less (95 % interval {self.lead.low:.3g} to {self.lead.high:.3g})"
            kind = "memoryless" if best.remembers else "with memory"
            said += f"; the best {kind} is {self.rival.k or 'to ask nobody'} ({self.rival.method}), {less}"
        if len(self.alike) > 1:
            said += f"; k = {', '.join(map(str, self.alike))} cannot be told apart"
        return said if self.when_it_pays is None else f"{said}; {self.when_it_pays}"


@dataclass(frozen=True, eq=False)
class Advice:
    """What every k that was played earns, and what to do at each price.

    Attributes:
        ways: all ways of asking, by k, those with a memory first.
        choices: one for each price, in the order of `costs`; none where no price was given.
        enough: the smallest k that earns `share` of what everybody seen would; None where prices were given, or no k
            does.
        everybody: what everybody seen would earn.
        share: of `enough`.
    """

    ways: tuple[Asking, ...]
    choices: tuple[Choice, ...]
    enough: Asking | None
    everybody: Asking
    share: float

    def __str__(self) -> str:
        """The table, and a sentence for each price."""
        return "\n".join([self.table(), "", *self.sentences()])

    def sentences(self) -> list[str]:
        """The answer, in a sentence for each price."""
        if self.choices:
            return [str(choice) for choice in self.choices]
        target = f"{100 * self.share:g} % of the {self.everybody.mean:.5g} that everybody seen would earn"
        if self.enough is None:
            return [f"no k that was played earns {target}"]
        return [f"{_words(self.enough)}: {self.enough.mean:.5g}, at least {target}"]

    def table(self) -> str:
        """Every way that was played: k, method, return with its standard error; at each price what is paid and left."""
        paying = [choice for choice in self.choices if choice.price > 0]
        prices = [choice.price for choice in paying]
        head = ["k", "memory", "by", "return", "+-", *(f"{word} at {p:g}" for word in ("paid", "net") for p in prices)]
        rows = [head, *(self._row(way, paying) for way in self.ways)]
        decided = [(place, choice.when_it_pays) for place, choice in enumerate(paying)]
        rows += [one.row(place, len(prices)) for place, one in decided if one]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)

    @staticmethod
    def _row(way: Asking, choices: Sequence[Choice]) -> list[str]:
        """A way, as a line of the table; a star marks the choice at a price."""
        nets = [f"{way.net(one.price):.2f}{'*' if way is one.asking else ' '}" for one in choices]
        name = [str(way.k), "yes" if way.remembers else "no", way.method, f"{way.mean:.2f}", f"{way.sem:.2f}"]
        return [*name, *(f"{way.paid(one.price):.2f}" for one in choices), *nets]


@one_thread()
def advise(
    game: Game,
    costs: float | Sequence[float] | None = None,
    *,
    share: float = 0.99,
    largest: int | None = None,
    memory: bool = True,
    answer_rate: float = 1.0,
    episodes: int = 2000,
    horizon: int = 100,
    seed: int = 0,
    told: Callable[[str], None] | None = None,
) -> Advice:
    """How many agents to ask, and whether to remember, at each price of a question.

    Args:
        game: the game.
        costs: a price, or several, for each asked agent and step, at least 0, in units of reward; None asks for the
            smallest k that earns `share` of what everybody seen would.
        share: in (0, 1].
        largest: the largest k that is tried; None for 50, or n.
        memory: whether the dispatcher may remember (`observation="filter"`, outside the paper's class Pi_g).
        answer_rate: chance that an asked agent answers; whoever is asked is paid.
        episodes: of each way of asking, at least 2.
        horizon: steps of each.
        seed: of learning and of the episodes.
        told: called with one line for every way that was played.

    Returns:
        The ways that were played, the choice at each price with its paired lead, and a table and sentences as text.

    Raises:
        ArgumentError: a price is negative, or a number is out of range.

    Examples:
        >>> import altmarl_torch as am
        >>> advice = am.advise(am.games.steer(), costs=[0.0, 0.5], largest=4, episodes=200, horizon=40)
        >>> [choice.asking.k <= 4 for choice in advice.choices]
        [True, True]
    """
    check_game(game, "advise")
    prices = _prices(costs)
    share = as_number("share", share, "(0, 1]", lambda x: 0 < x <= 1, ArgumentError)
    most = min(game.n, LARGEST_K) if largest is None else as_integer("largest", largest, 1, game.n, ArgumentError)
    as_integer("episodes", episodes, 2, 10**9, ArgumentError)
    as_integer("horizon", horizon, 1, 10**9, ArgumentError)
    if not isinstance(memory, bool):
        raise ArgumentError(f"memory must be true or false, not {memory!r}")
    played = Played(game, Plays(episodes, horizon, as_seed(seed), answer_rate), memory, told)
    kinds = (True, False) if memory else (False,)
    everybody = played.everybody()
    if prices is None:
        enough = _smallest(played, kinds[0], most, everybody.mean - (1 - share) * abs(everybody.mean))
        return Advice(_ways(played, most), (), enough, everybody, share)
    _search(played, kinds, most, prices)
    choices = tuple(_choice(played, most, kinds, price) for price in prices)
    if memory:
        choices = tuple(replace(one, when_it_pays=when_it_pays(played, one.asking, one.price, most)) for one in choices)
    return Advice(_ways(played, most), choices, None, everybody, share)


def _prices(costs: object) -> list[float] | None:
    """Every price, checked."""
    if costs is None:
        return None
    listed = list(costs) if isinstance(costs, Iterable) and not isinstance(costs, str) else [costs]
    if not listed:
        raise ArgumentError("costs must be a price or several, not an empty list")
    return [as_number("costs", price, "[0, inf)", lambda x: 0 <= x < float("inf"), ArgumentError) for price in listed]


def _ladder(most: int) -> list[int]:
    """0, 1, 2, 3, 5, 8, ..., most."""
    rungs = [0, 1]
    while rungs[-1] < most:
        rungs.append(min(most, max(rungs[-1] + 1, round(STEP * rungs[-1]))))
    return rungs


def _search(played: Played, kinds: Sequence[bool], most: int, prices: list[float]) -> None:
    """Steps 1 to 3."""
    for k in _ladder(most):
        for kind in kinds:
            played.way(k, kind)
    while True:
        wanted = set[tuple[int, bool]]()
        for price in prices:
            best = max((way for way in played.ways.values() if way.k <= most), key=lambda way: way.net(price))
            ways = sorted(_of(played, most, best.remembers), key=lambda way: way.k)
            wanted |= {(k, best.remembers) for k in _around(ways, price)}
        if not wanted:
            return
        for k, kind in sorted(wanted):
            played.way(k, kind)


def _around(ways: list[Asking], price: float) -> list[int]:
    """The middles of the gaps beside the best k of ways in the order of k, where a k in the gap could be better."""
    best = max(range(len(ways)), key=lambda index: ways[index].net(price))
    enough, middles = ways[best].net(price) + ways[best].sem / 2, []
    for low, high in ((best - 1, best), (best, best + 1)):
        if low < 0 or high == len(ways) or ways[high].k - ways[low].k < 2:
            continue
        per_question = ways[high].asked / ways[high].k
        if ways[high].mean - price * (ways[low].k + 1) * per_question > enough:
            middles.append((ways[low].k + ways[high].k) // 2)
    return middles


def _smallest(played: Played, remembers: bool, most: int, target: float) -> Asking | None:
    """The smallest k that earns `target`, by bisection: more seen earns no less."""
    if played.way(most, remembers).mean < target:
        return None
    low, high = -1, most
    for k in _ladder(most):
        if played.way(k, remembers).mean >= target:
            high = k
            break
        low = k
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if played.way(middle, remembers).mean >= target else (middle, high)
    return played.way(high, remembers)


def _choice(played: Played, most: int, kinds: Sequence[bool], price: float) -> Choice:
    """The best at a price, and how sure that is."""
    best = {kind: max(_of(played, most, kind), key=lambda way: way.net(price)) for kind in kinds}
    asking = max(best.values(), key=lambda way: way.net(price))
    rival = next((way for kind, way in best.items() if kind != asking.remembers), None)
    alike = [
        way.k for way in _of(played, most, asking.remembers) if way is asking or _lead(asking, way, price).low <= 0
    ]
    return Choice(price, asking, rival, _lead(asking, rival, price) if rival else None, tuple(sorted(alike)))


def _of(played: Played, most: int, remembers: bool) -> list[Asking]:
    """Ways of one kind."""
    return [way for (k, kind), way in played.ways.items() if kind == remembers and k <= most]


def _lead(first: Asking, second: Asking, price: float) -> Difference:
    """How much more the first leaves, episode by episode."""
    return Difference.of(first.returns - second.returns - (first.paid(price) - second.paid(price)))


def _ways(played: Played, most: int) -> tuple[Asking, ...]:
    listed = [way for way in played.ways.values() if way.k <= most]
    return tuple(sorted(listed, key=lambda way: (not way.remembers, way.k)))


def _words(way: Asking) -> str:
    """What to do, in words."""
    if way.k == 0:
        return f"ask nobody ({'a memory of how it began' if way.remembers else way.method})"
    return f"ask {way.k}, {'with memory' if way.remembers else f'memoryless ({way.method})'}"
