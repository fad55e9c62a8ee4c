"""What fewer answers cost: python benchmarks/how_many.py answers --game warehouse --k 1,5,20
                          python benchmarks/how_many.py every --k 5,10,20,35,50 --seed 0

`answers` plays the paper's tables, the posterior correction and the memory at answer rates from 1 to 0 on common
episodes, and prints mean returns with their largest standard error; `turnover` does so at rates of turnover, once with
pairs that do not know of it and once with pairs that were learned for P_l <- (1-p) P_l + p nu. `every` learns one
network for every k up to 50, and one for each k that is named: process seconds of both, paired differences of the
returns, the seconds of return against all 50, and the returns at answer rates.
"""

import argparse
import dataclasses
import time

import altmarl_torch as am

MODELS = ("surrogate", "posterior", "filter")
ANSWERS, TURNOVER = (1.0, 0.9, 0.7, 0.5, 0.2, 0.0), (0.0, 0.02, 0.1, 0.3)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("answers", "turnover", "every"))
    parser.add_argument("--game", default="warehouse", help="a named game")
    parser.add_argument("--k", type=lambda text: [int(k) for k in text.split(",")], default=[20])
    parser.add_argument("--episodes", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1, help="seed of the episodes")
    arguments = parser.parse_args()
    game = am.games.make(arguments.game)
    if arguments.what == "every":
        every(game, arguments.k, arguments.seed, {"episodes": arguments.episodes, "seed": 1})
        return
    for k in arguments.k:
        for model in MODELS:
            row = {"answers": answers, "turnover": turnover}[arguments.what]
            found = row(game, k, model, {"episodes": arguments.episodes, "seed": arguments.seed})
            returns = " | ".join(f"{one.mean:.1f}" for one in found)
            print(f"| {model} | {k} | {returns} | {max(one.sem for one in found):.2f} |", flush=True)


def answers(game, k, model, played):
    solution = am.solve(game, k, observation=model)
    return [am.rollout(game, solution, answer_rate=rate, **played) for rate in ANSWERS]


def turnover(game, k, model, played):
    unaware, found = am.solve(game, k, observation=model), []
    for rate in TURNOVER:
        known = game.replace(P_l=(1 - rate) * game.P_l + rate * game.initial.local_mean)
        aware = am.solve(known, k, observation=model)
        found += [am.rollout(game, pair, turnover=rate, **played) for pair in (unaware, aware)]
    return found


def timed(game, k, seed):
    begun = time.process_time()
    return am.solve(game, k, solver="neural", seed=seed), time.process_time() - begun


def every(game, ks, seed, played):
    found, seconds = timed(game, range(1, 51), seed)
    print(f"one network for k = 1..50: {seconds:.1f} s", flush=True)
    begun = time.process_time()
    curve = [am.rollout(game, found.seeing(k), seed=1).mean for k in found.sizes]
    print(f"50 times 750 episodes: {time.process_time() - begun:.1f} s; {' '.join(f'{one:.1f}' for one in curve)}")
    for k in ks:
        alone, own = timed(game, k, seed)
        mine, theirs = (am.rollout(game, pair, **played).returns for pair in (found.seeing(k), alone))
        gain = 100 * (mine - theirs) / theirs.mean()
        line = f"k = {k}: {own:.1f} s; {mine.mean():.2f} {theirs.mean():.2f}, {gain.mean():+.2f} %"
        print(f"{line} +- {gain.std() / len(gain) ** 0.5:.2f}")
        for name, pair in (("each row", dataclasses.replace(found, k=k, pi_g=None)), ("filled", found.seeing(k))):
            rates = [am.rollout(game, pair, answer_rate=rate, **played).mean for rate in ANSWERS]
            print(f"| {name} | {k} | {' | '.join(f'{one:.1f}' for one in rates)} |", flush=True)


if __name__ == "__main__":
    main()
