"""The federated game with states that tell how far training is: python benchmarks/federated.py [--k 3]

The shipped game (docs/federated.md) knows s_g = the mode and s_l = near or far, and a loss level. Here

    s_g   the mode of the round; rounds since all were averaged, up to `AGES` - 1; the level of the server's loss
    s_l   a client whose model is the server's: its loss level. Else "new" with a loss above `NEW`, and "moved" below

and the log is one of `--runs` varied schedules (`Varied`): everybody does the same in a round, in most runs something
that a sensible person would do. A pair (s_l, s_g, a_l) that is rare borrows the rows of (s_l, mode, a_l) of all phases.

The pair that is learned with `SERVER` is set against all periodic and constant schedules on five federations that
nobody has seen; then games with other levels of the server's loss, counted from the same log, say what each promises
its pair, beside what that earns on federations held out for it. It is no success: docs/federated.md has the figures.
"""

import argparse

import numpy as np
import torch

import altmarl_torch as am
from altmarl_torch.federated import MODES, STEPS, Federation, Schedule, Setting, load_digits, play
from altmarl_torch.federated.simulation import losses
from altmarl_torch.federated.situations import global_reward
from altmarl_torch.policies.base import cumulative, draw

FRESH, NEW, AGES = (0.72, 0.85, 0.97, 1.12, 1.32, 1.6, 2.0), 2.1, 3
SERVER = (0.85, 1.12, 1.6)
DESIGNS = (SERVER, (), (0.97, 1.4))
GAMMA, ROUNDS, ALL = 0.95, 40, len(MODES) - 1
LOG_SEED, HELD_OUT, COMPARED = 6_000_000, range(100, 104), range(5)
BORROWED, FOLLOWED = 2.0, 0.5  # pseudo-counts of P_l's rows, and of P_g's


class Phases:
    """What clients are in, and beside it what the server's loss was, look by look."""

    num_sl = len(FRESH) + 3

    def __init__(self):
        self.server = []

    def look(self, federation):
        """s_l `[clients]`."""
        self.server.append(float(losses(federation.server, federation.probe)))
        loss = losses(federation.models, federation.probe)
        level = torch.bucketize(loss, torch.tensor(FRESH, dtype=loss.dtype), right=True)
        return torch.where(federation.drift() == 0, level, len(FRESH) + 1 + (loss > NEW).long())


def phase(mode, age, server, cuts):
    """s_g of arrays of modes, rounds since all were averaged, and server losses."""
    return (mode * AGES + np.minimum(age, AGES - 1)) * (len(cuts) + 1) + np.digitize(server, cuts)


def ages(modes):
    """Rounds since all were averaged, before each round: `[T + 1]`."""
    found = [0]
    for mode in modes[:-1]:
        found.append(0 if mode == ALL else found[-1] + 1)
    return np.array(found)


class Varied:
    """A log's controller: often at first, rarer later, with exceptions; everybody makes the same steps."""

    name = "varied"

    def begin(self, seed):
        """Another schedule."""
        self._rng = rng = np.random.default_rng([seed, 9])
        first, period, times, later = (int(rng.integers(*ends)) for ends in ((0, 7), (1, 4), (0, 7), (2, 7)))
        modes = [ALL] * (first + 1) + ([0] * (period - 1) + [ALL]) * times
        modes = np.array((modes + ([0] * (later - 1) + [ALL]) * ROUNDS)[: ROUNDS + 1])
        if rng.random() < 0.3:
            often = np.linspace(rng.uniform(0.4, 1), rng.uniform(0.2, 0.8), ROUNDS + 1)
            modes = np.where(rng.random(ROUNDS + 1) < often, ALL, 0)
        other = rng.random(ROUNDS + 1) < rng.choice([0, 0.05, 0.15])
        modes[other] = rng.integers(len(MODES), size=other.sum())
        self._modes = modes
        self._draw()

    def mode(self, time, s_g, s_l):
        """What the schedule says."""
        return int(self._modes[time + 1])

    def steps(self, time, s_g, s_l):
        """One number of steps by mode, drawn anew at times: mostly none in silence and many before an average."""
        if self._rng.random() < 0.15:
            self._draw()
        return torch.full_like(s_l, self._steps[s_g])

    def _draw(self):
        laws = (0.75, 0.15, 0.1), (0.3, 0.4, 0.3), (0.1, 0.15, 0.75)
        self._steps = [int(self._rng.choice(len(STEPS), p=law)) for law in laws]


class Learned:
    """A learned pair at work; it sees the server's loss as it was looked at last."""

    name = "learned"

    def __init__(self, pair, phases, cuts):
        self._pair, self._phases, self._cuts = pair, phases, cuts

    def begin(self, seed):
        """A new run."""
        self._generator = torch.Generator().manual_seed(seed)
        self._dispatcher, self._age = self._pair.dispatcher(seed), 0
        self._dispatcher.reset(1)

    def mode(self, time, s_g, s_l):
        """What the dispatcher says, who sees k of the clients."""
        self._s_g = int(phase(s_g, self._age, self._phases.server[-1], self._cuts))
        self._age = 0 if s_g == ALL else self._age + 1
        sample = torch.randperm(len(s_l), generator=self._generator)[: self._pair.k]
        counts = torch.bincount(s_l[sample], minlength=Phases.num_sl)
        return int(self._dispatcher.act(torch.tensor([self._s_g]), counts[None]))

    def steps(self, time, s_g, s_l):
        """A draw from pi_l for every client."""
        return draw(cumulative(self._pair.pi_l[s_l, self._s_g]), self._generator)


def periodic(period):
    """All work and are averaged in every p-th round, and rest in between."""
    return Schedule(
        f"every {period}", lambda t: 0 if (t + 1) % period else ALL, lambda t: 0 if t % period else len(STEPS) - 1
    )


def run(seed, controller, digits, phases):
    """One federation: the episode and the server's losses."""
    phases.server.clear()
    return play(Federation(Setting(), seed, digits), phases, controller, ROUNDS), np.array(phases.server)


def counted(log, cuts):
    """The game that the log shows."""
    num_sg, num_sl, levels = len(MODES) * AGES * (len(cuts) + 1), Phases.num_sl, len(cuts) + 1
    P_g, P_l = np.zeros((num_sg, len(MODES), num_sg)), np.zeros((num_sl, num_sg, len(STEPS), num_sl))
    earned = np.zeros(P_l.shape[:3])
    for episode, server in log:
        s_l, a_l, modes = episode.s_l.numpy(), episode.a_l.numpy(), episode.s_g.numpy()
        s_g = phase(modes, ages(modes), server, cuts)
        np.add.at(P_g, (s_g[:-1], episode.a_g.numpy(), s_g[1:]), 1)
        pairs = s_l[:-1], np.broadcast_to(s_g[:-1, None], a_l.shape), a_l
        np.add.at(P_l, (*pairs, s_l[1:]), 1)
        np.add.at(earned, pairs, episode.r_l.numpy())
    mode, age, level = np.unravel_index(np.arange(num_sg), (len(MODES), AGES, levels))
    for a_g in range(len(MODES)):
        older = np.where(mode == ALL, 0, np.minimum(age + 1, AGES - 1))
        P_g[np.arange(num_sg), a_g, (a_g * AGES + older) * levels + level] += FOLLOWED
    P_l, r_l = borrowed(P_l, earned)
    r_g = np.array([[global_reward(m)] * len(MODES) for m in mode])
    first = np.bincount(np.concatenate([episode.s_l[0] for episode, _ in log]), minlength=num_sl)
    start = phase(np.array([ALL]), 0, log[0][1][:1], cuts)
    initial = am.InitialLaw(np.eye(num_sg)[start[0]], first / first.sum())
    P_g = P_g / P_g.sum(-1, keepdims=True)
    return am.Game(P_g=P_g, P_l=P_l, r_g=r_g, r_l=r_l, gamma=GAMMA, n=100, initial=initial, name="phases")


def borrowed(moves, earned):
    """P_l and r_l of counts `[sl, sg, al, sl']` and sums `[sl, sg, al]`, with those of all phases as pseudo-counts."""
    num_sl, num_sg, num_al = earned.shape
    by_mode = moves.reshape(num_sl, len(MODES), -1, num_al, num_sl).sum(2)
    seen = by_mode.sum(-1)
    stay = 1e-3 * np.eye(num_sl)[:, None, None]
    law = (by_mode + stay) / (seen[..., None] + 1e-3)
    mean = earned.reshape(num_sl, len(MODES), -1, num_al).sum(2) / np.maximum(seen, 1)
    mean[seen == 0] = -0.2  # nobody was ever there
    phases = num_sg // len(MODES)
    moves = moves + BORROWED * law.repeat(phases, 1)
    earned = earned + BORROWED * mean.repeat(phases, 1)
    number = moves.sum(-1)
    return moves / number[..., None], earned / number


def learn(log, cuts, k):
    """The pair of the game with these levels of the server's loss, and what it promises."""
    game = counted(log, cuts)
    pair = am.solve(game, k, solver="tabular")
    return pair, am.rollout(game, pair, horizon=ROUNDS, episodes=750).mean


def earn(pair, cuts, digits, seeds):
    """Returns in real federations, and the modes of the first."""
    phases = Phases()
    runs = [run(seed, Learned(pair, phases, cuts), digits, phases)[0] for seed in seeds]
    return np.array([episode.discounted(GAMMA) for episode in runs]), "".join(map(str, runs[0].s_g.tolist()))


def schedules(digits, seeds):
    """Returns of every constant schedule and of those with periods 1 to 6, best first."""
    constant = [
        Schedule(f"{MODES[g]:.0%}, {STEPS[a]} steps", lambda t, g=g: g, lambda t, a=a: a)
        for g in range(len(MODES))
        for a in range(len(STEPS))
    ]
    phases = Phases()
    found = {
        one.name: np.array([run(seed, one, digits, phases)[0].discounted(GAMMA) for seed in seeds])
        for one in [*map(periodic, range(1, 7)), *constant]
    }
    return dict(sorted(found.items(), key=lambda item: -item[1].mean()))


def told(values):
    """Mean and standard error."""
    return f"{values.mean():.3f} +- {values.std(ddof=1) / len(values) ** 0.5:.3f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=160, help="in the log")
    parser.add_argument("--log-seed", type=int, default=LOG_SEED)
    parser.add_argument("--k", type=int, default=3)
    asked = parser.parse_args()
    digits, phases, varied = load_digits(), Phases(), Varied()
    log = [run(asked.log_seed + number, varied, digits, phases) for number in range(asked.runs)]
    pair, promise = learn(log, SERVER, asked.k)
    earned, shown = earn(pair, SERVER, digits, COMPARED)
    print(f"learned: promise {promise:.3f}, return {told(earned)}, modes {shown}", flush=True)
    for name, returns in list(schedules(digits, COMPARED).items())[:4]:
        print(f"| {name} | {told(returns)} | learned earns more by {told(earned - returns)} |", flush=True)
    print("| levels of the server's loss | promise | return | modes of the first run |\n|---|---|---|---|", flush=True)
    for cuts in DESIGNS:
        pair, promise = (pair, promise) if cuts == SERVER else learn(log, cuts, asked.k)
        earned, shown = earn(pair, cuts, digits, HELD_OUT)
        print(f"| {len(cuts) + 1} | {promise:.3f} | {told(earned)} | {shown} |", flush=True)
    every_second = np.array([run(seed, periodic(2), digits, phases)[0].discounted(GAMMA) for seed in HELD_OUT])
    print(f"| every 2 | | {told(every_second)} | |")


if __name__ == "__main__":
    main()
