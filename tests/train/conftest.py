"""What several tests of training use: the command line, and data sets as files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ovsam.cli.app import app
from ovsam.data.dataset import DataSet, read_data_set
from photo_folder import write_folder


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Runs a command line of ovsam that must succeed; gives what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(line: str) -> str:
        result = CliRunner().invoke(app, line.split(), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    return run


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def data_set(root: Path) -> DataSet:
    return read_data_set(
        root / "coco_sample/annotations/instances_train2017.json", root / "coco_sample/train2017"
    )
