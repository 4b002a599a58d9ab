from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from counting_text import CountingEncoder, vector_of
from ovsam.errors import UnreadableNamesError
from ovsam.text import class_embedder, prototypes
from ovsam.text.cache import TextStore
from ovsam.text.class_embedder import ClassEmbedder
from ovsam.text.encoder import PLAIN_TEMPLATES
from ovsam.vocabulary.load import load_vocabulary
from ovsam.vocabulary.vocabulary import Vocabulary
from tiny_model import names_of


@pytest.fixture
def encoder() -> CountingEncoder:
    return CountingEncoder(unreadable=["猫"])


@pytest.fixture
def embedder(encoder: CountingEncoder) -> ClassEmbedder:
    return ClassEmbedder(encoder, PLAIN_TEMPLATES, TextStore(None), seen_classes=["Dog"])


def test_a_class_that_is_not_read_is_never_the_answer(
    embedder: ClassEmbedder, caplog: pytest.LogCaptureFixture
) -> None:
    given = load_vocabulary("dog, 猫, cup")
    with caplog.at_level(logging.WARNING):
        read = embedder.readable(given)
        embedder.readable(given)
    assert read.classes == given.classes
    assert read.answerable == (True, False, True)
    [note] = read.notes
    assert "cannot read '猫'" in note
    assert [record.name for record in caplog.records] == ["ovsam.predictor"]  # once
    assert caplog.messages == [note]
    assert embedder.prototypes(read).answerable.tolist() == [True, False, True]
    assert embedder.readable(read) == read and embedder.readable(read).notes == (note,)


def test_what_is_read_well_is_as_it_was(embedder: ClassEmbedder) -> None:
    given = load_vocabulary("dog, dog, cup")  # which has a note on the second dog
    assert len(given.notes) == 1
    assert embedder.readable(given) is given
    plain = load_vocabulary("dog, cup")
    assert embedder.readable(plain) is plain, "others' notes are theirs"


def test_marks_of_one_list_are_not_those_of_another(embedder: ClassEmbedder) -> None:
    one, other = load_vocabulary("dog, 猫, cup"), load_vocabulary("dog, 猫, ~cup")
    assert one.fingerprint == other.fingerprint
    assert embedder.readable(one).unseen == (False, False, False)
    assert embedder.readable(other).unseen == (False, False, True)


def test_names_of_built_in_vocabularies_are_not_doubted(
    embedder: ClassEmbedder, encoder: CountingEncoder
) -> None:
    coco = load_vocabulary("coco")
    assert embedder.readable(coco) is coco
    assert not encoder.was_read


def test_a_vocabulary_without_a_name_that_is_read(embedder: ClassEmbedder) -> None:
    with pytest.raises(UnreadableNamesError, match="cannot read any name of vocabulary 'custom'"):
        embedder.readable(load_vocabulary("猫,"))


def test_prototypes_are_made_once(embedder: ClassEmbedder, encoder: CountingEncoder) -> None:
    names = load_vocabulary("cat/kitten, dog")
    made = embedder.prototypes(names)
    assert encoder.embedded == ["cat", "dog", "kitten"]
    expected = np.concatenate([vector_of("cat"), vector_of("kitten")])
    np.testing.assert_allclose(names_of(made.bank, 0), expected, rtol=1e-6)
    assert made.seen.tolist() == [False, True]
    assert embedder.prototypes(load_vocabulary("cat/kitten, dog")) is made
    assert len(encoder.embedded) == 3


def test_the_last_used_are_kept(embedder: ClassEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(class_embedder, "VOCABULARIES_KEPT", 2)
    embedder = ClassEmbedder(CountingEncoder(), PLAIN_TEMPLATES, TextStore(None))
    one, two, three = (load_vocabulary(f"{name},") for name in ("cat", "dog", "cup"))
    first, second = embedder.prototypes(one), embedder.prototypes(two)
    assert embedder.prototypes(one) is first  # used after the second
    embedder.prototypes(three)
    assert embedder.prototypes(one) is first
    assert embedder.prototypes(two) is not second


def test_an_edit_of_a_long_vocabulary_shares_its_vectors(
    embedder: ClassEmbedder, encoder: CountingEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prototypes, "LARGE", 8)
    names = Vocabulary.from_names([f"thing {i}" for i in range(40)])
    made = embedder.prototypes(names)
    encoder.embedded.clear()
    edited = embedder.prototypes(names.with_class("mug"))
    assert encoder.embedded == ["mug"]
    assert edited.bank.groups[0] is made.bank.groups[0]


def test_templates_of_a_vocabulary(encoder: CountingEncoder) -> None:
    seed = {"cat": np.ones(8, np.float32) / 8**0.5}
    names = replace(load_vocabulary("cat,"), templates=("a sketch of a {}",))
    own = ClassEmbedder(encoder, PLAIN_TEMPLATES, TextStore(None, seed))
    found = names_of(own.prototypes(names).bank, 0)
    np.testing.assert_allclose(found, vector_of("a sketch of a cat"), rtol=1e-6)
    learned = ClassEmbedder(encoder, PLAIN_TEMPLATES, TextStore(None, seed), own_templates=False)
    found = names_of(learned.prototypes(names).bank, 0)
    np.testing.assert_allclose(found, np.full((1, 8), 8**-0.5))  # what came with the model


def test_progress_is_reported_where_names_are_embedded(embedder: ClassEmbedder) -> None:
    calls: list[tuple[int, int]] = []
    names = load_vocabulary("cat/kitten, dog")
    for _ in range(2):
        embedder.prototypes(names, lambda done, total: calls.append((done, total)))
    assert calls == [(3, 3)]


def test_threads_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(class_embedder, "VOCABULARIES_KEPT", 3)  # so that some are forgotten
    shared = ClassEmbedder(CountingEncoder(unreadable=["猫"]), PLAIN_TEMPLATES, TextStore(None))

    def ask(number: int) -> bool:
        name = f"name {number % 8}"
        read = shared.readable(load_vocabulary([name, "猫", "dog"]))
        made = shared.prototypes(read)
        assert read.answerable == (True, False, True)
        return np.allclose(names_of(made.bank, 0), vector_of(name))

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(200)))


def test_weights_share_the_embeddings(embedder: ClassEmbedder, encoder: CountingEncoder) -> None:
    plain = load_vocabulary("cat/kitten, dog")
    made = embedder.prototypes(plain)
    for weighted in (load_vocabulary("*3 cat/kitten, dog"), plain.with_weights({"dog": 2})):
        assert embedder.prototypes(embedder.readable(weighted)) is made
    assert encoder.embedded == ["cat", "dog", "kitten"]


def test_a_built_in_vocabulary_is_read_well_with_any_weights(
    embedder: ClassEmbedder, encoder: CountingEncoder
) -> None:
    for names in (
        load_vocabulary("22k").unweighted(),
        load_vocabulary("coco").with_weights({"dog": 2}),
    ):
        assert embedder.readable(names) is names
    assert not encoder.was_read
