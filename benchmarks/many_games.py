"""Is what is learned as good as it was? python benchmarks/many_games.py --games 200

Random games of many kinds (2 to 5 states, k to 12; lazy, sparse, periodic and absorbing moves; two types) are
learned by tables at an earlier commit and at the present one, installed as `benchmarks/speed.py` does. Printed: in how
many games the value of the learned pair is higher or lower by more than both proven errors, and every lower one.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

from speed import alone, install

KINDS = ("lazy", "plain", "sparse", "periodic", "absorbing", "types")

CHILD = """
import json, sys, time
import torch
import altmarl_torch as am
torch.set_num_threads(1)

def build(seed, kind):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda low, high: int(torch.randint(low, high + 1, (1,), generator=generator))
    sl, sg, ag, al = draw(2, 5), draw(2, 4), draw(2, 3), draw(2, 3)
    k = draw(2, 12)
    if kind == "types":  # which have twice as many states in all
        sl, k = min(sl, 3), min(k, 6)
    game = am.games.random_game(sg, sl, ag, al, seed=seed, laziness=0.7 if kind == "lazy" else 0.0)
    P = game.P_l.clone()
    if kind == "sparse":
        P = torch.where(torch.rand(P.shape, generator=generator) < 0.6, P, 0 * P) + 1e-300
    if kind == "periodic":
        P = torch.eye(sl, dtype=P.dtype).roll(1, 0)[:, None, None, :].expand(P.shape).clone()  # on, or stay
        P[:, :, -1] = torch.eye(sl, dtype=P.dtype)[:, None, :]
    if kind == "absorbing":
        P[0] = torch.eye(sl, dtype=P.dtype)[0]
    game = game.replace(P_l=P / P.sum(-1, keepdim=True))
    if kind == "types":
        other = am.games.random_game(sg, sl, ag, al, seed=seed + 10**6)
        game = am.with_types([game, other.replace(P_g=game.P_g, r_g=game.r_g)], [0.5, 0.5])
    return game, k

for line in sys.stdin:
    seed, kind = json.loads(line)
    game, k = build(seed, kind)
    begun = time.process_time()
    found = am.solve(game, k)
    seconds = time.process_time() - begun
    print(json.dumps([seed, kind, k, found.value, found.history[-1].error, seconds]), flush=True)
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--old", default="89f2665", help="the earlier commit (default: %(default)s)")
    parser.add_argument("--new", default="HEAD", help="the later one (default: %(default)s)")
    parser.add_argument("--games", type=int, default=200, help="how many (default: %(default)s)")
    parser.add_argument("--keep", type=Path, help="a file of results, which a later call goes on with")
    arguments = parser.parse_args()
    known = [json.loads(line) for line in lines_of(arguments.keep)]
    asked = [[seed, KINDS[seed % len(KINDS)]] for seed in range(len(known), arguments.games)]
    with tempfile.TemporaryDirectory() as folder:
        pythons = (
            [install(getattr(arguments, which), Path(folder) / which) for which in ("old", "new")] if asked else []
        )
        children = [start(python) for python in pythons]
        for one in asked:
            known.append([ask(child, one) for child in children])
            if arguments.keep is not None:
                with arguments.keep.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(known[-1]) + "\n")
        for child in children:
            child.communicate()
    compare(*zip(*known, strict=True))


def lines_of(file):
    return file.read_text(encoding="utf-8").splitlines() if file is not None and file.exists() else []


def start(python):
    """A process that learns the games that it is told."""
    pipe = subprocess.PIPE
    return subprocess.Popen([python, "-c", CHILD], stdin=pipe, stdout=pipe, text=True, cwd="/", env=alone())


def ask(child, game):
    """What one commit learns of a game: seed, kind, k, value, error, seconds of processor."""
    child.stdin.write(json.dumps(game) + "\n")
    child.stdin.flush()
    return json.loads(child.stdout.readline())


def compare(old, new):
    pairs = [(*before[:4], after[3], before[4] + after[4]) for before, after in zip(old, new, strict=True)]
    lower = [pair for pair in pairs if pair[4] < pair[3] - pair[5]]
    higher = [pair for pair in pairs if pair[4] > pair[3] + pair[5]]
    seconds = [sum(one[5] for one in found) for found in (old, new)]
    print(f"{seconds[0]:.0f} s of processor before, {seconds[1]:.0f} now")
    print(f"{len(pairs)} games: higher in {len(higher)}, lower in {len(lower)}, else alike within both proven errors")
    for seed, kind, k, before, after, error in lower:
        print(f"lower: seed {seed}, {kind}, k = {k}: {before:.6f} before, {after:.6f} now (errors {error:.1e})")


if __name__ == "__main__":
    main()
