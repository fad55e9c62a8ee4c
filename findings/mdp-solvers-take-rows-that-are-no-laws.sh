#!/usr/bin/env bash
# QuantEcon 0.11.4 and MDPSolver 0.10.2 solve MDPs whose rows are no laws, without a word.
#
# One would guess that a solver refuses a transition row that does not sum to one or holds a negative chance. The policy
# iteration of QuantEcon looks at the rows of the policies that it meets, and at no other: a row that is never chosen
# may hold anything but NaN. MDPSolver takes a row of 0.9 and one with NaN for numbers. pymdptoolbox 4.0b3 errs to the
# other side: a row that sums to 1 - 1e-13 is "not stochastic". So check arrays before they go there.
#
# Seen with quantecon 0.11.4, mdpsolver 0.10.2, pymdptoolbox 4.0b3, Python 3.11, discount 0.95; with the row
# [0.5, 0.5] the values are 35.3226, 36.9355:
#   quantecon, row [1.5, -0.5]: [34.2, 36.2]     quantecon, row [0.4, 0.5]: [34.2, 36.2]
#   mdpsolver, row [0.4, 0.5]: [34.2, 36.2]      mdpsolver, row [nan, 0.5]: [34.2, 36.2]
#   pymdptoolbox, row [0.5, 0.5 - 1e-13]: StochasticError
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet quantecon==0.11.4 mdpsolver==0.10.2 pymdptoolbox==4.0b3
cat >"$scratch/look.py" <<'PY'
import math

import mdpsolver
import numpy as np
from mdptoolbox.mdp import ValueIteration
from quantecon.markov import DiscreteDP

R, REST = [[1.0, 0.0], [0.0, 2.0]], [[[0.1, 0.9]], [[0.5, 0.5], [0.1, 0.9]]]


def rows(first):
    return [[first, *REST[0]], REST[1]]


def by_quantecon(first):
    return DiscreteDP(np.array(R), np.array(rows(first)), 0.95).solve(method="policy_iteration").v


def by_mdpsolver(first):
    model = mdpsolver.model()
    model.mdp(discount=0.95, rewards=R, tranMatWithZeros=rows(first))
    model.solve(verbose=False)
    return np.array(model.getValueVector())


def by_mdptoolbox(first):
    solver = ValueIteration(np.array(rows(first)).transpose(1, 0, 2), np.array(R), 0.95)
    solver.run()
    return np.array(solver.V)


bad = False
for solver, first in (
    (by_quantecon, [1.5, -0.5]), (by_quantecon, [0.4, 0.5]), (by_mdpsolver, [0.4, 0.5]), (by_mdpsolver, [math.nan, 0.5])
):
    values = solver(first)
    print(f"{solver.__name__[3:]}, row {first}: {values.round(4).tolist()}")
    bad |= not np.isfinite(values).all()
try:
    by_mdptoolbox([0.5, 0.5 - 1e-13])
    bad = True
except Exception as cause:
    print(f"pymdptoolbox, row [0.5, 0.5 - 1e-13]: {type(cause).__name__}")
raise SystemExit(bad)
PY
"$scratch/venv/bin/python" -W ignore "$scratch/look.py"
