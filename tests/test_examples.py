"""The examples run, in a process of their own, and end with what they promise."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = {
    "warehouse": "with memory  17",
    "fleet_from_a_log": "earned in truth:",
    "own_game": "step 5: cheap in",
    "sweep": "drawn:",
    "flower_federation": "after ten rounds the server reads",
}
NEEDED = {"flower_federation": "flwr"}


def test_every_example_is_listed():
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(name, tmp_path):
    if name in NEEDED:
        pytest.importorskip(NEEDED[name])
    script = ROOT / "examples" / f"{name}.py"
    assert len(script.read_text(encoding="utf-8").splitlines()) <= 60
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(EXAMPLES[name])
