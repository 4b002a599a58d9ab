"""Which names are right by meaning, and how far below the annotated class they are."""

from __future__ import annotations

import pytest

from ovsam.evaluate.meaning import Meanings, annotated_synsets
from ovsam.formats.annotations import Category
from ovsam.vocabulary.load import load_vocabulary
from ovsam.vocabulary.vocabulary import Vocabulary
from ovsam.vocabulary.wordnet import hierarchy

CAT, DOG = "n02121620", "n02084071"


def category(name: str) -> Category:
    return Category(name, (name.replace("_", " ").lower(),))


@pytest.mark.parametrize(
    ("answer", "name", "levels"),
    [
        ("cat", "cat", 0),
        ("tiger cat", "cat", 2),  # tiger cat, domestic cat, cat
        ("dog", "cat", None),
        ("animal", "cat", None),  # broader is not right
        ("dalmatian", "dog", 1),
        ("cat", "dog", None),
    ],
)
def test_a_kind_of_the_class_is_right(answer: str, name: str, levels: int | None) -> None:
    meanings = Meanings(Vocabulary.from_names(["cat", "tiger cat", "dog", "dalmatian", "animal"]))
    synset = {"cat": CAT, "dog": DOG}[name]
    assert meanings.levels_below(answer, name, synset) == levels


def test_the_shortest_way_up_counts() -> None:
    """Dogs are canines and domestic animals, both of which are animals in the end."""
    tree = hierarchy()
    animal = tree.find("animal")
    assert animal is not None
    assert tree.levels_below(DOG, animal) == 2  # by domestic animal
    assert tree.levels_below(animal, DOG) is None


def test_a_name_alone_is_right_where_no_meaning_is_known() -> None:
    meanings = Meanings(Vocabulary.from_names(["grommetizer", "dog"]))
    assert meanings.levels_below("grommetizer", "grommetizer", None) == 0
    assert meanings.levels_below("dog", "grommetizer", None) is None
    assert meanings.levels_below("grommetizer", "dog", DOG) is None


def test_words_mean_what_22k_means_by_them() -> None:
    found = annotated_synsets([category("cat"), category("Coffee_Mug"), category("grommetizer")])
    assert found == {"cat": CAT, "Coffee_Mug": "n03063599", "grommetizer": None}


def test_a_file_of_objects365_means_what_that_means() -> None:
    """Its pepper is a sweet one; and its files write `Hotair ballon`."""
    vocabulary = load_vocabulary("objects365")
    pepper = vocabulary.synsets[vocabulary.classes.index("pepper")]
    names = ["hotair ballon" if one == "hot air balloon" else one for one in vocabulary.classes]
    found = annotated_synsets([category(name) for name in names])
    assert found["pepper"] == pepper == "n07720442"
    assert found["hotair ballon"] == "n03541923"
    assert annotated_synsets([category("pepper")])["pepper"] != pepper


@pytest.mark.parametrize(
    ("classes", "name"),
    [
        (["felid"], None),  # broader
        (["tiger cat", "true cat"], "true cat"),  # the same synset by another name
        (["tiger cat"], "cat"),  # a kind alone: the file's own name
        (["!tiger cat", "dog"], None),  # which is never the answer
    ],
)
def test_what_a_vocabulary_calls_a_class_that_it_does_not_have(
    classes: list[str], name: str | None
) -> None:
    assert Meanings(Vocabulary.from_names(classes)).own_name("cat", CAT) == name
    assert Meanings(Vocabulary.from_names(classes)).own_name("cat", None) is None
