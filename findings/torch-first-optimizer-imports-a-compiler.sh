#!/usr/bin/env bash
# PyTorch 2.13.0: the first optimizer, and the first `to_empty`, import a compiler that is never used.
#
# One would guess that `torch.optim.Adam(parameters)` costs microseconds, and that `module.to_empty(device="cpu")`, the
# documented way to give a module built on "meta" its storage, allocates memory and no more. The first optimizer of a
# process imports torch._dynamo and with it SymPy (eight hundred modules), though nothing is compiled and nothing asks
# for it; `to_empty` imports SymPy, for the meta kernel of `empty_like`. Each later one is fast. A service, a test suite
# of many short processes or a command line tool that trains for a moment pays one to two seconds, and more where no
# bytecode is kept; neither TORCHDYNAMO_DISABLE=1 nor TORCH_COMPILE_DISABLE=1 avoids it. Stepping by hand does
# (`p -= rate * p.grad`), and so does setting each parameter to `torch.empty(...)`.
#
# Seen with torch 2.13.0 (CPU), Python 3.11:
#   Linear on meta: 0 more modules, SymPy False
#   to_empty: 487 more modules, SymPy True
#   Adam: 823 more modules, torch._dynamo True, SymPy True
#   Adam, dynamo disabled: 823 more modules, torch._dynamo True, SymPy True
# (torch/_compile.py, _disable_dynamo; torch/optim/optimizer.py; torch/_prims_common/__init__.py)
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cat >"$scratch/look.py" <<'PY'
import sys

import torch

before = set(sys.modules)
if sys.argv[1] == "to_empty":
    layer = torch.nn.Linear(3, 4, device="meta")
    built = len(set(sys.modules) - before)
    print(f"Linear on meta: {built} more modules, SymPy {'sympy' in sys.modules}")
    assert built == 0 and "sympy" not in sys.modules
    layer.to_empty(device="cpu")
    least = 300
else:
    torch.optim.Adam([torch.zeros(2, requires_grad=True)])
    least = 700
more = len(set(sys.modules) - before)
dynamo = "" if sys.argv[1] == "to_empty" else f"torch._dynamo {'torch._dynamo' in sys.modules}, "
print(f"{sys.argv[1]}: {more} more modules, {dynamo}SymPy {'sympy' in sys.modules}")
raise SystemExit(more < least or "sympy" not in sys.modules)
PY
cd "$scratch"
venv/bin/python look.py to_empty
venv/bin/python look.py Adam
TORCHDYNAMO_DISABLE=1 TORCH_COMPILE_DISABLE=1 venv/bin/python look.py "Adam, dynamo disabled"
