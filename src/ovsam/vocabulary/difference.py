"""How two vocabularies differ, class by class."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ovsam.vocabulary.names import plain_name
from ovsam.vocabulary.vocabulary import Vocabulary


@dataclass(frozen=True)
class Difference:
    """How two vocabularies differ.

    Attributes:
        only_first: classes of the first that the second has neither by a name nor by meaning.
        only_second: the same the other way round.
        shown: for classes that both have, but show by another name: the second's.
        names: for classes that both have: names that only the first has, and that only the second
            has, where there are any.
        answers: classes that both have, which may be the answer in one of the two only.
        unseen: classes that both have, which are marked as unseen in one of the two only.
        weights: for classes that both have with different weights: the first's and the second's.
    """

    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    shown: dict[str, str]
    names: dict[str, tuple[tuple[str, ...], tuple[str, ...]]]
    answers: tuple[str, ...]
    unseen: tuple[str, ...]
    weights: dict[str, tuple[float, float]]

    @classmethod
    def between(cls, first: Vocabulary, second: Vocabulary) -> Difference:
        """Compare two vocabularies, whatever the order and the case of their names."""
        shown: dict[str, str] = {}
        names: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
        answers: list[str] = []
        unseen: list[str] = []
        weights: dict[str, tuple[float, float]] = {}
        only_first: list[str] = []
        same = set()
        for here, there in enumerate(_same_classes(first, second)):
            name = first.classes[here]
            if there is None:
                only_first.append(name)
                continue
            same.add(there)
            mine = dict.fromkeys(all_names(first, here))
            others = dict.fromkeys(all_names(second, there))
            if plain_name(name) != plain_name(second.classes[there]):
                shown[name] = second.classes[there]
            if mine.keys() != others.keys():
                names[name] = without(mine, others), without(others, mine)
            if first.answerable[here] != second.answerable[there]:
                answers.append(name)
            if first.unseen[here] != second.unseen[there]:
                unseen.append(name)
            both = first.entries[here].weight, second.entries[there].weight
            if both[0] != both[1]:
                weights[name] = both
        back = _same_classes(second, first)
        only_second = tuple(
            name for row, name in enumerate(second.classes) if back[row] is None and row not in same
        )
        marks = tuple(answers), tuple(unseen), weights
        return cls(tuple(only_first), only_second, shown, names, *marks)

    def __bool__(self) -> bool:
        classes = (self.only_first, self.only_second, self.shown)
        return any((*classes, self.names, self.answers, self.unseen, self.weights))


def all_names(vocabulary: Vocabulary, row: int) -> tuple[str, ...]:
    """All names of the class in a row of a vocabulary, the one that is shown first."""
    return plain_name(vocabulary.classes[row]), *vocabulary.synonyms[row]


def _same_classes(vocabulary: Vocabulary, other: Vocabulary) -> list[int | None]:
    """For each class the row of the same one in the other vocabulary: by name, else by meaning."""
    every = [(text, row) for row in range(len(other)) for text in all_names(other, row)]
    rows = dict(reversed(every))  # of several the first
    rows |= {plain_name(name): row for row, name in enumerate(other.classes)}
    meanings = {synset: row for row, synset in enumerate(other.synsets) if synset is not None}
    found = []
    for row, synset in enumerate(vocabulary.synsets):
        named = (rows[text] for text in all_names(vocabulary, row) if text in rows)
        found.append(next(named, None if synset is None else meanings.get(synset)))
    return found


def without(texts: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    """The texts that are not among the others, in their order."""
    left_out = set(others)
    return tuple(text for text in texts if text not in left_out)
