"""Tensors that somebody else wrote: they load as they are or are refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from foreign_files import (
    CHECKS,
    CUT,
    edited,
    loads_or_is_refused,
    refused,
)
from fuzzing import examples
from ovsam.model.checkpoint import fingerprints
from ovsam.model.restore import restore
from ovsam.model.safetensors_file import read_metadata
from ovsam.model.tensors import as_arrays


def saved_with(sound: dict[str, Path], path: Path, tensors: dict[str, Tensor]) -> None:
    """A checkpoint whose fingerprints are right, whatever its tensors."""
    state = {**load_file(sound["whole"]), **tensors}
    parts = json.dumps(fingerprints(as_arrays(state)))
    save_file(state, path, {**read_metadata(sound["whole"]), "parts": parts})


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"adapter.neck.1.weight": torch.full((32,), torch.nan)}, "not finite: adapter.neck.1.wei"),
        ({"adapter.neck.1.weight": torch.full((32,), -torch.inf)}, "not finite: adapter.neck.1."),
        ({"text.vectors": torch.full((2, 8), torch.nan)}, "not finite: text.vectors"),
        ({"adapter.neck.1.weight": torch.ones(32, dtype=torch.int64)}, "adapter.neck.1.weight int"),
        ({"adapter.neck.1.weight": torch.ones(32, dtype=torch.int32)}, "no weights: adapter.neck"),
        ({"adapter.neck.1.weight": torch.ones(32, dtype=torch.complex64)}, "no weights: adapter."),
        ({"adapter.neck.1.weight": torch.ones(32, dtype=torch.bool)}, "no weights: adapter.neck"),
        ({"adapter.neck.1.weight": torch.ones(32, dtype=torch.float64)}, "weight 'F64'; expected"),
        ({"adapter.neck.1.weight": torch.ones(31)}, "adapter.neck.1.weight (31,) instead of (32,)"),
        ({"adapter.neck.1.weight": torch.ones(0, 2**40)}, "instead of (32,)"),
        ({"text.vectors": torch.eye(8)[:2, :7].clone()}, "must have shape (2, 8), got (2, 7)"),
        ({"text.vectors": torch.tensor(1.0)}, "must have shape (2, 8), got ()"),
        ({"text.more": torch.zeros(2, 8)}, "must have shape (2, 8)"),
        ({"a\nb" * 999: torch.zeros(1)}, r"unexpected: 'a\nba"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_tensors_that_are_no_weights(
    tensors: dict[str, Tensor], message: str, sound: dict[str, Path], tmp_path: Path
) -> None:
    saved_with(sound, tmp_path / "odd.safetensors", tensors)
    assert message in refused(tmp_path / "odd.safetensors")


def test_bfloat16_is_as_good_as_any(sound: dict[str, Path], tmp_path: Path) -> None:
    name = "adapter.neck.1.weight"
    saved_with(sound, tmp_path / "half.safetensors", {name: torch.full((32,), 0.3).bfloat16()})
    weight = restore(tmp_path / "half.safetensors").model.state_dict()[name]
    assert weight.dtype == torch.float32
    assert torch.equal(weight, torch.full((32,), 0.3).bfloat16().float())


@pytest.mark.fuzz
@settings(max_examples=examples(60), derandomize=True, suppress_health_check=CHECKS)
@given(cuts=st.lists(CUT, min_size=1, max_size=3), name=st.sampled_from(["whole", "token"]))
def test_whatever_happens_to_the_bytes(
    cuts: list[tuple[float, int, bytes]], name: str, sound: dict[str, Path], tmp_path: Path
) -> None:
    content = sound[name].read_bytes()
    path = tmp_path / "odd.safetensors"
    path.write_bytes(edited(content, cuts, 8 + int.from_bytes(content[:8], "little")))
    loads_or_is_refused(path, load_file(sound[name]))


def test_a_model_does_not_change_with_its_file(sound: dict[str, Path], tmp_path: Path) -> None:
    """A file that is written anew in place, as `cp` does, or cut short."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(sound["whole"].read_bytes())
    model = restore(path).model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    path.write_bytes(b"\xff" * path.stat().st_size)
    path.write_bytes(b"")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
