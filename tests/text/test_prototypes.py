"""Class prototypes: each name is embedded once, and edits of long lists share vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from counting_text import CountingEncoder, prototypes_of, vector_of
from ovsam.text import prototypes
from ovsam.text.cache import TextStore
from ovsam.text.encoder import PLAIN_TEMPLATES
from ovsam.text.prototypes import ClassPrototypes, EmbeddedVocabulary, class_prototypes
from ovsam.vocabulary.load import load_vocabulary
from ovsam.vocabulary.vocabulary import Vocabulary
from tiny_model import names_of


def test_each_synonym_is_a_prototype_and_none_is_repeated() -> None:
    bank = prototypes_of(["mug/cup/beaker", "cat/kitten", "dog"], TextStore(None)).bank
    for number, names in enumerate((["mug", "cup", "beaker"], ["cat", "kitten"], ["dog"])):
        expected = np.concatenate([vector_of(name) for name in names])
        np.testing.assert_allclose(names_of(bank, number), expected, rtol=1e-6)
    assert sum(group.size for group in bank.groups) == 6 * 8


def test_a_synonym_is_the_normalised_mean_over_the_templates() -> None:
    prototypes = class_prototypes(
        Vocabulary.from_names(["cat"]), CountingEncoder(), ("a {}", "the {}"), TextStore(None), ()
    )
    mean = (vector_of("a cat") + vector_of("the cat")) / 2
    np.testing.assert_allclose(
        names_of(prototypes.bank, 0)[0], (mean / np.linalg.norm(mean))[0], rtol=1e-6
    )


def test_vectors_that_ship_are_of_the_models_own_templates(tmp_path: Path) -> None:
    seed = {"cat": np.ones(8, np.float32) / 8**0.5}
    store = TextStore(tmp_path / "text.sqlite", seed)
    encoder = CountingEncoder()
    class_prototypes(Vocabulary.from_names(["cat"]), encoder, ("{}",), store, ())
    assert encoder.embedded == []
    for _ in range(2):  # the second time from the same file
        made = class_prototypes(
            Vocabulary.from_names(["cat"]), encoder, ("the {}",), store.without_seed(), ()
        )
        np.testing.assert_allclose(names_of(made.bank, 0), vector_of("the cat"), rtol=1e-6)
    assert encoder.embedded == ["the cat"]


def test_a_class_is_seen_if_any_synonym_is() -> None:
    vocabulary = Vocabulary.from_names(["feline/cat", "dog", "mug"])
    prototypes = class_prototypes(
        vocabulary, CountingEncoder(), PLAIN_TEMPLATES, TextStore(None), ("Cat", "mug")
    )
    assert prototypes.seen.tolist() == [True, False, True]


def test_answerable_comes_from_the_vocabulary() -> None:
    vocabulary = load_vocabulary("cat, !dog")
    prototypes = class_prototypes(
        vocabulary, CountingEncoder(), PLAIN_TEMPLATES, TextStore(None), ()
    )
    assert prototypes.answerable.tolist() == [True, False]


def test_a_synonym_of_two_classes_is_computed_once() -> None:
    encoder = CountingEncoder()
    prototypes_of(["mouse/animal", "dog/animal"], TextStore(None), encoder)
    assert encoder.embedded == ["animal", "dog", "mouse"]


def test_progress_counts_what_is_computed(tmp_path: Path) -> None:
    store = TextStore(tmp_path / "text.sqlite")
    prototypes_of(["known"], store)
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


def test_editing_one_name_computes_one_embedding(tmp_path: Path) -> None:
    store, encoder = TextStore(tmp_path / "text.sqlite"), CountingEncoder()
    prototypes_of(["cat", "dog", "mug"], store, encoder)
    encoder.embedded.clear()
    prototypes_of(["cat", "puppy", "mug"], store, encoder)
    assert encoder.embedded == ["puppy"]


def test_other_models_and_templates_have_entries_of_their_own(tmp_path: Path) -> None:
    store = TextStore(tmp_path / "text.sqlite")
    vocabulary = Vocabulary.from_names(["cat"])
    for identity, template in (("a", "{}"), ("b", "{}"), ("a", "a {}")):
        encoder = CountingEncoder()
        encoder.identity = identity
        class_prototypes(vocabulary, encoder, (template,), store, ())
        assert encoder.embedded == [template.format("cat")]


@pytest.fixture
def long(monkeypatch: pytest.MonkeyPatch) -> Vocabulary:
    """Eighty names, and a limit that makes them many."""
    monkeypatch.setattr(prototypes, "LARGE", 8)
    return Vocabulary.from_names([f"thing {i}/object {i}" for i in range(40)])


def _long_prototypes(
    vocabulary: Vocabulary, store: TextStore, bases: Sequence[EmbeddedVocabulary] = ()
) -> tuple[ClassPrototypes, list[str]]:
    """The prototypes, and which names were embedded for them."""
    encoder = CountingEncoder()
    made = class_prototypes(vocabulary, encoder, PLAIN_TEMPLATES, store, (), bases=bases)
    return made, encoder.embedded


def _banks(folder: Path) -> list[Path]:
    return sorted((folder / "banks").glob("*"))


def test_a_long_vocabulary_is_one_file_of_its_names(tmp_path: Path, long: Vocabulary) -> None:
    first, _ = _long_prototypes(long, TextStore(tmp_path / "text.sqlite"))
    [file] = _banks(tmp_path)
    (tmp_path / "text.sqlite").unlink()
    again, embedded = _long_prototypes(long, TextStore(tmp_path / "text.sqlite"))
    assert not embedded and _banks(tmp_path) == [file]
    for number in range(40):
        vectors = [vector_of(name) for name in long.synonyms[number]]
        expected = np.concatenate(vectors).astype(np.float16)
        assert np.array_equal(names_of(first.bank, number), expected)
        assert np.array_equal(names_of(again.bank, number), expected)
    # Another order of the names is another list: no file is read for what it is not.
    flipped = Vocabulary("v", long.entries[::-1])
    other, embedded = _long_prototypes(flipped, TextStore(None))
    assert len(embedded) == 80
    for number in range(40):
        assert np.array_equal(names_of(other.bank, 39 - number), names_of(first.bank, number))
    _long_prototypes(flipped, TextStore(tmp_path / "text.sqlite"))
    assert len(_banks(tmp_path)) == 2


def test_a_damaged_file_is_made_again(tmp_path: Path, long: Vocabulary) -> None:
    store = TextStore(tmp_path / "text.sqlite")
    _long_prototypes(long, store)
    [file] = _banks(tmp_path)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    made, embedded = _long_prototypes(long, store)
    assert not embedded and file.read_bytes() == content  # from the store
    assert np.array_equal(names_of(made.bank, 3)[:1], vector_of("thing 3").astype(np.float16))


def test_an_edited_vocabulary_embeds_what_is_new_and_shares_the_rest(
    tmp_path: Path, long: Vocabulary
) -> None:
    store = TextStore(tmp_path / "text.sqlite")
    first, _ = _long_prototypes(long, store)
    assert first.base is not None
    edited = long.without("thing 4").renamed("thing 9", "gadget").with_class("mug/cup")
    made, embedded = _long_prototypes(edited, store, [first.base])
    assert embedded == ["cup", "gadget", "mug"]
    assert made.base is first.base and len(_banks(tmp_path)) == 1
    assert made.bank.groups[0] is first.bank.groups[0]
    afresh, _ = _long_prototypes(edited, TextStore(None))
    for number in range(40):
        assert np.array_equal(names_of(made.bank, number), names_of(afresh.bank, number))
    # An edit of the edit builds on the same, too, and a removal alone embeds nothing.
    again, embedded = _long_prototypes(edited.without("mug"), store, [made.base])
    assert not embedded and len(again.bank) == 39


@pytest.mark.parametrize("other", ["most are gone", "most are new"])
def test_what_is_no_edit_gets_a_bank_of_its_own(
    tmp_path: Path, long: Vocabulary, other: str
) -> None:
    store = TextStore(tmp_path / "text.sqlite")
    first, _ = _long_prototypes(long, store)
    assert first.base is not None
    few = Vocabulary("few", long.entries[:10])
    many = Vocabulary.from_names([*long.classes[:5], *(f"new {i}" for i in range(35))])
    made, _ = _long_prototypes(few if other == "most are gone" else many, store, [first.base])
    assert made.base is not None and made.base is not first.base
    assert len(_banks(tmp_path)) == 2


def test_a_short_vocabulary_needs_no_file(tmp_path: Path, long: Vocabulary) -> None:
    store = TextStore(tmp_path / "text.sqlite")
    made, _ = _long_prototypes(Vocabulary("v", long.entries[:4]), store)
    assert made.base is None and not _banks(tmp_path)
    assert made.bank.groups[0].dtype == np.float32
