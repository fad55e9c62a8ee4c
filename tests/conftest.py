"""Tests run on all cores, one process each (pytest-xdist): so each computes with one thread, subprocesses included."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
