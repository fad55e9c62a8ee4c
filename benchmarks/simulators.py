"""The authors' continuous warehouse, learned and then played in another simulator: `python benchmarks/simulators.py`.

    python benchmarks/simulators.py learn --k 1 5 20 75 --seeds 0 1 2 [--observation population] [--keep FOLDER]
    python benchmarks/simulators.py rules --k 1 5 20 75 --seeds 0
    python benchmarks/simulators.py turn --k 20 --seeds 0 --learners fitted paired PPO [--steps 1048576] [--robots 500]
    python benchmarks/simulators.py speed

`learn` and `rules` print a row for each k and seed: the mean return of fresh episodes with its standard error, and the
processor and wall seconds of learning. The episodes are played by the plain numpy functions of this file, written from
the publication's description without a line of the library, which is asked through `dispatcher()` and `local_actions`
alone. `turn` is one turn of the local agents by several learners, from agents that stand still beside "sticky", over
what "walk" earns on the same episodes. `speed` compares agent-steps per second of `rollout` with loops of this file.
`docs/simulators.md` holds what was printed.
"""

import argparse
import copy
import pathlib
import time

import numpy as np
import torch

import altmarl_torch as am
from altmarl_torch.simulators.play import play as play_crowd

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


def paired(problem, pi_l):
    """A learner: advantages of a singled-out agent from paired rollouts, fitted, and greedy in them, `ROUNDS` times.

    An agent of the crowd, or one from anywhere, takes each action and then goes on as the policy so far, all under the
    same random numbers and the same way of s_g, which one of many agents does not change.
    """
    game, network = problem.game, problem.network()
    generator, follow = torch.Generator().manual_seed(problem.seed), pi_l.actions
    for at in range(ROUNDS):
        luck = np.random.SeedSequence([problem.seed, at])
        met = list(play_crowd(game, problem.pair, 64, 2 * AHEAD, luck))
        s_g, crowd = torch.stack([step.s_g for step in met]), torch.stack([step.s_l for step in met])
        t, e = (torch.randint(most, (SINGLED,), generator=generator) for most in (AHEAD, 64))
        who = torch.randint(game.n, (SINGLED,), generator=generator)
        s_l = problem.local.scattered(crowd[t, e, who], 0.4, generator)
        state, worth = generator.get_state(), []
        for a in range(game.local_action.num):
            generator.set_state(state)
            worth.append(ahead(game, s_l, s_g[t + torch.arange(AHEAD)[:, None], e], a, follow, generator))
        gains = torch.stack(worth, -1)
        gains = (gains - gains.mean(-1, keepdim=True)) / gains.std()
        fit(network, s_l, s_g[t, e], gains, generator)
        follow = greedy_of(network)
    return network


ROUNDS, AHEAD, SINGLED = 8, 60, 2**13
"""Of `paired`: policy improvements, steps of a rollout, and agents that are singled out for each."""


@torch.no_grad()
def ahead(game, s_l, s_g, first, follow, generator):
    """What agents `[b, dl]` earn along s_g `[T, b, dg]` that take an action first and follow a policy then."""
    total = torch.zeros(len(s_l))
    for h, near in enumerate(s_g):
        a_l = torch.full((len(s_l),), first) if h == 0 else follow(s_l, near, generator)
        total += game.gamma**h * game.r_l(s_l, near, a_l)
        s_l = game.move_l(s_l, near, a_l, generator)
    return total


def fit(network, s_l, s_g, gains, generator, steps=500):
    """Least squares by Adam, its rate falling to zero."""
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / steps)
        rows = torch.randint(len(gains), (1024,), generator=generator)
        loss = (network(s_l[rows], s_g[rows]) - gains[rows]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def greedy_of(network):
    """The largest answer of the weights as they are."""
    kept = copy.deepcopy(network)
    return lambda s_l, s_g, generator: kept(s_l, s_g).argmax(-1)


def turn(arguments):
    """One turn of the local agents, by several learners."""
    game = am.games.continuous_warehouse(n=arguments.robots)
    for k in arguments.k:
        rules = am.simulators.heuristic_pairs(game, k)["sticky + walk"]
        start = am.simulators.RulePair(k, rules.rule_g, lambda s_l, s_g: torch.zeros(s_l.shape[:-1], dtype=torch.int64))
        walked = am.rollout(game, rules, episodes=arguments.episodes, horizon=HORIZON, seed=77).returns
        for name in arguments.learners:
            for seed in arguments.seeds:
                processor = time.process_time()
                learner = {"fitted": "auto", "paired": paired}.get(name) or from_sb3(name, arguments.steps)
                solution = am.solve(game, k, start=start, turns="local", steps=1, eta=0.0, seed=seed, l_learner=learner)
                spent = f"{time.process_time() - processor:.0f} CPU s |"
                found = am.rollout(game, solution, episodes=arguments.episodes, horizon=HORIZON, seed=77).returns
                told(name, k, seed, (found - walked).numpy(), spent)


def from_sb3(algorithm, steps):
    """A learner of Stable-Baselines3 (extra `sb3`)."""
    from altmarl_torch.integrations import sb3_simulators

    return sb3_simulators.learner(algorithm, total_steps=steps)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("learn", "rules", "turn", "speed"))
    parser.add_argument("--k", type=int, nargs="+", default=[1, 5, 20, 75])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--observation", default="population")
    parser.add_argument("--learners", nargs="+", default=["fitted", "paired"], help="also PPO, TRPO, A2C, DQN")
    parser.add_argument("--steps", type=int, default=2**20, help="of those of Stable-Baselines3")
    parser.add_argument("--robots", type=int, default=ROBOTS)
    parser.add_argument("--keep", help="a folder for the learned pairs")
    chosen = parser.parse_args()
    {"learn": learn, "rules": rules, "turn": turn, "speed": speed}[chosen.what](chosen)
