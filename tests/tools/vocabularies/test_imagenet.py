"""ImageNet-21k's classes."""

from __future__ import annotations

from tiny_wordnet import n, tiny_wordnet
from tools.vocabularies.entry import Entry
from tools.vocabularies.imagenet import by_sense, imagenet21k_entries, imagenet_files

NAMES = {
    n(8): "crane",
    n(6): "crane",
    n(15): "mouse, computer mouse",
    n(3): "dog, domestic dog, pet/dog, shared",
    n(14): "mouse, wild mouse, shared",
}


def test_a_name_stays_with_imagenet_1k_or_the_most_common_sense() -> None:
    imagenet1k = [Entry(["crane"], n(8)), Entry(["Dog"], n(3))]
    entries = imagenet21k_entries(NAMES, imagenet1k, tiny_wordnet())
    assert [entry.names for entry in entries] == [
        ["crane"],  # WordNet's first crane is the bird; ImageNet-1k's is the machine
        ["crane (bird)"],
        ["computer mouse"],  # "mouse" is the animal first of all
        ["Dog", "domestic dog", "pet dog"],
        ["mouse", "wild mouse"],
    ]
    assert [entry.synset for entry in entries] == [*NAMES]
    [file] = imagenet_files(entries).values()
    assert file.lines[3] == "Dog, domestic dog, pet dog"


def test_classes_stand_by_their_sense() -> None:
    entries = [Entry(["mouse"], n(15)), Entry(["mouse"], n(14)), Entry(["shoe"], n(10))]
    wordnet = tiny_wordnet()
    assert [e.synset for e in by_sense(entries, wordnet, set())] == [n(14), n(10), n(15)]
    assert [e.synset for e in by_sense(entries, wordnet, {n(15)})] == [n(15), n(14), n(10)]
    unknown = Entry(["mouse"], n(1))  # not so called by WordNet: after all that are
    assert by_sense([unknown, *entries], wordnet, set())[-1] is unknown
