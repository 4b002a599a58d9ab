"""One name, one class."""

from __future__ import annotations

from tiny_wordnet import n, tiny_wordnet
from tools.vocabularies.distinct_names import (
    drop_shared_synonyms,
    make_first_names_distinct,
    names_above,
)
from tools.vocabularies.entry import Entry


def names_of(*entries: Entry) -> list[list[str]]:
    return [entry.names for entry in entries]


def test_the_first_class_keeps_a_name() -> None:
    entries = [
        Entry(["mouse", "wild mouse"], n(14)),
        Entry(["mouse", "wild mouse", "computer mouse"], n(15)),  # "wild mouse" is the other's, too
        Entry(["Mouse"], n(6)),
    ]
    make_first_names_distinct(entries, tiny_wordnet())
    assert names_of(*entries) == [
        ["mouse", "wild mouse"],
        ["computer mouse", "wild mouse"],
        ["Mouse (bird)"],
    ]


def test_of_kinds_the_nearest_that_is_not_taken_is_said() -> None:
    entries = [
        Entry(["crane"], n(6)),
        Entry(["crane"], n(6)),
        Entry(["crane"], n(6)),
        Entry(["crane (bird)"], n(5)),
    ]
    make_first_names_distinct(entries, tiny_wordnet())
    assert names_of(*entries[1:3]) == [["crane (animal)"], ["crane (creature)"]]


def test_a_reserved_name_is_kept_for_its_class() -> None:
    entries = [
        Entry(["plane"], n(7)),
        Entry(["airplane", "plane"], n(8), reserved_names=["plane"]),
    ]
    make_first_names_distinct(entries, tiny_wordnet())
    assert names_of(*entries) == [["plane (entity)"], ["airplane", "plane"]]


def test_names_above_go_up() -> None:
    assert names_above(n(4), tiny_wordnet()) == [
        "dog",
        "domestic dog",
        "animal",
        "creature",
        "entity",
    ]
    assert names_above(None, tiny_wordnet()) == []


def test_whose_a_shared_synonym_is() -> None:
    entries = [
        Entry(["jar", "Pot", "vessel", "tin"]),
        Entry(["can", "tin", "vessel"]),  # "vessel" is no one's then
        Entry(["pot"]),  # a first name
        Entry(["teapot", "Kettle", "brew"], everyday_names=["brew"]),
        Entry(["brewer", "kettle", "brew"], parts=[("lvis", ["kettle"]), ("coco", ["brewer"])]),
    ]
    entries[1].everyday_names = ["tin"]
    drop_shared_synonyms(entries)
    assert names_of(*entries) == [
        ["jar"],
        ["can", "tin"],
        ["pot"],
        ["teapot", "brew"],
        ["brewer", "kettle"],
    ]
