"""What fewer answers cost: python benchmarks/how_many.py answers --game warehouse --k 1,5,20
                          python benchmarks/how_many.py every --k 5,10,20,35,50 --seed 0
                          python benchmarks/how_many.py shared --k 1,2,5,10,20,35,50
                          python benchmarks/how_many.py rising --preset code --observation posterior --seed 2
                          python benchmarks/how_many.py advise --game smart_grid
                          python benchmarks/how_many.py asking --episodes 1000

`answers` plays the paper's tables, the posterior correction and the memory at answer rates from 1 to 0 on common
episodes, and prints mean returns with their largest standard error; `turnover` does so at rates of turnover, once with
pairs that do not know of it and once with pairs that were learned for P_l <- (1-p) P_l + p nu. `every` learns one
network for every k up to 50, and one for each k that is named: process seconds of both, paired differences of the
returns, the seconds of return against all 50, and the returns at answer rates. `shared` says which pi_l tables find for
each k, and what the best response to each of these is worth for every other k. `rising` plays what `select="rollout"`
takes for k = 1..20 on the warehouse, and prints returns, how far they lie above holding, and what one agent more adds.
`advise` confirms the advice at four prices by a sweep on fresh episodes: with memory every k up to 50, without one
those of `FORGETFUL`. A game may be a file of one's own. `asking` compares asking when it pays (`ASKS` at a step, at no
price 50) with the best fixed k that has a memory.
"""

import argparse
import dataclasses
import time

import altmarl_torch as am
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.games.from_file import call_function, is_function
from altmarl_torch.operators.surrogate import exact_surrogate
from altmarl_torch.tabular import g_learn

MODELS = ("surrogate", "posterior", "filter")
ASKS = (0, 1, 2, 3, 6)
FORGETFUL = (*range(1, 13), 16, 20, 30, 40, 50)
PRICES = (0.0, 0.02, 0.1, 0.5)
ANSWERS, TURNOVER = (1.0, 0.9, 0.7, 0.5, 0.2, 0.0), (0.0, 0.02, 0.1, 0.3)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("answers", "turnover", "every", "shared", "rising", "advise", "asking"))
    parser.add_argument("--game", default="warehouse", help="a named game, or my_game.py:build")
    parser.add_argument("--k", type=lambda text: [int(k) for k in text.split(",")], default=[20])
    parser.add_argument("--episodes", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1, help="seed of the episodes; of every and rising, of learning")
    parser.add_argument("--preset", default="paper", help="of rising")
    parser.add_argument("--observation", default="surrogate", help="of rising")
    arguments = parser.parse_args()
    game = call_function(arguments.game) if is_function(arguments.game) else am.games.make(arguments.game)
    played = {"episodes": arguments.episodes, "seed": 1}
    if arguments.what == "every":
        return every(game, arguments.k, arguments.seed, played)
    if arguments.what == "rising":
        return rising(am.games.warehouse(arguments.preset), arguments.observation, arguments.seed, played)
    if arguments.what == "shared":
        return shared(game, arguments.k)
    if arguments.what == "advise":
        return advise(game, played)
    if arguments.what == "asking":
        return asking(game, played)
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


def shared(game, ks):
    """Exact values of best responses to the pi_l that tables find for each k, for every k, beside its own pair's."""
    solved = {k: am.solve(game, k) for k in ks}
    plans = {k: PairPlan(am.CountSimplex(k, game.num_sl)) for k in ks}
    for k, pair in solved.items():
        same = [j for j in ks if solved[j].pi_l.equal(pair.pi_l)]
        if same[0] < k:
            continue
        found = {j: g_learn(exact_surrogate(game, pair.pi_l, plans[j]), parameterization="counts") for j in ks}
        losses = " | ".join(f"{100 * (1 - one.joint.mean / solved[j].value):.2f} %" for j, one in found.items())
        print(f"| pi_l of k = {', '.join(map(str, same))} | {losses} |", flush=True)


def rising(game, observation, seed, played):
    """Returns of what selection by n agents takes, k by k, on episodes that no selection has seen."""
    hold = before = am.rollout(game, am.heuristics.heuristic_pairs(game, 1)["hold + walk"], **played).returns
    for k in range(1, 21):
        pair = am.solve(game, k, observation=observation, select="rollout", seed=seed)
        returns = am.rollout(game, pair, **played).returns
        over, step = returns - hold, returns - before
        sem = float(step.std()) / len(step) ** 0.5
        line = f"k = {k}: {returns.mean():.2f} ({pair.selection.choices[0].name}), {over.mean():+.2f} over holding"
        print(f"{line}; step {step.mean():+.3f} +- {sem:.3f}", flush=True)
        before = returns


def advise(game, played):
    """The advice, and what an exhaustive sweep says of it."""
    begun = time.perf_counter()
    advice = am.advise(game, PRICES, told=lambda line: print(line, flush=True))
    print(f"{advice}\n{time.perf_counter() - begun:.0f} s", flush=True)
    found = swept(game, played)
    questions = (1 - game.gamma**100) / (1 - game.gamma)
    for choice in advice.choices:
        nets = {way: returns - choice.price * way[0] * questions for way, returns in found.items()}
        best, named = max(nets, key=lambda way: nets[way].mean()), (choice.asking.k, choice.asking.remembers)
        less, sem = nets[named] - nets[best], float(nets[named].std()) / len(nets[named]) ** 0.5
        line = f"price {choice.price:g}: {said(named)} nets {nets[named].mean():.2f} +- {sem:.2f}; best of the sweep"
        paired, share = float(less.std()) / len(less) ** 0.5, float(less.mean()) / sem
        print(f"{line} {said(best)} {nets[best].mean():.2f}: {less.mean():+.3f} +- {paired:.3f}, {share:+.2f} s.e.")


def asking(game, played):
    """Net returns of asking when it pays, and of every fixed k in reach, on the same episodes."""
    memory = am.solve(game, 1, observation="filter", solver="auto")
    fixed = {0: am.rollout(game, memory, answer_rate=0.0, **played).returns}
    fixed |= {k: am.rollout(game, memory.seeing(k), **played).returns for k in sorted({*range(1, 7), 12, 25, 50})}
    questions = (1 - game.gamma**100) / (1 - game.gamma)
    for price in PRICES:
        nets = {k: returns - price * k * questions for k, returns in fixed.items()}
        best, begun = max(nets, key=lambda k: nets[k].mean()), time.process_time()
        pair = am.decide_by_belief(game, ASKS if price > 0 else 50, price=price, pi_l=memory.pi_l)
        seconds, paid = time.process_time() - begun, am.ask_and_pay(game, pair, **played)
        more = paid.net - nets[best]
        sem = float(more.std()) / len(more) ** 0.5
        row = f"| {price:g} | {best} | {nets[best].mean():.2f} | {paid.net.mean():.2f} | {paid.mean_asked:.2f}"
        print(f"{row} | {more.mean():+.2f} +- {sem:.2f} | {seconds:.0f} s |", flush=True)


def said(way):
    return f"k = {way[0]} {'with' if way[1] else 'without'} memory"


def swept(game, played):
    """Returns of every k, with memory and without, by the public functions alone."""
    memory, found = am.solve(game, 1, observation="filter", solver="auto"), {}
    found[0, True] = am.rollout(game, memory, answer_rate=0.0, **played).returns
    for k in range(1, min(50, game.n) + 1):
        if k in FORGETFUL:
            pairs = [am.solve(game, k, solver="auto"), *am.heuristics.heuristic_pairs(game, k).values()]
            earned = [am.rollout(game, pair, **played).returns for pair in pairs]
            found[k, False] = max(earned, key=lambda one: one.mean())
        found[k, True] = am.rollout(game, dataclasses.replace(memory, k=k), **played).returns
    return found


if __name__ == "__main__":
    main()
