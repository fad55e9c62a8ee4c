"""UCFH and the exact dynamic programme on the same chains: python benchmarks/chains.py

For each chain (`altmarl_torch.tabular.chained_mdp`), on one core: its size, the seconds to list it and to solve it
exactly, and what UCFH needs to certify 5 % of the optimum, at full confidence and at a tenth of it (heuristic bounds):
seconds, episodes, the bounds and the true value of its policy, each relative to the optimum. --theory adds the printed
loop with the m of Algorithm 5, on the chains where it ends within two minutes.
"""

import argparse
import time

import torch

import altmarl_torch as am
from altmarl_torch.games import hash_game, steer, ware, warehouse
from altmarl_torch.policies.rules import RULES, table

CHAINS = [
    (steer(), 1),
    (steer(), 2),
    (steer(), 3),
    (hash_game(3, 3, 3, 3), 3),
    (ware(3, 3), 3),
    (hash_game(3, 3, 3, 3), 4),
    (ware(3, 3), 4),
]
LARGE = [(warehouse(), 3, "tuple"), (warehouse(), 5, "mean-field")]
THEORY_STATES, THEORY_SECONDS = 24, 120


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1, help="seeds of UCFH's episodes for each chain")
    parser.add_argument("--theory", action="store_true", help="run the printed loop too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for game, k, form in LARGE:
        listed(game, k, form, "team")
    for game, k in CHAINS:
        for objective in ("own", "team"):
            chain, best = listed(game, k, "tuple", objective)
            for seed in range(arguments.seeds):
                for confidence in (1.0, 0.1):
                    learned(chain, best, f"confidence {confidence:g}", confidence=confidence, seed=seed)
            if arguments.theory and chain.num_states <= THEORY_STATES:
                learned(chain, best, "printed loop", faithful=True, max_episodes=10**13, max_seconds=THEORY_SECONDS)


def listed(game, k, form, objective):
    pi_g = table(game, RULES["mode"](game), am.CountSimplex(k, game.num_sl))
    begun = time.perf_counter()
    chain = am.tabular.chained_mdp(game, pi_g, k, form, objective)
    built = time.perf_counter()
    best = chain.optimal_value()
    solved = time.perf_counter()
    print(
        f"{game.name} k = {k}, {form}, {objective}: {chain.num_states:,} states, {chain.num_transitions:,} "
        f"transitions, {chain.steps} micro steps; "
        f"listed in {built - begun:.2f} s, optimum {best:.6f} in {solved - built:.2f} s"
    )
    return chain, best


def learned(chain, best, name, **options):
    found = am.tabular.ucfh(chain, 0.05, 0.1, **options)
    ends = found.value_lower / best - 1, chain.value(found.policy) / best - 1, found.value_upper / best - 1
    kind = "guaranteed" if found.guaranteed else "certified" if found.certified else "heuristic"
    print(
        f"    {name:<14} {found.seconds:7.2f} s  {found.episodes:14,} episodes  {found.plans:4} plans  "
        f"bounds {ends[0]:+.2%} .. {ends[2]:+.2%}, true {ends[1]:+.3%}  {kind}"
    )


if __name__ == "__main__":
    main()
