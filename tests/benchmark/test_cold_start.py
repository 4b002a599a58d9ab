from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from ovsam.benchmark import cold_start
from ovsam.benchmark.cold_start import (
    Start,
    check_measurable,
    cold_starts,
    environment,
    start_command,
)
from ovsam.errors import OvsamError, UsageError

PHOTO = np.zeros((40, 60, 3), np.uint8)


def test_a_process_is_timed_and_its_memory_is_told() -> None:
    start = start_command(["--version"], environment(None))
    assert 10 < start.milliseconds < 60_000
    assert start.peak_bytes > 5e6


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(OvsamError, match=r"^'ovsam segment' failed .* \(exit code 2\): .*\S\.$"):
        start_command(["segment", "none.png", "--box", "0,0,1,1", "--nothing"], environment(None))


def test_it_finds_this_ovsam_and_computes_with_so_many_threads() -> None:
    assert environment(3)["OMP_NUM_THREADS"] == "3"
    first = environment(None)["PYTHONPATH"].split(os.pathsep)[0]
    assert (Path(first) / "ovsam" / "benchmark").is_dir()


def test_models_are_started_by_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    def start(arguments: list[str], env: dict[str, str]) -> Start:
        assert env["OMP_NUM_THREADS"] == "1"
        assert Path(arguments[1]).is_file()
        started.append(arguments)
        return Start(len(started), 10 * len(started))

    monkeypatch.setattr(cold_start, "start_command", start)
    steps: list[tuple[int, int]] = []
    found = cold_starts(["one", "two"], PHOTO, 2, 1, lambda *step: steps.append(step))
    assert [arguments[-1] for arguments in started] == ["one", "two"] * 3
    assert found == [[Start(3, 30), Start(5, 50)], [Start(4, 40), Start(6, 60)]]
    assert started[0][2:4] == ["--box", "18,8,42,32"]
    assert steps[-1] == (6, 6)
    assert not Path(started[0][1]).exists()


def test_an_interruption_ends_the_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    code = f"import os, time; open({str(noted)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    monkeypatch.setattr(cold_start, "COMMAND", (sys.executable, "-c", code))

    def interrupt() -> None:
        while not (noted.exists() and noted.read_text()):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background: ignored
    try:
        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            start_command([], environment(None))
    finally:
        signal.signal(signal.SIGINT, before)
    with pytest.raises(ProcessLookupError):
        os.kill(int(noted.read_text()), 0)


def test_a_system_that_does_not_tell_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_measurable()
    monkeypatch.delattr(os, "wait4")
    with pytest.raises(UsageError, match="--cold needs a system"):
        check_measurable()
