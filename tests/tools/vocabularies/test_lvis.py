"""LVIS's classes."""

from __future__ import annotations

from tiny_wordnet import n, tiny_wordnet
from tools.vocabularies.lvis import LvisCategory, lvis_entries, lvis_files

CATEGORIES: list[LvisCategory] = [
    {
        "id": 10,
        "name": "wiper_(for_windshield/screen)",
        "synonyms": ["wiper_(for_windshield/screen)", "windshield_wiper"],
        "synset": "wiper.n.01",
        "frequency": "f",
    },
    {"id": 9, "name": "dog", "synonyms": ["Dog", "puppy"], "synset": "dog.n.01", "frequency": "r"},
]


def test_classes_stand_by_number_with_plain_names() -> None:
    dog, wiper = lvis_entries(CATEGORIES, tiny_wordnet())
    assert (dog.names, dog.synset, dog.frequency) == (["dog", "puppy"], n(3), "rare")
    assert wiper.names == ["wiper (for windshield or screen)", "windshield wiper"]
    assert (wiper.synset, wiper.frequency) == (None, "frequent")  # no such noun there


def test_two_files_are_written() -> None:
    files = lvis_files(lvis_entries(CATEGORIES, tiny_wordnet()))
    assert files["lvis"].lines == (
        "dog, puppy",
        "wiper (for windshield or screen), windshield wiper",
    )
    assert files["lvis"].comments[0] == "LVIS v1's 2 classes in the order of their ids."
    assert files["lvis_groups"].lines == (
        "dog, rare",
        "wiper (for windshield or screen), frequent",
    )
    assert "(1 rare, 0 common, 1 frequent)" in files["lvis_groups"].comments[1]
