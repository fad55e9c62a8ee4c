"""The authors' continuous warehouse, learned and then played in another simulator: `python benchmarks/simulators.py`.

    python benchmarks/simulators.py learn --k 1 5 20 75 --seeds 0 1 2 [--observation population] [--keep FOLDER]
    python benchmarks/simulators.py rules --k 1 5 20 75 --seeds 0
    python benchmarks/simulators.py speed

`learn` and `rules` print a row for each k and seed: the mean return of fresh episodes with its standard error, and the
processor and wall seconds of learning. The episodes are played by the plain numpy functions of this file, written from
the publication's description without a line of the library, which is asked through `dispatcher()` and `local_actions`
alone. `speed` compares agent-steps per second of `rollout` with loops of this file. `docs/simulators.md` holds what was
printed.
"""

import argparse
import pathlib
import time

import numpy as np
import torch

import altmarl_torch as am

TAU = np.array([-1.6, -0.8, 0.0, 0.8, 1.6])
STEP = np.array([0.0, 0.05, -0.05])
GAMMA, HORIZON, ROBOTS = 0.95, 50, 500


def first_states(episodes, n, rng):
    """Dispatchers anywhere in (-1, 1); 55 % of the robots around one middle, the others around another."""
    s_g = rng.uniform(-1, 1, episodes)
    s_l = np.empty((episodes, n))
    for episode in range(episodes):
        most, rest = rng.choice(5, 2, replace=False)
        middles = np.where(np.arange(n) < int(0.55 * n), TAU[most], TAU[rest])
        s_l[episode] = rng.permutation(np.clip(rng.normal(middles, 0.18), -2, 2))
    return s_g, s_l


def returns(act, local_actions, k, *, episodes, seed, n=ROBOTS, horizon=HORIZON):
    """Discounted returns `[episodes]` of `act(s_g [E], sample [E, k])` and `local_actions(s_l [E, n], s_g [E])`."""
    rng = np.random.default_rng(seed)
    s_g, s_l = first_states(episodes, n, rng)
    total = np.zeros(episodes)
    for t in range(horizon):
        shown = np.argsort(rng.random((episodes, n)), axis=1)[:, :k]
        a_g = act(s_g, np.take_along_axis(s_l, shown, 1))
        a_l = local_actions(s_l, s_g)
        r_g = 5 * np.exp(-((s_g - TAU[a_g]) ** 2) / (2 * 0.3**2))
        r_l = 10 * np.exp(-((s_l - s_g[:, None]) ** 2) / (2 * 0.2**2)) - 5 * np.abs(STEP[a_l])
        total += GAMMA**t * (r_g + r_l.mean(1))
        s_g = np.clip(s_g + 0.6 * (TAU[a_g] - s_g) + 0.08 * rng.standard_normal(episodes), -2, 2)
        s_l = np.clip(s_l + STEP[a_l] + 0.04 * rng.standard_normal((episodes, n)), -2, 2)
    return total


def play(solution, *, episodes, seed):
    """Returns of a learned pair: a float32 tensor in, whole numbers out."""
    dispatcher = solution.dispatcher()
    dispatcher.reset(episodes)

    def act(s_g, sample):
        return dispatcher.act(tensor(s_g)[:, None], tensor(sample)[..., None]).numpy()

    def local_actions(s_l, s_g):
        return solution.local_actions(tensor(s_l)[..., None], tensor(s_g)[:, None, None]).numpy()

    return returns(act, local_actions, solution.k, episodes=episodes, seed=seed)


def tensor(array):
    """As the library takes states."""
    return torch.from_numpy(array).float()


def zone(positions):
    """The zone of each position."""
    return np.clip(((positions + 2) / 0.8).astype(int), 0, 4)


def hold(s_g, sample):
    """Stay in the present zone."""
    return zone(s_g)


def sticky(s_g, sample):
    """Hold, unless another zone has more than twice the robots of the present one."""
    counts = (zone(sample)[..., None] == np.arange(5)).sum(1)
    here = zone(s_g)
    present = np.take_along_axis(counts, here[:, None], 1)[:, 0]
    return np.where(counts.max(1) > 2 * present, counts.argmax(1), here)


class Remember:
    """Sticky on all samples since the start: a memory written by hand."""

    def __init__(self):
        self.counts = 0

    def act(self, s_g, sample):
        """An action for each system."""
        self.counts = self.counts + (zone(sample)[..., None] == np.arange(5)).sum(1)
        here = zone(s_g)
        present = np.take_along_axis(self.counts, here[:, None], 1)[:, 0]
        return np.where(self.counts.max(1) > 2 * present, self.counts.argmax(1), here)


def walk(s_l, s_g):
    """Walk to the middle of the zone of s_g, and rest within 0.05 of it."""
    gap = TAU[zone(s_g)][:, None] - s_l
    return np.where(np.abs(gap) <= 0.05, 0, np.where(gap > 0, 1, 2))


def told(name, k, seed, found, extra=""):
    """A row of the table."""
    error = found.std(ddof=1) / len(found) ** 0.5
    print(f"| {name} | {k} | {seed} | {found.mean():.2f} +- {error:.2f} | {extra}", flush=True)


def learn(arguments):
    """Learn at each k from each seed, and play."""
    game = am.games.continuous_warehouse()
    for k in arguments.k:
        for seed in arguments.seeds:
            processor, wall = time.process_time(), time.perf_counter()
            solution = am.solve(game, k, seed=seed, observation=arguments.observation)
            spent = f"{time.process_time() - processor:.0f} CPU s, {time.perf_counter() - wall:.0f} s | "
            if arguments.keep:
                folder = pathlib.Path(arguments.keep)
                folder.mkdir(parents=True, exist_ok=True)
                solution.save(folder / f"{arguments.observation}-k{k}-seed{seed}.npz")
            turns = [f"{turn.player[0]}{turn.value_proposed - turn.value_before:+.2f}" for turn in solution.history]
            marks = ["" if turn.adopted else "-" for turn in solution.history]
            spent += " ".join(turn + mark for turn, mark in zip(turns, marks, strict=True))
            found = play(solution, episodes=arguments.episodes, seed=10_000 + seed)
            told(arguments.observation, k, seed, found, f"{spent} |")


def speed(arguments):
    """Agent-steps per second of the clock and of the processor: `rollout`, and the loops that it stands for.

    "one episode at a time" plays as the publication's code does: numpy for all robots of one episode, its two policies
    networks of two hidden layers of 64 in torch, on one core. "agents one by one" asks the local network for each robot
    by itself. "a parallel environment" is a `pettingzoo.ParallelEnv` where that is installed: states, actions and
    rewards of the agents go through dictionaries by name.
    """
    game = am.games.continuous_warehouse(n=1000)
    pair = am.simulators.heuristic_pairs(game, 20)["sticky + walk"]
    generator = torch.Generator().manual_seed(0)

    def network(inputs, outputs):
        sizes = (inputs, 64), (64, 64), (64, outputs)
        weights = [torch.rand(one, generator=generator) - 0.5 for one in sizes]

        def answer(features):
            for index, weight in enumerate(weights):
                features = features @ weight
                features = features.tanh() if index < 2 else features
            return features.argmax(-1).numpy()

        return answer

    dispatcher, follower = network(5, 5), network(2, 3)

    def act(s_g, sample):
        return dispatcher(tensor((zone(sample)[..., None] == np.arange(5)).mean(1)))

    def local_actions(s_l, s_g):
        return follower(tensor(np.stack([np.broadcast_to(s_g[:, None], s_l.shape), s_l], -1)))

    def each(s_l, s_g):
        return np.array([[int(follower(tensor(np.array([s_g[0], state])))) for state in s_l[0]]])

    def episodes_of(follow, episodes):
        for seed in range(episodes):
            returns(act, follow, 20, episodes=1, seed=seed, n=1000)

    loops = {
        "rollout": (lambda: am.rollout(game, pair, episodes=1024, horizon=HORIZON), 1024),
        "one episode at a time": (lambda: episodes_of(local_actions, 40), 40),
        "agents one by one": (lambda: episodes_of(each, 1), 1),
        "a parallel environment": (lambda: parallel(1000, 4), 4),
    }
    first = None
    for name, (play_all, episodes) in loops.items():
        wall, processor = time.perf_counter(), time.process_time()
        play_all()
        spent = time.perf_counter() - wall, time.process_time() - processor
        rates = [episodes * HORIZON * 1000 / seconds / 1e6 for seconds in spent]
        first = first or rates
        ratios = " and ".join(f"{ours / theirs:.0f}" for ours, theirs in zip(first, rates, strict=True))
        shown = f"{rates[0]:.2f} | {rates[1]:.2f} | rollout is {ratios} times as fast"
        print(f"| {name} | {shown} | (million agent-steps a second, and a processor second)", flush=True)


def parallel(n, episodes):
    """Play a parallel environment of n robots and their dispatcher, everything by name."""
    try:
        from pettingzoo import ParallelEnv
    except ImportError:
        print("pettingzoo is not installed: the same class without it", flush=True)
        ParallelEnv = object  # stands for the class

    class Warehouse(ParallelEnv):
        def reset(self, seed=None, options=None):
            self.rng = np.random.default_rng(seed)
            self.s_g, self.s_l = (states[0] for states in first_states(1, n, self.rng))
            self.agents = ["dispatcher", *(f"robot_{i}" for i in range(n))]
            return self.seen(), {}

        def seen(self):
            shown = self.rng.choice(n, 20, replace=False)
            robots = {f"robot_{i}": (self.s_g, state) for i, state in enumerate(self.s_l)}
            return {"dispatcher": np.append(self.s_l[shown], self.s_g), **robots}

        def step(self, actions):
            a_g, a_l = actions["dispatcher"], np.array([actions[f"robot_{i}"] for i in range(n)])
            r_g = 5 * np.exp(-((self.s_g - TAU[a_g]) ** 2) / (2 * 0.3**2))
            r_l = 10 * np.exp(-((self.s_l - self.s_g) ** 2) / (2 * 0.2**2)) - 5 * np.abs(STEP[a_l])
            move = self.s_g + 0.6 * (TAU[a_g] - self.s_g) + 0.08 * self.rng.standard_normal()
            self.s_g = np.clip(move, -2, 2)
            self.s_l = np.clip(self.s_l + STEP[a_l] + 0.04 * self.rng.standard_normal(n), -2, 2)
            rewards = {"dispatcher": r_g, **{f"robot_{i}": reward for i, reward in enumerate(r_l)}}
            ends = dict.fromkeys(self.agents, False)
            return self.seen(), rewards, ends, ends, {}

    game = Warehouse()
    for seed in range(episodes):
        seen, _ = game.reset(seed=seed)
        for _ in range(HORIZON):
            actions = {name: 1 if state[0] > state[1] else 2 for name, state in seen.items() if name != "dispatcher"}
            actions["dispatcher"] = int(hold(seen["dispatcher"][-1:], None)[0])
            seen, *_ = game.step(actions)


def rules(arguments):
    """Pairs written by hand."""
    for k in arguments.k:
        for seed in arguments.seeds:
            for name, rule in (("hold", hold), ("sticky", sticky), ("remember", Remember().act)):
                found = returns(rule, walk, k, episodes=arguments.episodes, seed=10_000 + seed)
                told(f"{name}, walk", k, seed, found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("learn", "rules", "speed"))
    parser.add_argument("--k", type=int, nargs="+", default=[1, 5, 20, 75])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--observation", default="population")
    parser.add_argument("--keep", help="a folder for the learned pairs")
    chosen = parser.parse_args()
    {"learn": learn, "rules": rules, "speed": speed}[chosen.what](chosen)
