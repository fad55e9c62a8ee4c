#!/usr/bin/env bash
# Minari 0.5.4: a data set in its Arrow format is written with scalar infos, and cannot be read back.
#
# One would guess that `create_dataset_from_buffers(..., data_format="arrow")` either keeps infos of shape [T + 1] or
# refuses them. It writes them; reading any episode then ends in a ValueError, since the shape, which stands in the
# column's name, is the empty word for a scalar, and int("") is tried. HDF5 keeps them (but needs pillow, which the
# extra `hdf5` does not install). Workaround: HDF5, or infos of shape [T + 1, 1].
#
# Seen with minari 0.5.4, pyarrow 26.0.1, gymnasium 1.4.0, Python 3.11:
#   hdf5: infos [0.0, 0.0, 0.0]
#   arrow: ValueError: invalid literal for int() with base 10: b''
# (minari/dataset/_storages/arrow_storage.py, _decode_info)
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet minari==0.5.4 gymnasium==1.4.0 pyarrow==26.0.1 h5py==3.16.0 pillow==13.0.0
cat >"$scratch/look.py" <<'PY'
import numpy as np
import minari
from gymnasium.spaces import Discrete
from minari.data_collector import EpisodeBuffer

found = {}
for form in ("hdf5", "arrow"):
    buffer = EpisodeBuffer(
        observations=np.zeros(3, np.int64), actions=np.zeros(2, np.int64), rewards=np.zeros(2),
        terminations=np.zeros(2, bool), truncations=np.ones(2, bool), infos={"cost": np.zeros(3)},
    )
    made = minari.create_dataset_from_buffers(
        f"look/{form}-v0", [buffer], observation_space=Discrete(2), action_space=Discrete(2), data_format=form
    )
    try:
        found[form] = f"infos {next(iter(made.iterate_episodes())).infos['cost'].tolist()}"
    except ValueError as cause:
        found[form] = f"ValueError: {cause}"
    print(f"{form}: {found[form]}")
raise SystemExit(found["hdf5"] != "infos [0.0, 0.0, 0.0]" or not found["arrow"].startswith("ValueError"))
PY
MINARI_DATASETS_PATH="$scratch/data" "$scratch/venv/bin/python" -W ignore "$scratch/look.py"
