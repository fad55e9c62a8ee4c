"""Golden values: what a fixed list of small runs gives, as numbers and as digests of bits.

    python tests/oracles/golden.py record FILE [WORD]    run every case (with WORD in its name), write what came out
    python tests/oracles/golden.py exact FILE [WORD]     run them again; fail where one bit differs

On one machine and one version of torch equal code gives equal bits, so `exact` is the check of a change that must not
change results: moving code, renaming, splitting. Another processor rounds otherwise; there `test_golden.py` asks for
equal policies and for values within the rounding of sums.
"""

import contextlib
import hashlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from unittest import mock

import torch

import altmarl_torch as am
from altmarl_torch.runs.cli.main import main as command_line

FILE = Path(__file__).with_name("golden.json")

SOLVED = {
    **{f"{name} tables": (name, 2, {"solver": "tabular"}) for name in am.games.names()},
    "warehouse own": ("warehouse", 3, {"objective": "own"}),
    "warehouse k=6": ("warehouse", 6, {}),
    "warehouse sampled": ("warehouse", 2, {"m": 5, "steps": 2, "seed": 3}),
    "warehouse posterior": ("warehouse", 2, {"observation": "posterior", "alpha": 4.0}),
    "steer posterior": ("steer", 2, {"observation": "posterior"}),
    "steer filter": ("steer", 2, {"observation": "filter"}),
    "steer rollout": ("steer", 3, {"select": "rollout", "observation": "filter", "starts": 2}),
    "hash starts": ("hash", 3, {"starts": 3, "seed": 1}),
    "hash all-states": ("hash", 3, {"accept": "all-states"}),
    "steer paper": ("steer", 3, {"eta": "paper"}),
    "steer ucfh": ("steer", 1, {"l_learner": "ucfh", "steps": 1}),
    "smart_grid own": ("smart_grid", 2, {"objective": "own"}),
    "beacon networks": ("beacon", 3, {"solver": "neural", "steps": 1}),
    "steer networks": ("steer", 2, {"solver": "neural", "steps": 1, "l_learner": "neural", "seed": 2}),
}
COMMANDS = [
    "",
    "train",
    "evaluate",
    "certify",
    "advise",
    "sweep",
    "plot",
    "bounds",
    "chains",
    "games",
    "fit",
    "collect",
]


def digest(*things: object) -> str:
    """A digest of tensors, bit by bit, and of texts."""
    found = hashlib.sha256()
    for thing in things:
        tensor = isinstance(thing, torch.Tensor)
        found.update(thing.contiguous().numpy().tobytes() if tensor else str(thing).encode())
    return found.hexdigest()[:16]


def solved(name: str, k: int, options: dict) -> dict:
    """One solution: its value, its policies, its history, and what n agents earn with it."""
    game = am.games.make(name)
    solution = am.solve(game, k, **options)
    history = [(u.step, u.player, u.decision.value, u.value_proposed, u.error, u.adopted) for u in solution.history]
    earned = am.rollout(game, solution, episodes=20, horizon=30, n=1000, seed=1)
    return {
        "value": solution.value,
        "return": earned.mean,
        "updates": [f"{u.player} {u.decision.value} {u.adopted}" for u in solution.history],
        "policies": digest(solution.pi_g, solution.pi_l),
        "bits": digest(solution.pi_g, solution.pi_l, solution.value.hex(), history, earned.returns),
    }


def certified(name: str, k: int) -> dict:
    """A certificate's gap."""
    game = am.games.make(name)
    gap = am.certify(game, am.solve(game, k)).nash_gap
    return {"value": gap, "bits": digest(repr(gap))}


def learned_from_data() -> dict:
    """Off-policy Q-learning from collected trajectories."""
    game = am.games.steer()
    data = am.collect(game, 2, steps=300, trajectories=2, seed=5)
    found = am.learn_from_data(data, passes=2)
    return {"value": found.value, "policies": digest(found.pi_g, found.pi_l), "bits": digest(found.pi_g, found.value)}


def swept() -> dict:
    """The CSV of a small sweep."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        options = ["--game", "steer", "--k", "1,2", "--seeds", "2", "--episodes", "10", "--quiet", "--runs-dir", folder]
        assert command_line(["sweep", *options]) == 0
        (table,) = Path(folder).rglob("results.csv")
        return {"bits": digest(table.read_text())}


def trained() -> dict:
    """The files of a run that hold no seconds."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        options = ["--game", "steer", "--k", "2", "--solver", "tabular", "--quiet", "--runs-dir", folder]
        assert command_line(["train", *options]) == 0
        (run,) = (path for path in Path(folder).iterdir() if path.is_dir())
        names = sorted(path.name for path in run.iterdir() if not path.name.startswith("events"))
        return {"bits": digest((run / "metrics.jsonl").read_text(), (run / "history.json").exists(), names)}


def helped(command: str) -> dict:
    """The text of `--help`."""
    text = io.StringIO()
    wide = mock.patch.dict(os.environ, {"COLUMNS": "120"})
    with wide, contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        command_line([*command.split(), "--help"])
    return {"bits": digest(text.getvalue())}


CASES = {
    **{name: (lambda case=case: solved(*case)) for name, case in SOLVED.items()},
    "certificate steer": lambda: certified("steer", 2),
    "certificate hash": lambda: certified("hash", 2),
    "from data": learned_from_data,
    "sweep": swept,
    "train": trained,
    **{f"altmarl {command} --help": (lambda command=command: helped(command)) for command in COMMANDS},
}


def main(how: str, file: str, word: str = "") -> int:
    """Record, or compare to the bit."""
    wanted = json.loads(Path(file).read_text(encoding="utf-8")) if Path(file).exists() else {}
    found = {}
    for name in (name for name in CASES if word in name):
        found[name] = CASES[name]()
        print(name, found[name].get("value", ""), flush=True)
    if how == "record":
        Path(file).write_text(json.dumps(wanted | found, indent=1) + "\n", encoding="utf-8")
        return 0
    other = [name for name in found if wanted.get(name) != found[name]]
    print("other bits:", other or "none")
    return bool(other)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
