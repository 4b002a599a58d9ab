"""What a text model can read of names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from counting_text import CountingEncoder
from ovsam.errors import VocabularyError
from ovsam.text import readable
from ovsam.text.cache import TextStore
from ovsam.text.encoder import PLAIN_TEMPLATES, Reading
from ovsam.text.minilm import MiniLM
from ovsam.text.prototypes import class_prototypes
from ovsam.text.readable import readable_names, readable_vocabulary
from ovsam.vocabulary.load import load_vocabulary


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
    read = readable_vocabulary(given, MiniLM())
    assert read.answerable == answerable
    assert (read.classes, read.synonyms) == (given.classes, given.synonyms)
    assert len(read.notes) == len(notes)
    for said, expected in zip(read.notes, notes, strict=True):
        assert said.startswith("Of vocabulary 'custom' the text model") and expected in said
    again = readable_vocabulary(read, MiniLM())
    assert again.answerable == read.answerable


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
        readable_vocabulary(load_vocabulary(names), MiniLM())


def test_names_that_are_not_read_are_not_embedded(tmp_path: Path) -> None:
    store = TextStore(tmp_path / "text.sqlite")
    minilm = MiniLM()
    mixed = class_prototypes(load_vocabulary("cat/猫, dog"), minilm, PLAIN_TEMPLATES, store, ())
    plain = class_prototypes(load_vocabulary("cat, dog"), minilm, PLAIN_TEMPLATES, store, ())
    unknown = minilm.embed(["鸟"])
    np.testing.assert_allclose(
        mixed.bank.best_products(unknown), plain.bank.best_products(unknown), rtol=1e-5
    )
    assert readable_names((("猫",), ("dog", "猫")), minilm) == [("猫",), ("dog",)]


def test_names_of_ascii_are_not_looked_at_in_a_long_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readable, "READ_ALL", 3)
    texts_read: list[str] = []

    class Reader(CountingEncoder):
        def read(self, texts: Sequence[str]) -> list[Reading]:
            texts_read.extend(texts)
            return [Reading((), False, False) for _ in texts]

    read = readable_vocabulary(load_vocabulary("cat, dog, cup, fox, é"), Reader())
    assert texts_read == ["é"]
    assert read.answerable == (True, True, True, True, False)
