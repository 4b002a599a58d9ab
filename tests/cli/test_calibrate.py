"""`ovsam calibrate` on made-up photos, with the tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import ovsam
from fakes import FakePredictor
from ovsam.cli import app as cli
from ovsam.model.checkpoint import load_checkpoint, save_checkpoint
from photo_folder import write_coco
from tiny_model import TINY, tiny_model, tiny_predictor


def test_calibrate_writes_the_model_with_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = tiny_model()
    save_checkpoint("tiny.safetensors", model, TINY, {"licence": "none"}, half=True)
    monkeypatch.setattr(ovsam, "load", lambda *_, **__: tiny_predictor(model=model), raising=False)
    files = [f"{number}.png" for number in range(21)]
    write_coco(Path("val.json"), Path("photos"), ["cat", "dog"], files)
    words = ["calibrate", "val.json", "--images", "photos", "--model", "tiny.safetensors"]
    words += ["--vocabulary", "cat, dog, mug, tree, lamp", "--vocabulary", "tiger cat, cat, dog"]
    result = CliRunner().invoke(cli.app, [*words, "-o", "out.safetensors", "--json", "out.json"])
    assert result.exit_code == 0, result.output
    for count in (5, 3):
        assert f"42 instances, {count} classes" in result.stdout
    report = json.loads(Path("out.json").read_text())
    config, tensors = load_checkpoint("out.safetensors")
    first, second = report["by_vocabulary"].values()
    assert (first["classes"], second["classes"]) == (report["classes"], 3) == (5, 3)
    for fit, found in zip(config.calibration.fits, (second, first), strict=True):
        assert fit.temperature == found["temperature"] != 1
        assert (fit.threshold, fit.classes) == (found["threshold"], found["classes"])
    assert [half["instances"] for half in report["halves"]] == [20, 22]
    assert min(half["right"] for half in report["halves"]) < 20
    assert "warning: the model names only" in result.stderr
    again = CliRunner().invoke(cli.app, [*words, "-o", "tiny.safetensors"])
    assert again.exit_code == 1
    assert "it is the input itself" in again.stderr
    before = load_checkpoint("tiny.safetensors")[1]
    assert tensors.keys() == before.keys()
    assert all((tensors[name] == before[name]).all() for name in before)


@pytest.mark.parametrize(
    ("model", "message", "code"),
    [
        ("lite-oracle", "run 'ovsam evaluate' with --oracle-names", 2),
        ("lite-image-crop", "Give the file of a trained baseline", 1),
    ],
)
def test_calibrate_refuses_what_it_cannot_calibrate(
    tmp_path: Path, model: str, message: str, code: int
) -> None:
    write_coco(tmp_path / "val.json", tmp_path / "photos", ["cat", "dog"], ["0.png"])
    words = ["calibrate", str(tmp_path / "val.json"), "--images", str(tmp_path / "photos")]
    output = tmp_path / "out.safetensors"
    result = CliRunner().invoke(cli.app, [*words, "--model", model, "-o", str(output)])
    assert result.exit_code == code
    assert message in result.stderr
    assert not output.exists()


def test_calibrate_refuses_a_model_without_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_: str, **__: object) -> FakePredictor:
        return FakePredictor(names_objects=False)

    monkeypatch.setattr(ovsam, "load", load, raising=False)
    write_coco(tmp_path / "val.json", tmp_path / "photos", ["cat", "dog"], ["0.png"])
    words = ["calibrate", str(tmp_path / "val.json"), "--images", str(tmp_path / "photos")]
    result = CliRunner().invoke(cli.app, [*words, "-o", str(tmp_path / "out.safetensors")])
    assert result.exit_code == 1
    assert "'lite' makes masks and has no names: there is no score" in result.stderr


def test_calibrate_refuses_a_name_before_any_work(tmp_path: Path) -> None:
    words = ["calibrate", "val.json", "--images", "photos", "-o", str(tmp_path / "out.pth")]
    result = CliRunner().invoke(cli.app, words)
    assert result.exit_code == 2
    assert "must end in .safetensors" in result.stderr


def test_calibrate_refuses_two_lists_of_one_length(tmp_path: Path) -> None:
    write_coco(tmp_path / "val.json", tmp_path / "photos", ["cat", "dog"], ["0.png"])
    words = ["calibrate", str(tmp_path / "val.json"), "--images", str(tmp_path / "photos")]
    words += ["--vocabulary", "cat, dog", "--vocabulary", "dog, tiger cat"]
    result = CliRunner().invoke(cli.app, [*words, "-o", str(tmp_path / "out.safetensors")])
    assert result.exit_code == 2
    assert "both have 2 classes, and a model has one calibration for each size" in result.stderr
