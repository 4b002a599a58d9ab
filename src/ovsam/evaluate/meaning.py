"""Whether a name is right by meaning: it is the annotated class, or a kind of it.

A long vocabulary has finer names than an annotation: who boxes what is annotated as a cat and is
told "tiger cat" is not told anything wrong. WordNet's hypernyms say what is a kind of what
(`vocabulary/wordnet.py`). A name that is broader than the annotation, as "animal", is not right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from ovsam.formats.annotations import Category
from ovsam.vocabulary.load import load_vocabulary
from ovsam.vocabulary.vocabulary import Vocabulary
from ovsam.vocabulary.wordnet import hierarchy


def annotated_synsets(categories: Sequence[Category]) -> dict[str, str | None]:
    """The synset that each class of an annotation file means, by its name; None = not known.

    A class means what a class of `22k` of its name does, or where there is none of its synonyms in
    the file; but in a file with all classes of Objects365, what they mean there.
    """
    names = {category.name: category.synonyms for category in categories}
    objects365 = load_vocabulary("objects365")
    known = {name: objects365.class_of(name, synonyms) for name, synonyms in names.items()}
    if set(known.values()) >= set(objects365.classes):
        synsets = dict(zip(objects365.classes, objects365.synsets, strict=True))
        return {name: synsets.get(known[name] or "") for name in names}
    return {name: _synset(synonyms) for name, synonyms in names.items()}


def _synset(synonyms: Sequence[str]) -> str | None:
    """What the first means; where it is unknown, what the others do, if all known ones agree."""
    first, *others = map(hierarchy().find, synonyms)
    known = {first} if first else set(others) - {None}
    return known.pop() if len(known) == 1 else None


class Meanings:
    """What the classes of a vocabulary mean, to tell which answers are right.

    Args:
        vocabulary: as the model answers from it.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._levels: dict[tuple[str, str], int | None] = {}

    @cached_property
    def _synsets(self) -> Mapping[str, str | None]:
        return dict(zip(self._vocabulary.classes, self._vocabulary.synsets, strict=True))

    def levels_below(self, answer: str, name: str, synset: str | None) -> int | None:
        """How many hypernyms below an annotated class an answer is.

        Args:
            answer: a class of the vocabulary.
            name: the annotated class, as the vocabulary writes it, or else as the file does.
            synset: what it means; None = nothing that WordNet knows: then the name alone is right.

        Returns:
            0 for the class itself, None for an answer that is wrong.
        """
        if answer == name:
            return 0
        meaning = self._synsets[answer]
        if synset is None or meaning is None:
            return None
        key = meaning, synset
        if key not in self._levels:
            self._levels[key] = hierarchy().levels_below(meaning, synset)
        return self._levels[key]

    def own_name(self, written: str, synset: str | None) -> str | None:
        """What to call an annotated class whose name the vocabulary does not have.

        Args:
            written: its name in the file.
            synset: what it means; None = not known.

        Returns:
            The class of that meaning; the file's name where there are only kinds of it that may be
            the answer; None where there are none.
        """
        if synset is None:
            return None
        tree = hierarchy()
        known = [
            (entry.name, meaning)
            for entry, meaning in zip(
                self._vocabulary.entries, self._vocabulary.synsets, strict=True
            )
            if meaning is not None and entry.answerable
        ]
        same = next((name for name, meaning in known if meaning == synset), None)
        if same is not None:
            return same
        return written if any(synset in tree.above(meaning) for _, meaning in known) else None
