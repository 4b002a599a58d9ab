from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

import ovsam
from ovsam.cli.app import app
from ovsam.geometry import decode_rle
from ovsam.model.restore import restore
from small_model import NAME, offer, write_released, write_sam_and_clip


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    offer(monkeypatch)
    files = write_released(tmp_path)
    return ["--model", NAME, *(text for k, v in files.items() for text in (f"--{k}", str(v)))]


def test_four_files_make_one(tmp_path: Path, options: list[str]) -> None:
    output = tmp_path / "out.safetensors"
    (tmp_path / "seen.txt").write_text("Cat\n")
    result = CliRunner().invoke(
        app, ["convert", str(output), *options, "--seen", str(tmp_path / "seen.txt")]
    )
    assert result.exit_code == 0, result.output
    assert "without multimask and predicted IoU (see --sam-decoder)" in result.output
    model = restore(output).model
    assert model.config.seen_classes == ("cat",)


def test_sams_decoder_lacks_nothing(tmp_path: Path, options: list[str]) -> None:
    output = tmp_path / "out.safetensors"
    result = CliRunner().invoke(app, ["convert", str(output), *options, "--sam-decoder"])
    assert result.exit_code == 0, result.output
    assert result.output == f"wrote {output}\n"
    assert restore(output).model.config.decoder.mask_tokens == 4


def test_errors_are_one_sentence(tmp_path: Path, options: list[str]) -> None:
    output = tmp_path / "out.safetensors"
    (tmp_path / "sam.pth").write_bytes(b"nothing")
    result = CliRunner().invoke(app, ["convert", str(output), *options])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ") and "sam.pth" in result.stderr
    assert not output.exists()
    result = CliRunner().invoke(app, ["convert", str(tmp_path / "out.pth"), *options])
    assert result.exit_code == 2 and "must end in .safetensors" in result.stderr


def test_sam_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a CLIP: SAM's masks at SAM's size, and no names."""
    paths, encoder = write_sam_and_clip(tmp_path, monkeypatch, image_size=1024)
    output = str(tmp_path / "out.safetensors")
    line = ["convert", output, "--model", "sam-b", "--sam", str(paths["sam"])]
    refused = CliRunner().invoke(app, [*line, "--clip", str(paths["clip"])])
    assert refused.exit_code == 2
    assert "is made from sam; got sam, clip" in refused.stderr
    result = CliRunner().invoke(app, line)
    assert result.exit_code == 0, result.output
    predictor = ovsam.load(output)
    photo = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    box = ovsam.Prompt(box_xyxy=[10, 10, 50, 40])
    [found] = predictor.segment(predictor.encode(photo), box, multimask=True)
    assert found.masks.shape == (3, 90, 120)
    assert_segments(output, predictor, photo, tmp_path)
    model = restore(output).model
    pixels = torch.randn(1, 3, 1024, 1024)
    embedding = model.encode(pixels).embedding
    assert embedding is not None and torch.equal(embedding, encoder(pixels))
    assert model.encode(pixels, named=False, masked=False).embedding is None


def assert_segments(
    model: str, predictor: ovsam.Predictor, pixels: NDArray[np.uint8], folder: Path
) -> None:
    """`ovsam segment` writes outlines without names, those that the predictor finds."""
    photo, written = str(folder / "photo.png"), folder / "found.json"
    Image.fromarray(pixels).save(photo)
    line = ["segment", photo, "--box", "10,10,50,40", "--model", model, "--json", str(written)]
    result = CliRunner().invoke(app, [*line, "-o", str(folder / "drawn.png")])
    assert result.exit_code == 0, result.output
    assert "sam-b has masks alone, so no object has a name." in result.stdout
    assert (folder / "drawn.png").is_file()
    [one] = json.loads(written.read_text())["objects"]
    box = ovsam.Prompt(box_xyxy=[10, 10, 50, 40])
    [found] = predictor.segment(predictor.encode(pixels), box)
    assert (decode_rle(one["segmentation"]) == found.mask).all()
    assert (one["labels"], one["none_of_these"]) == ([], True)


@pytest.mark.parametrize("cuts", ["image", "feature"])
def test_a_sam_and_a_clip_make_a_baseline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cuts: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    offer(monkeypatch)
    paths, encoder = write_sam_and_clip(tmp_path, monkeypatch)
    name, output = f"sam-b+{NAME}-{cuts}-crop", str(tmp_path / "out.safetensors")
    files = ["--sam", str(paths["sam"]), "--clip", str(paths["clip"])]
    line = ["convert", output, "--model", name, *files]
    refused = CliRunner().invoke(app, [*line, "--clip2sam", str(tmp_path / "clip2sam.pth")])
    assert refused.exit_code == 2
    assert "is made from sam, clip; got clip2sam, sam, clip" in refused.stderr
    result = CliRunner().invoke(app, line)
    assert result.exit_code == 0, result.output
    predictor = ovsam.load(output, vocabulary="cat, dog")
    photo = predictor.encode(np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8))
    [found] = predictor.predict(photo, ovsam.Prompt(box_xyxy=[10, 10, 50, 40]), multimask=True)
    assert found.masks.shape == (3, 90, 120)
    assert {label.name for label in found.labels[2]} == {"cat", "dog"}
    model = restore(output).model
    pixels = torch.randn(1, 3, 256, 256)
    for features in (model.encode(pixels, named=False), model.encode(pixels)):
        assert features.embedding is not None
        assert torch.equal(features.embedding, encoder(pixels))
    assert model.encode(pixels, named=False).c5 is None, "the trunk need not run"
