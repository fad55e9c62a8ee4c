"""Is what is learned as good as it was? python benchmarks/many_games.py --games 200

Random games of many kinds (2 to 5 states, k to 12; lazy, sparse, periodic and absorbing moves) are
learned by tables at an earlier commit and at the present one, installed as `benchmarks/speed.py` does. Printed: in how
many games the value of the learned pair is higher or lower by more than both proven errors, and every lower one.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

from speed import alone, install

KINDS = ("lazy", "plain", "sparse", "periodic", "absorbing")

CHILD = """
import json, sys
import torch
import altmarl_torch as am
torch.set_num_threads(1)

def build(seed, kind):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda low, high: int(torch.randint(low, high + 1, (1,), generator=generator))
    sl, sg, ag, al = draw(2, 5), draw(2, 4), draw(2, 3), draw(2, 3)
    k = draw(2, 12)
    game = am.games.random_game(sg, sl, ag, al, seed=seed, laziness=0.7 if kind == "lazy" else 0.0)
    P = game.P_l.clone()
    if kind == "sparse":
        P = torch.where(torch.rand(P.shape, generator=generator) < 0.6, P, 0 * P) + 1e-300
    if kind == "periodic":
        P = torch.eye(sl, dtype=P.dtype).roll(1, 0)[:, None, None, :].expand(P.shape).clone()  # on, or stay
        P[:, :, -1] = torch.eye(sl, dtype=P.dtype)[:, None, :]
    if kind == "absorbing":
        P[0] = torch.eye(sl, dtype=P.dtype)[0]
    return game.replace(P_l=P / P.sum(-1, keepdim=True)), k

for line in sys.stdin:
    seed, kind = json.loads(line)
    game, k = build(seed, kind)
    found = am.solve(game, k)
    print(json.dumps([seed, kind, k, found.value, found.history[-1].error]), flush=True)
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--old", default="89f2665", help="the earlier commit (default: %(default)s)")
    parser.add_argument("--new", default="HEAD", help="the later one (default: %(default)s)")
    parser.add_argument("--games", type=int, default=200, help="how many (default: %(default)s)")
    arguments = parser.parse_args()
    asked = "".join(json.dumps([seed, KINDS[seed % len(KINDS)]]) + "\n" for seed in range(arguments.games))
    with tempfile.TemporaryDirectory() as folder:
        old, new = (learn(install(getattr(arguments, which), Path(folder) / which), asked) for which in ("old", "new"))
    compare(old, new)


def learn(python, asked):
    """What one commit learns of every game: lists of seed, kind, k, value, error."""
    done = subprocess.run(
        [python, "-c", CHILD], input=asked, check=True, capture_output=True, text=True, cwd="/", env=alone()
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def compare(old, new):
    pairs = [(*before[:3], before[3], after[3], before[4] + after[4]) for before, after in zip(old, new, strict=True)]
    lower = [pair for pair in pairs if pair[4] < pair[3] - pair[5]]
    higher = [pair for pair in pairs if pair[4] > pair[3] + pair[5]]
    print(f"{len(pairs)} games: higher in {len(higher)}, lower in {len(lower)}, else alike within both proven errors")
    for seed, kind, k, before, after, error in lower:
        print(f"lower: seed {seed}, {kind}, k = {k}: {before:.6f} before, {after:.6f} now (errors {error:.1e})")


if __name__ == "__main__":
    main()
