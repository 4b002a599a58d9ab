"""A predictor that needs no model, and the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

import ovsam
from cli.commands import Run
from fakes import FakePredictor
from ovsam.cli import app as cli
from ovsam.vocabulary.vocabulary import Vocabulary


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakePredictor:
    """The predictor that `ovsam.load` gives."""
    predictor = FakePredictor()

    def load(
        name: str,
        *,
        vocabulary: Vocabulary | None = None,
        device: str,
        zoom: bool | None = None,
        clean: bool = True,
    ) -> Any:
        assert device == "cpu"
        predictor.model_name = name
        if vocabulary is not None:
            predictor.vocabulary = vocabulary
        predictor.zoom, predictor.clean = bool(zoom), clean
        return predictor

    monkeypatch.setattr(ovsam, "load", load, raising=False)
    return predictor


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`ovsam ...` in an empty folder with photo.jpg, 300 wide and 200 high."""
    Image.new("RGB", (300, 200), (90, 120, 60)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(cli.app, list(arguments))
