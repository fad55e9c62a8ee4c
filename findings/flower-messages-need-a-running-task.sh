#!/usr/bin/env bash
# Flower 1.42.0: a Message cannot be made outside a running task, so that strategies cannot be tested by themselves.
#
# One would guess that `flwr.app.Message(content=, message_type=, dst_node_id=)`, a public data class, can be made
# anywhere: its signature asks for nothing else, and a strategy's `configure_train` could be called with a grid of one's
# own. It reads the run's, node's and task's numbers from a class that belongs to the process and that only Flower's
# runtime fills in, and raises a RuntimeError that names an internal class. A reply (`reply_to=`) needs none of it.
# And with no rounds to run, `Strategy.start(num_rounds=0)` answers with an empty ArrayRecord, not with the initial one.
#
# Seen with flwr 1.42.0, Python 3.11:
#   instruction: RuntimeError: TaskIdentity.run_id is not set.
#   start with no rounds: arrays [] of ['w']
# (flwr/app/message/message.py, flwr/supercore/task_identity.py, flwr/serverapp/strategy/strategy.py)
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet flwr==1.42.0 numpy==2.4.6
cat >"$scratch/look.py" <<'PY'
import logging

import numpy as np
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.serverapp.strategy import FedAvg

logging.disable(logging.CRITICAL)
try:
    Message(content=RecordDict(), message_type="train", dst_node_id=7)
    instruction = "made"
except RuntimeError as cause:
    instruction = f"RuntimeError: {cause}"
print(f"instruction: {instruction}")
first = ArrayRecord({"w": Array(np.ones(2))})
left = FedAvg().start(grid=None, initial_arrays=first, num_rounds=0).arrays
print(f"start with no rounds: arrays {list(left)} of {list(first)}")
raise SystemExit(not instruction.startswith("RuntimeError") or list(left) != [])
PY
"$scratch/venv/bin/python" -W ignore "$scratch/look.py"
