from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from ovsam.text import bank_file
from ovsam.text.bank_file import read_vectors, write_vectors

SIZE = (200, 8)


@pytest.fixture
def vectors() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return F.normalize(torch.randn(SIZE, generator=generator), dim=-1).half()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "banks" / "a.safetensors"


def test_comes_back_as_it_was(path: Path, vectors: torch.Tensor) -> None:
    assert read_vectors(path, SIZE) is None
    write_vectors(path, vectors)
    found = read_vectors(path, SIZE)
    assert found is not None and torch.equal(found, vectors)
    assert [file.name for file in path.parent.iterdir()] == ["a.safetensors"]


def test_is_mapped_rather_than_read(path: Path) -> None:
    if not (status := Path("/proc/self/status")).exists():
        pytest.skip("this system does not tell what is mapped")
    size = (1 << 17, 64)  # 16 MB
    write_vectors(path, torch.full(size, 1 / 8).half())

    def own_megabytes() -> float:
        [line] = [line for line in status.read_text().splitlines() if line.startswith("RssAnon")]
        return int(line.split()[1]) / 1024

    before = own_megabytes()
    found = read_vectors(path, size)
    assert found is not None
    assert own_megabytes() - before < 8


@pytest.mark.parametrize("harm", ["cut short", "zeros", "other size", "float32", "no tensors"])
def test_a_damaged_file_is_none(
    path: Path, vectors: torch.Tensor, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_vectors(path, vectors)
    content = path.read_bytes()
    match harm:
        case "cut short":
            path.write_bytes(content[:-100])
        case "zeros":
            path.write_bytes(content[:-100] + bytes(100))
        case "other size":
            save_file({"vectors": vectors[:-1].clone()}, path)
        case "float32":
            save_file({"vectors": vectors.float()}, path)
        case "no tensors":
            save_file({}, path)
    with caplog.at_level(logging.WARNING):
        assert read_vectors(path, SIZE) is None
    assert "embedded anew" in caplog.text
    write_vectors(path, vectors)
    assert read_vectors(path, SIZE) is not None


def test_what_is_mapped_survives_a_new_file(path: Path, vectors: torch.Tensor) -> None:
    write_vectors(path, vectors)
    found = read_vectors(path, SIZE)
    write_vectors(path, -vectors)
    assert found is not None and torch.equal(found, vectors)


def test_the_last_used_are_kept(
    tmp_path: Path, vectors: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bank_file, "FILES_KEPT", 2)
    first, second, third = (tmp_path / f"{name}.safetensors" for name in "abc")
    for age, path in ((200, first), (100, second)):
        write_vectors(path, vectors)
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    assert read_vectors(first, SIZE) is not None  # used now
    write_vectors(third, vectors)
    assert {path.name for path in tmp_path.iterdir()} == {first.name, third.name}


def test_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, vectors: torch.Tensor, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING):
        write_vectors(tmp_path / "file" / "a.safetensors", vectors)
    assert "not kept on disk" in caplog.text
