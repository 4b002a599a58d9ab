from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from ovsam.cli import app
from ovsam.model.build import restore
from small_model import NAME, offer, write_released


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
    assert "without multimask and mask quality (see --sam-decoder)" in result.output
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
    assert result.exit_code == 1 and "must end in .safetensors" in result.stderr
