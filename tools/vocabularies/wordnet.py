"""The nouns of WordNet 3.0, as its database files have them (`man 5WN wndb`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from ovsam.vocabulary.wordnet import regular_singulars


@dataclass(frozen=True)
class Synset:
    """A meaning: its names, and the synsets of what it is a kind of (hypernyms)."""

    names: tuple[str, ...]
    hypernyms: tuple[str, ...]


class WordNet:
    """Synsets, written as in ImageNet (`n02012849`), and what nouns mean.

    Args:
        index: `index.noun`, each noun with its senses, the most common first.
        data: `data.noun`, the synsets.
        exceptions: `noun.exc`, irregular plurals.
        counts: `cntlist.rev`, how often texts that were tagged by hand have a sense.

    Attributes:
        senses: for each noun, in lower case, its synsets, the most common sense first.
        synsets: all synsets.
        singulars: for each irregular plural what it is the plural of.
        counts: how often the tagged texts mean a synset, where they do.
    """

    def __init__(self, index: str, data: str, exceptions: str, counts: str) -> None:
        self.senses: dict[str, list[str]] = {}
        for line in _entries(index):
            fields = line.split()
            count = int(fields[2])
            self.senses[_plain(fields[0])] = [f"n{offset}" for offset in fields[-count:]]
        self.synsets = dict(map(_synset, _entries(data)))
        self.singulars = {
            _plain(line.split()[0]): _plain(line.split()[1]) for line in exceptions.splitlines()
        }
        self.counts: Counter[str] = Counter()
        for line in counts.splitlines():
            key, number, times = line.split()  # dog%1:05:00:: 1 42, where 1: says that it is a noun
            name, _, place = key.rpartition("%")
            synset = self.find(f"{name}.n.{number}") if place.startswith("1:") else None
            if synset is not None:  # some senses are of an older WordNet
                self.counts[synset] += int(times)

    def find(self, sense: str) -> str | None:
        """The synset of a sense such as `aerosol.n.02`; None where WordNet has no such noun."""
        name, _, number = sense.rsplit(".", 2)
        synsets = self.senses.get(_plain(name), [])
        return synsets[int(number) - 1] if int(number) <= len(synsets) else None

    def synset(self, sense: str) -> str:
        """The synset of a sense.

        Raises:
            ValueError: WordNet has no such noun.
        """
        found = self.find(sense)
        if found is None:
            raise ValueError(f"WordNet 3.0 has no sense '{sense}'.")
        return found

    def singular(self, name: str) -> str:
        """The noun that a plural which WordNet does not list is the plural of, or the name."""
        if name in self.senses:
            return name
        guesses = self.singulars.get(name, ""), *regular_singulars(name)
        return next((word for word in guesses if word in self.senses), name)

    def above(self, synset: str) -> Iterator[str]:
        """All that a synset is a kind of, nearest first; some come more than once."""
        level = self.synsets[synset].hypernyms
        while level:
            yield from level
            level = tuple(above for kind in level for above in self.synsets[kind].hypernyms)


def _entries(text: str) -> Iterator[str]:
    """The lines behind the licence, whose lines begin with two blanks."""
    return (line for line in text.splitlines() if line and not line.startswith("  "))


def _synset(line: str) -> tuple[str, Synset]:
    """A line of `data.noun`: the synset's number and content."""
    fields = line.partition("|")[0].split()
    count = int(fields[3], 16)
    names = tuple(name.replace("_", " ") for name in fields[4 : 4 + 2 * count : 2])
    pointers = fields[5 + 2 * count :]  # four fields each: symbol, synset, part of speech, words
    starts = range(0, len(pointers) - 3, 4)
    hypernyms = tuple(f"n{pointers[i + 1]}" for i in starts if pointers[i] in ("@", "@i"))
    return f"n{fields[0]}", Synset(names, hypernyms)


def _plain(name: str) -> str:
    return name.replace("_", " ").lower()
