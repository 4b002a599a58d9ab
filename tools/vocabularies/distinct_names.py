"""That no two classes of a vocabulary are shown by one name, nor share a synonym."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tools.vocabularies.entry import Entry, unique
from tools.vocabularies.wordnet import WordNet


def make_first_names_distinct(entries: Sequence[Entry], wordnet: WordNet) -> None:
    """Give each class a first name of its own.

    Of the classes with one first name the first keeps it, unless it is among another's
    `reserved_names`. Another takes the first of its names that no other class has; if it has none,
    its name with its kind in brackets: `crane (lifting device)`.
    """
    holders = Counter(name.lower() for entry in entries for name in entry.names)
    firsts = {entry.names[0].lower() for entry in entries}
    taken = {name for entry in entries for name in entry.reserved_names}
    for entry in entries:
        first = entry.names[0]
        if first.lower() in taken:
            own = [name for name in entry.names[1:] if holders[name.lower()] == 1]
            described = [f"{first} ({kind})" for kind in names_above(entry.synset, wordnet)]
            used = taken | firsts
            entry.names[0] = next(new for new in (*own, *described) if new.lower() not in used)
            entry.names = unique(entry.names)
        taken.add(entry.names[0].lower())


def names_above(synset: str | None, wordnet: WordNet) -> list[str]:
    """Names of what a synset is a kind of, nearest first."""
    if synset is None:
        return []
    return [name for kind in wordnet.above(synset) for name in wordnet.synsets[kind].names]


def drop_shared_synonyms(entries: Sequence[Entry]) -> None:
    """Leave each name to one class.

    A name is the class's whose first name it is; or else the one's among whose `everyday_names` it
    is; or else the first one's that has it as a first name in one of the vocabularies of a union;
    or else, where several classes have it, no one's.
    """
    holders = Counter(name.lower() for entry in entries for name in entry.names)
    owner = {entry.names[0].lower(): row for row, entry in enumerate(entries)}
    for row, entry in enumerate(entries):
        for name in entry.everyday_names:
            owner.setdefault(name, row)
    for row, entry in enumerate(entries):
        for _, names in entry.parts:
            owner.setdefault(names[0].lower(), row)
    for row, entry in enumerate(entries):
        entry.names = [
            name
            for name in entry.names
            if owner.get(name.lower(), row) == row
            and (name.lower() in owner or holders[name.lower()] == 1)
        ]
