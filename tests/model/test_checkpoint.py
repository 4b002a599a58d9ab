from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ovsam.config import CalibrationConfig, CalibrationFit
from ovsam.errors import CheckpointError
from ovsam.model.checkpoint import (
    load_checkpoint,
    read_config,
    save_checkpoint,
    save_with_config,
)
from ovsam.model.safetensors_file import read_metadata
from small_model import SMALL


def tensors(seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return {
        "encoder.weight": torch.randn(3, 4).T,  # not contiguous
        "encoder.count": torch.tensor(5),
        "adapter.weight": torch.randn(4)[1:],  # part of a larger storage
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "model.safetensors", tensors(), SMALL, {"licence": "MIT"})
    return tmp_path / "model.safetensors"


def test_what_is_saved_is_loaded(path: Path) -> None:
    config, state = load_checkpoint(path)
    assert config == SMALL
    assert state.keys() == tensors().keys()
    assert all((state[name] == tensor.numpy()).all() for name, tensor in tensors().items())
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_others_may_read_it_as_any_new_file(path: Path) -> None:
    (path.parent / "new").touch()
    assert path.stat().st_mode == (path.parent / "new").stat().st_mode


def test_metadata_says_what_it_is(path: Path) -> None:
    metadata = read_metadata(path)
    assert metadata["format"] == "ovsam-1"
    assert metadata["licence"] == "MIT"
    assert json.loads(metadata["parts"]).keys() == {"encoder", "adapter"}
    assert json.loads(metadata["lacks"]) == ["multimask", "predicted IoU"]


def test_another_configuration_leaves_all_else(tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    save_checkpoint(path, tensors(), SMALL, {"licence": "MIT"}, half=True)
    before, stored = read_metadata(path), load_file(path)
    config = replace(
        SMALL,
        calibration=CalibrationConfig(
            fits=(CalibrationFit(temperature=2, threshold=0.1, classes=80),)
        ),
    )
    save_with_config(path, path, config)
    assert load_checkpoint(path)[0] == config
    after = read_metadata(path)
    assert {**after, "config": ""} == {**before, "config": ""}
    assert all(torch.equal(tensor, load_file(path)[name]) for name, tensor in stored.items())
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_half_precision_is_loaded_as_float32(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "half.safetensors", tensors(), SMALL, half=True)
    assert load_file(tmp_path / "half.safetensors")["adapter.weight"].dtype == torch.float16
    _, state = load_checkpoint(tmp_path / "half.safetensors")
    assert state["adapter.weight"].dtype == np.float32
    assert state["encoder.count"].dtype == np.int64
    np.testing.assert_allclose(
        state["adapter.weight"], tensors()["adapter.weight"], rtol=1e-3, atol=1e-3
    )


def test_a_truncated_file(path: Path) -> None:
    content = path.read_bytes()
    for size in (0, 5, 100, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(CheckpointError, match="damaged or not a safetensors file"):
            load_checkpoint(path)


def test_an_altered_file(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="do not belong together"):
        load_checkpoint(path)


def test_parts_of_different_checkpoints(path: Path) -> None:
    mixed = {**tensors(), "adapter.weight": tensors(seed=1)["adapter.weight"]}
    metadata = read_metadata(path)
    save_file({n: t.clone().contiguous() for n, t in mixed.items()}, path, metadata)
    with pytest.raises(CheckpointError, match="do not belong together: adapter differ"):
        load_checkpoint(path)


def test_no_file_and_no_safetensors(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "none.safetensors")
    with pytest.raises(CheckpointError, match="not a file"):
        load_checkpoint(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff" * 100)
    with pytest.raises(CheckpointError, match="damaged or not a safetensors file"):
        load_checkpoint(tmp_path / "photo.jpg")


def test_the_configuration_alone(path: Path, tmp_path: Path) -> None:
    assert read_config(path) == SMALL
    (tmp_path / "empty.safetensors").touch()
    with pytest.raises(CheckpointError, match="damaged"):
        read_config(tmp_path / "empty.safetensors")


def test_a_foreign_safetensors_file(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(1)}, tmp_path / "foreign.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"not an ovsam checkpoint.*'pt'.*ovsam convert"):
        load_checkpoint(tmp_path / "foreign.safetensors")
    save_file({"weight": torch.zeros(1)}, tmp_path / "plain.safetensors")
    with pytest.raises(CheckpointError, match=r"not an ovsam checkpoint.*names none"):
        load_checkpoint(tmp_path / "plain.safetensors")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("config", "{", "configuration .* cannot be used"),
        ("config", "UNKNOWN", "colour: "),
        ("parts", "", "no fingerprints"),
        ("parts", "[]", "no fingerprints"),
        ("parts", "{}", "do not belong together"),
    ],
)
def test_bad_metadata(path: Path, key: str, value: str, message: str) -> None:
    metadata = read_metadata(path)
    if value == "UNKNOWN":
        value = json.dumps({**json.loads(metadata["config"]), "colour": "red"})
    save_file(load_file(path), path, {**metadata, key: value})
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


def test_it_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="Cannot write the checkpoint"):
        save_checkpoint(tmp_path / "file" / "model.safetensors", tensors(), SMALL)
