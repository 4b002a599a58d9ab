"""One class: its name, its synonyms and its marks."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from ovsam.errors import VocabularyError
from ovsam.vocabulary.entry import (
    Entry,
    checked_entries,
    new_entry,
    typed_entries,
    typed_entry,
    whole_entry,
)


@pytest.mark.parametrize(
    ("text", "entry", "apart"),
    [
        ("Cat", Entry("Cat", ("cat",)), False),
        ("Cat/kitty, CAT", Entry("Cat", ("cat", "kitty")), False),
        (" ! cup", Entry("cup", ("cup",), False), False),
        ("!~cup", Entry("cup", ("cup",), False, True), False),
        ("~ 'bag, paper'", Entry("bag, paper", ("bag, paper",), True, True), True),
        ("bag, 'paper bag'", Entry("bag", ("bag", "paper bag")), False),
        ("*3 cup", Entry("cup", ("cup",), weight=3), False),
        (" !*0.5 cup/mug", Entry("cup", ("cup", "mug"), False, weight=0.5), False),
        ("*1e-6~cup", Entry("cup", ("cup",), unseen=True, weight=1e-6), False),
        ("*2'*3 cup'", Entry("*3 cup", ("*3 cup",), weight=2), True),
        ("cup *3", Entry("cup *3", ("cup *3",)), False),
        ("*3", None, False),
        ("!", None, False),
        ("", None, False),
    ],
)
def test_a_class_as_it_is_typed(text: str, entry: Entry | None, apart: bool) -> None:
    found = typed_entry(text)
    assert found == entry
    assert found is None or found.apart is apart


def test_a_class_whose_names_are_whole() -> None:
    assert whole_entry(["w/o, lid", "no_lid"]) == Entry("w/o, lid", ("w/o, lid", "no_lid"))
    assert whole_entry(["!~cup"]) == Entry("cup", ("cup",), False, True)
    assert whole_entry(["cup"], seen=False).unseen


def test_a_class_means_what_its_first_known_name_means() -> None:
    assert Entry("dog", ("dog",)).synset == "n02084071"
    assert Entry("qqq", ("zzz", "dog")).synset == "n02084071"
    assert Entry("qqq", ("zzz",)).synset is None
    renamed = dataclasses.replace(dog := Entry("dog", ("dog",)), name="cat", synonyms=("cat",))
    assert dog.synset != renamed.synset is not None


def test_what_is_plain_stays_as_it_is() -> None:
    entries = (Entry("Cat", ("cat", "kitty")), Entry("mug", ("mug",), False))
    checked = checked_entries("v", entries)
    assert all(one is other for one, other in zip(checked, entries, strict=True))


def test_names_are_made_plain() -> None:
    given = [Entry(" Cafe\u0301", ("CAFE\u0301", "bar"), unseen=True), Entry("mug", ("mug",))]
    first, second = checked_entries("v", given)
    assert first == Entry("Caf\xe9", ("caf\xe9", "bar"), unseen=True)
    assert second == given[1]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "'v' is empty"),
        ([Entry("a", ("a",), False)], "no class that may be the answer"),
        ([Entry("a", ("a",)), Entry("A", ("b",))], "has the class 'A' twice"),
        ([Entry("a", ("a",)), Entry("b", ())], "Class 2 of vocabulary 'v' has an empty name"),
        ([Entry("a", ("a",)), Entry("b", (" ",))], "Class 2 of vocabulary 'v' has an empty name"),
        ([Entry("a", ("a",)), Entry(" ", ("b",))], "Class 2 of vocabulary 'v' has an empty name"),
        ([Entry("a", ("x" * 1001,))], "Class 1 of vocabulary 'v' has a name of 1,001 characters"),
        ([Entry("a", ("x\ny",))], "Class 1 of vocabulary 'v' has a control character in 'a'"),
    ],
)
def test_classes_that_are_refused(entries: list[Entry], message: str) -> None:
    with pytest.raises(VocabularyError, match=message):
        checked_entries("v", entries)


def test_texts_that_are_no_classes() -> None:
    assert typed_entries("v", ["cat", "dog/pup"]) == [
        Entry("cat", ("cat",)),
        Entry("dog", ("dog", "pup")),
    ]
    with pytest.raises(VocabularyError, match="must be a list of names, got the text 'cat'"):
        typed_entries("v", "cat")
    with pytest.raises(VocabularyError, match="Class 2 of vocabulary 'v' has an empty name"):
        typed_entries("v", ["a", "!"])
    with pytest.raises(VocabularyError, match="new class of vocabulary 'v' has an empty name"):
        new_entry("v", " / ")


@pytest.mark.parametrize(
    "text", ["* cat", "*x cat", "*0 cat", "*-1 cat", "*nan cat", "*2e6 cat", "*3*3 cat", "*3cat"]
)
def test_a_typed_weight_that_is_none(text: str) -> None:
    with pytest.raises(VocabularyError) as caught:
        typed_entry(text)
    assert str(caught.value) == (
        "A * before a name is followed by the weight of the class, a number from 0.000001 to "
        f"1,000,000, as in '*3 cat'; got {text!r}. In quotes a * is part of the name."
    )


@pytest.mark.parametrize("weight", [0, -1.0, float("nan"), 1e-7, 1_000_001, "3", None, True])
def test_a_weight_that_is_none(weight: Any) -> None:
    with pytest.raises(VocabularyError, match=r"Class 'cat' has the weight .*Give a number from"):
        Entry("cat", ("cat",), weight=weight)


def test_a_weight_may_be_any_number() -> None:
    numbers: list[Any] = [3, np.float32(3), np.int64(3)]
    for weight in numbers:
        assert type(Entry("cat", ("cat",), weight=weight).weight) is float
