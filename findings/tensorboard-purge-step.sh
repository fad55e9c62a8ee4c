#!/usr/bin/env bash
# TensorBoard 2.21.0 and PyTorch 2.13.0: `purge_step` hides other points from each of three readers of the same folder.
#
# A run crashed at step 9 and goes on from step 5 with `SummaryWriter(folder, purge_step=5)`. PyTorch documents that
# whatever the first file has from step 5 on is then "hidden from TensorBoard". One tag is written again, up to 7; a tag
# that is logged seldom is not yet. Only the `EventAccumulator`, with which programs read such folders, hides both.
# TensorBoard as it starts by default (its data server of Rust) drops a tag's old points once newer ones of that tag
# have come, so that the seldom one keeps what the crash has left. With `--load_fast=false`, which is also what runs
# where there is no data server, nothing is hidden: the record that says so is taken for the start of the first session,
# as PyTorch writes none there, and only a second resumption would be noticed. A folder is right everywhere if the
# crashed file is removed, or cut off.
#
# Seen with tensorboard 2.21.0, tensorboard-data-server 0.7.2, torch 2.13.0, Python 3.11:
#   EventAccumulator:   often 0 1 2 3 4 5 6 7, seldom 0 1 2 3 4
#   --load_fast=true:   often 0 1 2 3 4 5 6 7, seldom 0 1 2 3 4 5 6 7 8 9
#   --load_fast=false:  often 0 1 2 3 4 5 6 7 8 9 5 6 7, seldom 0 1 2 3 4 5 6 7 8 9
# (torch/utils/tensorboard/writer.py, _get_file_writer; tensorboard/backend/event_processing/plugin_event_accumulator.py,
# _CheckForRestartAndMaybePurge)
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet tensorboard==2.21.0 tensorboard-data-server==0.7.2 torch==2.13.0 numpy
cat >"$scratch/look.py" <<'PY'
import json
import sys
import time
import urllib.request

from tensorboard import program
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

TAGS = "often", "seldom"
folder = sys.argv[1]
with SummaryWriter(folder) as writer:
    for step in range(10):
        for tag in TAGS:
            writer.add_scalar(tag, step, step)
time.sleep(1.1)  # the names of files tell seconds
with SummaryWriter(folder, purge_step=5) as writer:
    for step in range(5, 8):
        writer.add_scalar("often", step, step)


def of_accumulator():
    reader = EventAccumulator(folder)
    reader.Reload()
    return [[event.step for event in reader.Scalars(tag)] for tag in TAGS]


def of_tensorboard(load_fast):
    server = program.TensorBoard()
    server.configure(argv=["tensorboard", f"--logdir={folder}", "--port=0", f"--load_fast={load_fast}"])
    address = server.launch() + "data/plugin/scalars/"
    for _ in range(60):
        time.sleep(1)
        with urllib.request.urlopen(address + "tags") as answer:
            if set(TAGS) <= set(json.load(answer).get(".", {})):
                break
    time.sleep(3)  # it has seen the first file, and reads the second
    points = [urllib.request.urlopen(f"{address}scalars?run=.&tag={tag}") for tag in TAGS]
    return [[int(point[1]) for point in json.load(answer)] for answer in points]


first, all_ten, again = [0, 1, 2, 3, 4], list(range(10)), [5, 6, 7]
expected = {
    "EventAccumulator": [first + again, first],
    "--load_fast=true": [first + again, all_ten],
    "--load_fast=false": [all_ten + again, all_ten],
}
seen = {
    "EventAccumulator": of_accumulator(),
    "--load_fast=true": of_tensorboard("true"),
    "--load_fast=false": of_tensorboard("false"),
}
for reader, (often, seldom) in seen.items():
    print(f"{reader + ':':<19} often {' '.join(map(str, often))}, seldom {' '.join(map(str, seldom))}")
raise SystemExit(seen != expected)
PY
"$scratch/venv/bin/python" -W ignore "$scratch/look.py" "$scratch/run" 2>"$scratch/log" || { cat "$scratch/log"; exit 1; }
