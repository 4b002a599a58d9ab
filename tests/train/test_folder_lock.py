from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ovsam.errors import TrainingError
from train.toy_stage import (
    run_toy,
)


def test_one_run_at_a_time_in_a_folder(tmp_path: Path) -> None:
    """Its lock ends with the process, and is no file."""
    script = (
        "import sys, time; from pathlib import Path; from ovsam.train.folder_lock import alone_in\n"
        "with alone_in(Path(sys.argv[1])): print('held', flush=True); time.sleep(3600)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(TrainingError, match=r"^Another run is going on in .*\. Wait for it"):
            run_toy(tmp_path)
        assert not list(tmp_path.iterdir())
    finally:
        other.kill()
        other.communicate()
    assert run_toy(tmp_path).averaged
    assert run_toy(tmp_path).averaged, "nor does a run in this process leave it held"
