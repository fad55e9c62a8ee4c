#!/usr/bin/env bash
# TensorBoard 2.21.0: the HPARAMS page does not show hyper-parameters in the order in which they were declared.
#
# One would guess that `hparams_config([k, solver, accept])` makes columns k, solver, accept. The plugin sorts them anew:
# those whose record says `differs` first, then by name; and the page ticks the first five. So a run with many options
# opens on whatever comes first in the alphabet. To choose, mark the columns that shall come first as differing.
#
# Seen with tensorboard 2.21.0, Python 3.11:
#   declared: k solver accept -> shown: accept k solver
#   the same with `differs` set on k and solver -> shown: k solver accept
# (tensorboard/plugins/hparams/backend_context.py, _sort_and_reduce_to_hparams_limit)
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet tensorboard==2.21.0
cat >"$scratch/look.py" <<'PY'
import json
import sys
import time
import urllib.request
from pathlib import Path

from tensorboard import program
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.hparams import plugin_data_pb2, summary_v2
from tensorboard.summary.writer.event_file_writer import EventFileWriter


def shown(folder, marked):
    names = ["k", "solver", "accept"]
    config = summary_v2.hparams_config_pb([summary_v2.HParam(name) for name in names], [summary_v2.Metric("return")])
    data = config.value[0].metadata.plugin_data
    record = plugin_data_pb2.HParamsPluginData.FromString(data.content)
    for info in record.experiment.hparam_infos:
        info.differs = info.name in marked
    data.content = record.SerializeToString()
    writer = EventFileWriter(str(folder))
    writer.add_event(Event(summary=config))
    writer.add_event(Event(summary=summary_v2.hparams_pb({"k": 3, "solver": "tabular", "accept": "mean"})))
    writer.close()
    server = program.TensorBoard()
    server.configure(argv=["tensorboard", f"--logdir={folder}", "--port=0", "--load_fast=false"])
    url = server.launch() + "data/plugin/hparams/experiment"
    asked = urllib.request.Request(url, b"{}", {"Content-Type": "application/json"})
    for _ in range(60):
        with urllib.request.urlopen(asked) as answer:
            columns = [info["name"] for info in json.load(answer).get("hparamInfos", [])]
        if columns:
            return columns
        time.sleep(1)
    raise SystemExit("TensorBoard has not read the events within a minute")


top = Path(sys.argv[1])
plain, marked = shown(top / "plain", set()), shown(top / "marked", {"k", "solver"})
print("declared: k solver accept -> shown:", *plain)
print("the same with `differs` set on k and solver -> shown:", *marked)
raise SystemExit(plain != ["accept", "k", "solver"] or marked != ["k", "solver", "accept"])
PY
"$scratch/venv/bin/python" "$scratch/look.py" "$scratch" 2>/dev/null
