"""`ovsam compare` as a user types it, without a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import ovsam
from cli.commands import Run, assert_error, write_annotations
from fakes import FakePredictor


class Nameless(FakePredictor):
    """It makes masks, and whatever is asked of its text side fails."""

    def prepare(self, *_: object, **__: object) -> Any:
        raise AssertionError("no name is to be embedded")

    def predict(self, *_: object, **__: object) -> Any:
        raise AssertionError("nothing is to be named")


def test_compare_two_models(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: dict[str, FakePredictor] = {}

    def load(name: str, *, zoom: bool | None, **_: object) -> FakePredictor:
        radius = {"small": 10.0, "big": 20.0}[name]
        return loaded.setdefault(name, Nameless(model_name=name, radius=radius, zoom=bool(zoom)))

    monkeypatch.setattr(ovsam, "load", load, raising=False)
    write_annotations()
    result = run(
        *("compare", "instances.json", "--images", ".", "--model", "small", "--teacher", "big"),
        *("--prompts", "point", "--limit", "1", "--objects", "1", "--zoom"),
        *("--json", "report.json"),
    )
    assert result.exit_code == 0, result.output
    report = json.loads(Path("report.json").read_text())
    assert report["iou"] == pytest.approx(0.25, rel=0.05)  # a disk in one of twice its radius
    assert (report["student"], report["teacher"], report["instances"]) == ("small", "big", 1)
    assert report["provenance"]["teacher"]["name"] == "big"
    assert report["zoom"] == {"student": True, "teacher": True}
    assert "small beside big, point prompts, zoom on" in result.stdout
    assert "wrote report.json" in result.stdout
    assert [len(fake.prompts) for fake in loaded.values()] == [1, 1]

    wrong = run("compare", "instances.json", "--teacher", "big", "--prompts", "point-true-box")
    assert wrong.exit_code == 2, "names play no part"
    compare = ("compare", "instances.json", "--model", "small", "--teacher", "big")
    assert run(*compare[:-2]).exit_code == 2, "there is no teacher but the one that is named"
    assert_error(run(*compare, "--json", "instances.json"), "the input itself")
    assert_error(run("compare", "none.json", *compare[2:]), "There is no data set at 'none.json'")
    Path("photo.jpg").write_bytes(b"no photo")
    result = run(*compare)
    assert result.exit_code == 1
    assert "no object to compare" in result.stderr
