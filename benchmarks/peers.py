"""Other people's learners and solvers on the same games and episodes: `python benchmarks/peers.py PART`.

    python benchmarks/peers.py dispatcher [--steps 60000] [--seeds 0 1 2]   PPO as the coordinator, against tables
    python benchmarks/peers.py locals [--steps 2097152] [--seeds 0 1 2]     PPO as L-LEARN in the alternation
    python benchmarks/peers.py central [--steps 60000] [--seeds 0 1 2]      the same, of a coordinator who sees all n
    python benchmarks/peers.py shared [--seconds 10] [--seeds 0 1 2]        PPO with one network for everybody
    python benchmarks/peers.py mfq [--k 3]                                  SUBSAMPLE-MFQ, which sees more
    python benchmarks/peers.py explicit [--k 5]                             QuantEcon, MDPSolver and Storm, listed P
    python benchmarks/peers.py mfg                                          MFGLib, local agents of the beacon

All but the last two play the warehouse (n = 1,000; episodes of 100 steps, the same for everybody); seconds are those of
learning, in one run, and memory the most that the process has held until then. `explicit` solves the coordinator's
problem for the local policy that the tables found, each solver in a process of its own; rows say how far values are
from ours at the worst state.

`mfg` gives MFGLib a coordinator who steers to where most agents are, as a function of the mean field, which makes the
local agents' side one of its games where P_g is certain: an agent's state is (s_l, s_g), rewards are discounted by t.

`--into FOLDER` makes an environment of its own there for each peer of `explicit` and `mfg`, with the versions of
`PINS`, and `learners` for the others, which are to be run by its Python; without it peers are looked for here (extra
`partners`).
`docs/peers.md` holds what was printed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peer_solvers import peak

import altmarl_torch as am

K, EPISODES, SEED = 20, 750, 1
HERE = Path(__file__).resolve().parent
LARGEST_LISTED = 2**24  # entries of P above which lists, for MDPSolver, and text, for Storm, would be gigabytes

PINS = {
    "quantecon": ["quantecon==0.11.4", "numpy==2.4.6"],
    "mdpsolver": ["mdpsolver==0.10.2", "numpy==2.4.6"],
    "storm": ["stormpy==2.0.0", "numpy==2.4.6"],
    "mfglib": ["mfglib==0.3.0", "torch==2.13.0", "numpy==2.4.6"],
    "learners": [
        *("stable-baselines3==2.9.2", "sb3-contrib==2.9.2", "gymnasium==1.4.0", "pettingzoo==1.27.0"),
        *("supersuit==3.11.0", "-c", str(HERE.parent / "constraints.txt"), "-e", str(HERE.parent)),
    ],
}


def timed(work):
    """What work returns, and its seconds: on the clock, and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    done = work()
    return done, f"{time.perf_counter() - clock:.2f} | {time.process_time() - processor:.2f}"


def row(who, seconds, pair, game):
    found = am.rollout(game, pair, episodes=EPISODES, seed=SEED)
    print(f"| {who} | {seconds} | {peak():.0f} | {found.mean:.2f} +- {found.sem:.2f} |", flush=True)


def head(first):
    print(f"| {first} | seconds | of the processor | peak, MB | return |\n|---|---|---|---|---|")


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


def ppo_dispatcher(game, pi_l, steps, seed, k=K, num_envs=16):
    """SB3's PPO with its own defaults on the population of n agents, of whom it sees k."""
    import stable_baselines3

    from altmarl_torch.envs import vector_env
    from altmarl_torch.integrations.sb3 import Sb3VecEnv

    venv = Sb3VecEnv(vector_env(game, pi_l, k, num_envs=num_envs), game.v_max)
    model = stable_baselines3.PPO("MlpPolicy", venv, gamma=game.gamma, n_steps=256, seed=seed, device="cpu")
    return Played(model.learn(steps), venv.flatten, pi_l, k)


def dispatcher(steps, seeds):
    """PPO as the coordinator of agents that play what the tables found."""
    game = am.games.warehouse()
    tables, seconds = timed(lambda: am.solve(game, K))
    head("who learns")
    row(f"tables, both players, k = {K}", seconds, tables, game)
    for seed in seeds:
        pair, seconds = timed(lambda seed=seed: ppo_dispatcher(game, tables.pi_l, steps, seed))
        row(f"PPO as the coordinator, {steps:,} steps, seed {seed}", seconds, pair, game)


def central(steps, seeds):
    """PPO as a coordinator who sees all n agents, next to lifted functions that do; both with the same local agents."""
    game = am.games.warehouse()
    head("who learns")
    lifted, seconds = timed(lambda: am.solve(game, game.n, solver="lifted"))
    row(f"lifted functions, both players, k = {game.n}", seconds, lifted, game)
    for seed in seeds:
        pair, seconds = timed(lambda seed=seed: ppo_dispatcher(game, lifted.pi_l, steps, seed, k=game.n))
        row(f"PPO as the coordinator, sees all n, {steps:,} steps, seed {seed}", seconds, pair, game)


def local_agents(steps, seeds):
    """PPO as L-LEARN in Algorithm 3."""
    from altmarl_torch.integrations import sb3

    game = am.games.warehouse()
    head("L-LEARN")
    tables, seconds = timed(lambda: am.solve(game, K))
    row("model-based", seconds, tables, game)
    ppo = sb3.learner("PPO", total_steps=steps)
    for seed in seeds:
        found, seconds = timed(lambda seed=seed: am.solve(game, K, l_learner=ppo, seed=seed))
        turns = sum(update.player == "local" for update in found.history)
        row(f"PPO, {turns} turns of {steps:,} steps, seed {seed}", seconds, found, game)


def shared(allowed, seeds):
    """PPO with one network for the coordinator and all local agents, on the system of K agents."""
    game = am.games.warehouse()
    head("who learns")
    for seed in seeds:
        pair, seconds = timed(lambda seed=seed: one_network(game, allowed, seed))
        steps = f"{pair.model.num_timesteps:,} steps of an agent"
        row(f"PPO, one network for everybody, {steps}, seed {seed}", seconds, pair, game)


def one_network(game, allowed, seed):
    """SB3's PPO on the PettingZoo environment, through SuperSuit, whose copies would share their chance; greedy.

    It learns for as many seconds of the processor as are `allowed`.
    """
    import stable_baselines3
    import supersuit

    from altmarl_torch.envs import parallel_env

    env = parallel_env(game, K, K, padded=True)
    env.reset(seed=seed)
    one = supersuit.pettingzoo_env_to_vec_env_v1(env)
    systems = supersuit.concat_vec_envs_v1(one, 1, num_cpus=0, base_class="stable_baselines3")
    scaled = stable_baselines3.common.vec_env.VecNormalize(systems, norm_obs=False, gamma=game.gamma)
    stable_baselines3.common.utils.set_random_seed(seed)  # SuperSuit's systems take no seed
    asked = {"n_steps": 512, "batch_size": 1536, "n_epochs": 4, "learning_rate": 1e-3, "gamma": game.gamma}
    end = time.process_time() + allowed
    model = stable_baselines3.PPO("MlpPolicy", scaled, device="cpu", **asked)
    model.learn(10**9, callback=lambda *_: time.process_time() < end)
    s_l, s_g = np.indices((game.num_sl, game.num_sg)).reshape(2, -1)
    seen = np.concatenate([np.zeros((len(s_l), 1)), np.eye(game.num_sg)[s_g], np.eye(game.num_sl)[s_l]], 1)
    actions = model.predict(seen.astype(np.float32), deterministic=True)[0].clip(max=game.num_al - 1)
    pi_l = am.policies.one_hot(torch.as_tensor(actions).reshape(game.num_sl, game.num_sg), game.num_al)

    def coordinator(parts):
        lead = np.ones((len(parts["s_g"]), 1))
        return np.concatenate([lead, np.eye(game.num_sg)[parts["s_g"]], parts["counts"] / K], 1).astype(np.float32)

    return Played(model, coordinator, pi_l)


def mfq(k, episodes=100):
    """SUBSAMPLE-MFQ, next to tables that see as many."""
    from subsample_mfq import joint_optimum, play

    game = am.games.warehouse()
    head("who learns")
    tables, seconds = timed(lambda: am.solve(game, k))
    row(f"tables, k = {k}", seconds, tables, game)
    policy, seconds = timed(lambda: joint_optimum(game, k))
    found = play(game, k, *policy, episodes)
    print(f"| SUBSAMPLE-MFQ, k = {k} | {seconds} | {found.mean():.2f} +- {found.std() / episodes**0.5:.2f} |")


def mfg(into):
    """MFGLib's online mirror descent for the local agents of the beacon, under a coordinator who steers to the mode."""
    start = am.InitialLaw([1, 0, 0], [0.2, 0.5, 0.3])
    game = am.games.beacon(n=1000).replace(initial=start)
    head("who learns")
    ours, seconds = timed(lambda: am.solve(game, K))
    row(f"tables, both players, k = {K}", seconds, ours, game)
    steered = am.heuristics.heuristic_pair(game, game.n, "mode", "uniform")
    row("to the mode, uniform agents", "0 | 0", steered, game)
    row("to the mode, agents that walk", "0 | 0", am.heuristics.heuristic_pair(game, game.n, "mode", "walk"), game)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "game.npz", P_l=game.P_l, r_l=game.r_l, mu=start.local_mean)
        (folder / "told.json").write_text(json.dumps({"gamma": game.gamma, "steps": 100}), encoding="utf-8")
        done, pi_l = run_solver("mfglib", folder, into)
    steered = replace(steered, pi_l=torch.from_numpy(pi_l))
    row(f"to the mode, MFGLib {done['version']}", f"{done['seconds']:.2f} | {done['processor']:.2f}", steered, game)
    print(f"of that process {done['memory']:.0f} MB; {done['proven']}")


def explicit(k, into):
    """The coordinator's problem of the warehouse as an MDP, by each solver in a process of its own."""
    game = am.games.warehouse()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "pi_l.npy", am.solve(game, k).pi_l.numpy())
        small = (game.num_sg * am.CountSimplex(k, game.num_sl).size) ** 2 * game.num_ag <= LARGEST_LISTED
        told = {"game": game.name, "k": k, "gamma": game.gamma, "error": 0.0, "drn": small}
        print("| solver | seconds | of the processor | peak, MB | worst distance from ours | what it proves |")
        print("|---|---|---|---|---|---|")
        for solver in ("ours", "build", "quantecon", *(["mdpsolver", "storm"] if small else [])):
            (folder / "told.json").write_text(json.dumps(told), encoding="utf-8")
            done = solved(solver, folder, into)
            told["error"] = done.get("error", told["error"])
            print(f"| {solver} {done['version']} | {done['seconds']:.2f} | {done['processor']:.2f} |", end="")
            print(f" {done['memory']:.0f} | {done['distance']:.1g} | {done['proven']} |", flush=True)


def solved(solver, folder, into):
    """What `peer_solvers.py` prints, and the worst distance of its values from ours."""
    told, values = run_solver(solver, folder, into)
    distance = np.abs(values - np.load(folder / "ours.npy")).max() if solver != "build" else 0.0
    return told | {"distance": distance}


def run_solver(solver, folder, into):
    """What `peer_solvers.py` prints, and the array that it leaves."""
    python = python_of(solver, into) if solver in PINS else sys.executable
    asked = [str(python), str(HERE / "peer_solvers.py"), solver, str(folder)]
    its_own = {"PYTHONPATH": ""} if python != sys.executable else {}  # of packages, not of ours
    told = subprocess.run(asked, check=True, capture_output=True, text=True, env=os.environ | its_own).stdout
    return json.loads(told.splitlines()[-1]), np.load(folder / f"{solver}.npy")


def python_of(peer, into):
    """The Python of the peer's own environment in the folder `into`, made where there is none; None is this one."""
    if into is None:
        return sys.executable
    folder = Path(into).resolve() / peer
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PINS[peer]], check=True)
    return python


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "part", choices=["dispatcher", "central", "locals", "shared", "mfq", "explicit", "mfg", "learners"]
    )
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seconds", type=float, default=10.0, help="of the processor, for `shared`")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--k", type=int)
    parser.add_argument("--into")
    asked = parser.parse_args()
    parts = {
        "dispatcher": lambda: dispatcher(asked.steps or 60_000, asked.seeds),
        "central": lambda: central(asked.steps or 60_000, asked.seeds),
        "locals": lambda: local_agents(asked.steps or 2**21, asked.seeds),
        "shared": lambda: shared(asked.seconds, asked.seeds),
        "mfq": lambda: mfq(asked.k or 3),
        "explicit": lambda: explicit(asked.k or 5, asked.into),
        "mfg": lambda: mfg(asked.into),
        "learners": lambda: print(python_of("learners", asked.into)),
    }
    parts[asked.part]()


if __name__ == "__main__":
    main()
