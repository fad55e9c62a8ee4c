"""Off-policy Q-hat_k learning, measured: how fast it is, and its error against what Theorem E.4 says.

    python benchmarks/q_learning.py speed     updates per second, one trajectory and many; collecting; a network
    python benchmarks/q_learning.py error     E|Q - Q*|^2 under constant steps: decay, floor, the theorem's bound
    python benchmarks/q_learning.py returns   what pairs from logs of some lengths earn in the true warehouse

One core: OMP_NUM_THREADS=1. Seconds are those of the processor, which other work on the machine does not count into.
"""

import argparse
import time

import torch

import altmarl_torch as am
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.offline.behaviour import Behaviour
from altmarl_torch.offline.fitted_q import fitted_q
from altmarl_torch.offline.learning import logged_policy
from altmarl_torch.offline.q_learning import q_learning
from altmarl_torch.operators.bellman import action_values, max_backup
from altmarl_torch.operators.fixed_point import solve_fixed_point
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.policies.rules import heuristic_pair
from altmarl_torch.theory import error_theorem_e4

SEEDS = 20


def best_response(game, k, pi_l):
    """Q* [sg, N, ag] against pi_l, to 1e-9."""
    surrogate = Surrogate.build(game, pi_l, PairPlan(CountSimplex(k, game.num_sl)))
    values = solve_fixed_point(lambda V: max_backup(surrogate, V), surrogate.start, game.gamma, 1e-9).values
    return action_values(surrogate, values)


def speed():
    """Updates per second of CPU time."""
    game, k = am.games.warehouse(), 5
    for trajectories, steps in ((1, 200_000), (100, 5_000), (1000, 1_000)):
        begin = time.process_time()
        data = am.collect(game, k, steps=steps, trajectories=trajectories)
        collected = time.process_time()
        learned = q_learning(data, passes=2)
        done = time.process_time()
        print(
            f"E = {trajectories:>5}: collected {data.a_g.size / (collected - begin):,.0f} steps/s, "
            f"learned {learned.updates / (done - collected):,.0f} updates/s"
        )
    begin = time.process_time()
    found = fitted_q(data, passes=1)
    print(f"network: {found.steps / (time.process_time() - begin):,.0f} gradient steps/s of 512 transitions")


def error():
    """Constant steps on "steer", k = 2: the error after some steps, over seeds, and Eq. 48."""
    game, k, steps = am.games.steer(), 2, 20_000
    Q = best_response(game, k, Behaviour.of(game, k).pi_l)
    curves = {alpha: [] for alpha in (0.2, 0.1, 0.05, 0.025)}
    for seed in range(SEEDS):
        data = am.collect(game, k, steps=steps, seed=seed)
        for alpha, found in curves.items():
            found.append([distance**2 for _, distance in q_learning(data, step_size=alpha, oracle=Q).curve])
    print("alpha   t_alpha  200 steps  1,000 steps  floor (last quarter)  Eq. 48 at the end")
    for alpha, found in curves.items():
        mean = torch.tensor(found, dtype=torch.float64).mean(0)
        mixing = am.coverage_of_game(game, k, delta=alpha).chain.mixing_steps
        bound = error_theorem_e4(game, k, alpha=alpha, steps=steps, mixing_steps=mixing)
        print(f"{alpha:<7} {mixing:>7} {mean[0]:>10.3f} {mean[4]:>12.4f} {mean[75:].mean():>21.4f} {bound:>18.3g}")


def returns():
    """The warehouse at k = 3, behaviour "sticky + walk" exploring 0.3: what is learned, measured in the true game."""
    game, k = am.games.warehouse(), 3
    pair = heuristic_pair(game, k, "sticky", "walk")
    for steps in (200, 2_000, 20_000):
        data = am.collect(game, k, behaviour=pair, explore=0.3, steps=steps, trajectories=50)
        pi_l = logged_policy(data)
        exact = am.policies.TabularPair(am.policies.greedy(best_response(game, k, pi_l)), pi_l, CountSimplex(k, 5))
        fitted = am.estimate(data.transitions(), gamma=game.gamma, n=game.n, smoothing=1e-3).game
        counted = am.policies.TabularPair(am.policies.greedy(best_response(fitted, k, pi_l)), pi_l, CountSimplex(k, 5))
        pairs = {
            "tables": am.learn_from_data(data),
            "tables, 5 passes": am.learn_from_data(data, passes=5),
            "network": am.learn_from_data(data, solver="neural"),
            "counted game": counted,
            "true game": exact,
        }
        print(f"{data.a_g.size:,} steps of the global agent")
        for name, one in pairs.items():
            result = am.rollout(game, one, episodes=2000, seed=1)
            print(f"  {name:<18} {result.mean:8.2f} +- {result.sem:.2f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "error", "returns"))
    {"speed": speed, "error": error, "returns": returns}[parser.parse_args().what]()
