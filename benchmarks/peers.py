"""Other people's learners and solvers on the same games and episodes: `python benchmarks/peers.py PART`.

    python benchmarks/peers.py dispatcher [--steps 60000] [--seeds 0 1 2]   PPO as the coordinator, against tables
    python benchmarks/peers.py locals [--steps 2097152] [--seeds 0 1 2]      PPO as L-LEARN in the alternation
    python benchmarks/peers.py explicit [--k 5]                             QuantEcon and Storm on the k-agent MDP

`dispatcher` and `locals` play the warehouse (k = 20, n = 1,000; 750 episodes of 100 steps, the same for everybody);
seconds are those of learning, in one run. `explicit` solves the coordinator's problem for the local policy that
the tables found; each row says how far its values are from ours at the worst state. Partners: the extra `partners`.
`docs/peers.md` holds what was printed.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import altmarl_torch as am

K, EPISODES, SEED = 20, 750, 1


def timed(work):
    """What work returns, and its seconds: on the clock, and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    done = work()
    return done, f"{time.perf_counter() - clock:.2f} | {time.process_time() - processor:.2f}"


def row(who, seconds, pair, game):
    found = am.rollout(game, pair, episodes=EPISODES, seed=SEED)
    print(f"| {who} | {seconds} | {found.mean:.2f} +- {found.sem:.2f} |", flush=True)


@dataclass
class Played:
    """SB3's model as a pair."""

    model: Any
    flatten: Any
    pi_l: torch.Tensor
    k: int = K

    def dispatcher(self, seed=0):
        """Itself: its actions are greedy."""
        return self

    def reset(self, batch):
        """It remembers nothing."""

    def act(self, s_g, counts):
        """The model's greedy action."""
        seen = self.flatten({"s_g": np.asarray(s_g), "counts": np.asarray(counts)})
        return torch.as_tensor(self.model.predict(seen, deterministic=True)[0])


def ppo_dispatcher(game, pi_l, steps, seed, num_envs=16):
    """SB3's PPO with its own defaults on the population of n agents, of whom it sees K."""
    import stable_baselines3

    from altmarl_torch.envs import vector_env
    from altmarl_torch.integrations.sb3 import Sb3VecEnv

    venv = Sb3VecEnv(vector_env(game, pi_l, K, num_envs=num_envs), game.v_max)
    model = stable_baselines3.PPO("MlpPolicy", venv, gamma=game.gamma, n_steps=256, seed=seed, device="cpu")
    return Played(model.learn(steps), venv.flatten, pi_l)


def dispatcher(steps, seeds):
    """PPO as the coordinator of agents that play what the tables found."""
    game = am.games.warehouse()
    tables, seconds = timed(lambda: am.solve(game, K))
    print("| who learns | seconds | of the processor | return |\n|---|---|---|---|")
    row(f"tables, both players, k = {K}", seconds, tables, game)
    for seed in seeds:
        pair, seconds = timed(lambda seed=seed: ppo_dispatcher(game, tables.pi_l, steps, seed))
        row(f"PPO as the coordinator, {steps:,} steps, seed {seed}", seconds, pair, game)


def local_agents(steps, seeds):
    """PPO as L-LEARN in Algorithm 3."""
    from altmarl_torch.integrations import sb3

    game = am.games.warehouse()
    print("| L-LEARN | seconds | of the processor | return |\n|---|---|---|---|")
    tables, seconds = timed(lambda: am.solve(game, K))
    row("model-based", seconds, tables, game)
    ppo = sb3.learner("PPO", total_steps=steps)
    for seed in seeds:
        found, seconds = timed(lambda seed=seed: am.solve(game, K, l_learner=ppo, seed=seed))
        turns = sum(update.player == "local" for update in found.history)
        row(f"PPO, {turns} turns of {steps:,} steps, seed {seed}", seconds, found, game)


def explicit(k):
    """The coordinator's problem as an MDP, by three solvers; the first, small game is solved twice, to warm up."""
    for game in (am.games.steer(), am.games.steer(), am.games.warehouse()):
        pi_l = am.solve(game, k).pi_l
        mdp = am.surrogate_mdp(game, pi_l, k)
        print(f"\n{game.name}, k = {k}: {len(mdp.r):,} states\n")
        print("| solver | seconds | of the processor | worst distance from ours |\n|---|---|---|---|")
        ours, seconds = timed(lambda game=game, pi_l=pi_l: best(game, pi_l, k))
        print(f"| G-LEARN (never lists P) | {seconds} | error {ours[1]:.1g} |")
        for who, solver in (("QuantEcon", quantecon_values), ("Storm", storm_values)):
            values, seconds = timed(lambda solver=solver, mdp=mdp: solver(mdp))
            print(f"| {who} | {seconds} | {np.abs(values - ours[0]).max():.2g} |")


def best(game, pi_l, k):
    """V of the best response and a bound on its error."""
    from altmarl_torch.counts.pair_moves import PairPlan
    from altmarl_torch.operators.surrogate import Surrogate
    from altmarl_torch.tabular import g_learn

    found = g_learn(Surrogate.build(game, pi_l, PairPlan(am.CountSimplex(k, game.num_sl))))
    return found.values.flatten().numpy(), found.error


def quantecon_values(mdp):
    """Policy iteration of QuantEcon's."""
    from quantecon.markov import DiscreteDP

    return DiscreteDP(mdp.r, mdp.P, mdp.gamma).solve(method="policy_iteration").v


def storm_values(mdp):
    """Value iteration of Storm's, through a file."""
    import stormpy

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "game.drn")
        mdp.to_drn(path)
        model = stormpy.build_model_from_drn(path)
    rule = stormpy.parse_properties(f'R{{"r"}}max=? [ Cdiscount={mdp.gamma!r} ]')[0]
    return np.array(stormpy.model_checking(model, rule, only_initial_states=False).get_value_vector())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["dispatcher", "locals", "explicit"])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--k", type=int, default=5)
    asked = parser.parse_args()
    names = ("stable-baselines3", "quantecon", "stormpy", "gymnasium", "torch")
    print(", ".join(f"{name} {version(name)}" for name in names))
    if asked.part == "dispatcher":
        dispatcher(asked.steps or 60_000, asked.seeds)
    elif asked.part == "locals":
        local_agents(asked.steps or 2**21, asked.seeds)
    else:
        explicit(asked.k)


if __name__ == "__main__":
    main()
