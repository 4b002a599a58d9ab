"""LVIS v1's classes, and how often each is annotated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypedDict

from tools.vocabularies.entry import Entry, unique
from tools.vocabularies.text_file import TextFile
from tools.vocabularies.wordnet import WordNet

FREQUENCIES = {"r": "rare", "c": "common", "f": "frequent"}


class LvisCategory(TypedDict):
    """A category as detectron2 carries it."""

    id: int
    name: str
    synonyms: list[str]
    synset: str
    frequency: str


def lvis_entries(categories: Sequence[LvisCategory], wordnet: WordNet) -> list[Entry]:
    """The classes in the order of their ids."""
    return [
        Entry(
            unique(map(_plain, [category["name"], *category["synonyms"]])),
            wordnet.find(category["synset"]),
            FREQUENCIES[category["frequency"]],
        )
        for category in sorted(categories, key=lambda category: category["id"])
    ]


def _plain(name: str) -> str:
    """`wiper_(for_windshield/screen)` -> `wiper (for windshield or screen)`."""
    return " ".join(name.replace("_", " ").replace("/", " or ").split())


def lvis_files(entries: Sequence[Entry]) -> dict[str, TextFile]:
    """`lvis.txt` and `lvis_groups.txt`."""
    counts = Counter(entry.frequency for entry in entries)
    groups = ", ".join(f"{counts[name]} {name}" for name in FREQUENCIES.values())
    comments = (
        f"LVIS v1's {len(entries):,} classes in the order of their ids.",
        "Names and synonyms: LVIS, Gupta et al. 2019 (annotations: CC BY 4.0), as detectron2",
        "carries them (PyPI package detectron2-cdo 0.5, Apache-2.0). Changes: underscores are",
        "blanks, a slash in brackets is an 'or'.",
        f"How often a class is annotated: lvis_groups.txt ({groups}).",
    )
    groups_comments = (
        "How many training photos of LVIS v1 have a class: rare 1 to 10, common 11 to 100,",
        f"frequent more ({groups}). Source and licence: as lvis.txt.",
    )
    group_lines = tuple(f"{entry.names[0]}, {entry.frequency}" for entry in entries)
    return {
        "lvis": TextFile.of_entries(comments, entries),
        "lvis_groups": TextFile(groups_comments, group_lines),
    }
