"""Documented calls are typed as they are documented."""

import subprocess
import sys
from pathlib import Path

import pytest
import typed_user

USER = Path(__file__).with_name("typed_user.py")


def test_a_users_file_passes_mypy_strict():
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", USER]
    done = subprocess.run(command, capture_output=True, text=True, cwd=USER.parents[1])
    assert done.returncode == 0, done.stdout + done.stderr


def test_and_runs():
    assert typed_user.main() > 0
