"""Objects365 v2's classes, and how its annotation files misspell them."""

from __future__ import annotations

from collections.abc import Sequence

from tools.vocabularies.choices import Objects365
from tools.vocabularies.entry import Entry, unique
from tools.vocabularies.text_file import TextFile


def objects365_entries(names: Sequence[str], choices: Objects365) -> list[Entry]:
    """The classes in the order of their ids."""
    return [Entry(_spelt(choices.spelling.get(name, name), choices)) for name in names]


def _spelt(name: str, choices: Objects365) -> list[str]:
    """The names of a class: `Monitor/TV` -> `monitor`, `TV`."""
    parts = [part.split() for part in name.split("/")]
    kept = set(choices.kept_case)
    return unique(
        " ".join(word if word in kept else word.lower() for word in words) for words in parts
    )


def objects365_files(entries: Sequence[Entry], choices: Objects365) -> dict[str, TextFile]:
    """`objects365.txt` and `objects365_spellings.txt`."""
    comments = (
        f"Objects365 v2's {len(entries)} classes in the order of their ids.",
        "Names: Objects365, Shao et al. 2019 (annotations: CC BY 4.0), as mmdet carries them",
        "(PyPI package mmdet 3.3.0, Apache-2.0). Changes: lower case, and the names are put right",
        f"that are misspelt or run together ({len(choices.spelling)}: see"
        " tools/vocabularies/data/objects365.toml).",
    )
    spellings_comments = (
        "Names of Objects365's annotation files, lower case, and how objects365.txt spells them.",
        "Source and licence: as objects365.txt.",
    )
    pairs = [(name.lower(), _spelt(right, choices)[0]) for name, right in choices.spelling.items()]
    spellings = tuple(f"{name}: {shown}" for name, shown in sorted(pairs))
    return {
        "objects365": TextFile.of_entries(comments, entries),
        "objects365_spellings": TextFile(spellings_comments, spellings),
    }
