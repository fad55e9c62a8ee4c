"""What needs no numbers loads no library of numbers: help, the list of games, a refused option are there at once."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

CODE = """
import sys
from altmarl_torch.cli import main

try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
loaded = {"torch", "numpy", "scipy", "matplotlib", "pandas", "tqdm", "rich", "joblib"} & set(sys.modules)
assert not loaded, loaded
sys.exit(code)
"""


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("--help", 0, "usage: altmarl"),
        ("train --help", 0, "usage: altmarl train"),
        ("sweep --help", 0, "sample sizes"),
        ("games", 0, "warehouse  "),
        ("nosuch", 2, "invalid choice: 'nosuch'"),
        ("train --nosuch 3", 2, "unrecognized arguments: --nosuch 3"),
        ("train --k 0", 2, "k must be an integer at least 1, not 0"),
        ("train --solver neural --degree 3", 2, "degree is of solver='lifted'"),
        ("train --game warehuose", 2, "did you mean 'warehouse'?"),
        ("train --game nowhere.npz", 2, "there is no such file"),
        ("sweep --k 1,x", 2, "no list of whole numbers"),
        ("collect --game nosuch", 2, "no game is named 'nosuch'"),
        ("fit", 2, "the following arguments are required: LOG"),
    ],
)
def test_what_computes_nothing_loads_nothing(words, code, said):
    done = subprocess.run([sys.executable, "-c", CODE, *words.split()], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr
