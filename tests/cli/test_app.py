"""What all commands have in common."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ovsam
from cli.commands import Run
from ovsam.cli import app as cli


def test_version(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"1.2.3 of {name}")
    first, terms = run("--version").stdout.splitlines()
    assert first == "ovsam 1.2.3 of ovsam"
    assert "weights have terms of their own" in terms


@pytest.mark.parametrize(
    ("command", "shown"), [("--help", "segment"), ("models", "lite"), ("vocabulary list", "coco")]
)
def test_what_needs_no_model_loads_no_torch(command: str, shown: str) -> None:
    code = (
        f"import sys; from ovsam.cli.app import app; app({command.split()}, standalone_mode=False);"
        "sys.exit('torch was imported' if 'torch' in sys.modules else 0)"
    )
    source = str(Path(cli.__file__).parents[2])
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": source},
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert shown in result.stdout


def test_usage_errors_exit_with_2(run: Run) -> None:
    assert run("segment").exit_code == 2
    assert run("segment", "photo.jpg", "--top", "0").exit_code == 2
    assert run("evaluate", "a.json", "--images", ".", "--prompts", "scribble").exit_code == 2


def test_interrupt_exits_with_130_and_no_traceback(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ovsam, "load", load, raising=False)
    result = run("segment", "photo.jpg", "--point", "5,5")
    assert result.exit_code == 130
    assert result.stderr == "interrupted\n"
