"""SIGKILL at any moment of a run: the same command then ends as if nothing had been."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from train.killed import COMMANDS

TESTS = Path(__file__).parent.parent
KILLS, SEED = 5, 1


@pytest.mark.long
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_any_moment(name: str, tmp_path: Path) -> None:
    """What is written when a run is killed is arbitrary; what it ends with is not."""
    paths = f"{TESTS.parent / 'src'}{os.pathsep}{TESTS}"
    script = str(TESTS / "train" / "killed.py")
    done = subprocess.run(
        [sys.executable, script, str(tmp_path / "runs"), name, str(KILLS), str(SEED)],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
