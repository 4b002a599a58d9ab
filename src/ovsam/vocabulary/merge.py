"""One class for each meaning, where a list gives several names for a thing."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

from ovsam.errors import VocabularyError, first_few
from ovsam.vocabulary.entry import Entry
from ovsam.vocabulary.names import plain_name
from ovsam.vocabulary.wordnet import hierarchy

_log = logging.getLogger(__name__)


def merge_meanings(
    vocabulary: str,
    entries: Iterable[Entry],
    *,
    by_wordnet: bool = False,
    by_synonyms: bool = True,
) -> tuple[list[Entry], list[str]]:
    """The classes, with one where several mean the same, which has the first one's name.

    The log says which these are.

    Args:
        vocabulary: its name, for messages.
        entries: the classes as given.
        by_wordnet: whether classes are the same, too, that mean one synset.
        by_synonyms: whether they are if the first name of one is a synonym of the other.

    Returns:
        The classes, and a sentence for each that became part of another.

    Raises:
        VocabularyError: of two that mean the same one is marked as unseen, or they have different
            weights.
    """
    owners: dict[str, int] = {}  # the number of the class that has a name or a synset, in `kept`
    firsts: dict[str, int] = {}  # the same of first names alone
    kept: list[Entry] = []
    merged: list[str] = []
    notes: list[str] = []
    for entry in entries:
        key = plain_name(entry.name)
        meaning = (hierarchy().find(key) if by_wordnet and not entry.apart else None) or key
        others = [firsts.get(key)]
        if by_synonyms and not entry.apart:
            others += [owners.get(key), owners.get(meaning), *map(firsts.get, entry.synonyms)]
        same = next(
            (
                number
                for number in others
                if number is not None
                and kept[number].answerable == entry.answerable
                and (not kept[number].apart or plain_name(kept[number].name) == key)
            ),
            None,
        )
        if same is None:
            same = len(kept)
            firsts.setdefault(key, same)
            kept.append(entry)
        else:
            first = kept[same]
            kept[same] = _merged(vocabulary, first, entry)
            if plain_name(first.name) == key:
                merged.append(f"'{entry.name}' is there twice")
                notes.append(f"'{entry.name}' is there twice and is one class.")
            else:
                merged.append(f"'{entry.name}' is taken as '{first.name}'")
                notes.append(
                    f"'{entry.name}' is taken as '{first.name}': they mean the same and are one "
                    "class. In quotes it stays a class of its own."
                )
        for text in (*entry.synonyms, meaning):
            owners.setdefault(text, same)
    if merged:
        why = "names that look the same are one class"
        if not all(part.endswith("is there twice") for part in merged):
            why = "they mean the same and are one class. In quotes a name stays a class of its own"
        _log.warning("Of vocabulary '%s' %s: %s.", vocabulary, first_few(merged), why)
    return kept, notes


def _merged(vocabulary: str, first: Entry, other: Entry) -> Entry:
    if first.unseen != other.unseen:
        raise VocabularyError(
            f"Vocabulary '{vocabulary}' has '{other.name}' and '{first.name}', which mean "
            "the same, one seen and one not. Mark both alike."
        )
    weights = {first.weight, other.weight} - {1.0} or {1.0}  # one that is given is the class's
    if len(weights) > 1:
        raise VocabularyError(
            f"Vocabulary '{vocabulary}' has '{other.name}' and '{first.name}', which mean "
            f"the same, with the weights {other.weight:g} and {first.weight:g}. Give both the same."
        )
    synonyms = tuple(dict.fromkeys((*first.synonyms, *other.synonyms)))
    return replace(first, synonyms=synonyms, weight=weights.pop())
