"""One class of a vocabulary while the vocabularies are made, and how names are compared."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Entry:
    """A class.

    Attributes:
        names: its names; the first is shown.
        synset: the WordNet 3.0 synset that it means, such as `n02084071`; None where unknown.
        frequency: how often LVIS annotates it: "rare", "common" or "frequent"; "" elsewhere.
        parts: in a union, for each class that it unites the vocabulary and the names there.
        everyday_names: in a union, names in lower case that mean this class to most people, so
            that no other class has one as a synonym.
        reserved_names: those of them that no other class is shown by either.
    """

    names: list[str]
    synset: str | None = None
    frequency: str = ""
    parts: list[tuple[str, list[str]]] = field(default_factory=list)
    everyday_names: list[str] = field(default_factory=list)
    reserved_names: list[str] = field(default_factory=list)


def unique(names: Iterable[str]) -> list[str]:
    """Names without repetition, whatever their case; the first spelling stays.

    >>> unique(["TV", "tv", "telly"])
    ['TV', 'telly']
    """
    kept: dict[str, str] = {}
    for name in names:
        kept.setdefault(name.lower(), name)
    return list(kept.values())


def without_brackets(name: str) -> str:
    """A name without what stands in brackets behind it.

    >>> without_brackets("speaker (stereo equipment)")
    'speaker'
    """
    return name.partition(" (")[0]


def normalised(name: str) -> str:
    """Lower case, letters and digits only.

    >>> normalised("Hot-dog")
    'hotdog'
    """
    return re.sub(r"[^\w]|_", "", name.lower())
