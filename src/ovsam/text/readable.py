"""What a text model can read of a vocabulary's names.

Of names that it cannot read, all of one class and of another, it makes one vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain

from ovsam.errors import UnreadableNamesError, first_few
from ovsam.text.encoder import Reading, TextEncoder
from ovsam.vocabulary.entry import Entry
from ovsam.vocabulary.vocabulary import Vocabulary

READ_ALL = 4096
"""Of a vocabulary of more names only those are looked at that may not be read."""

_ADVICE = "Give names in English, or another model."


def readable_names(
    synonyms: Sequence[tuple[str, ...]], encoder: TextEncoder
) -> Sequence[tuple[str, ...]]:
    """The names of each class without those that a text model cannot read.

    A class with no other name keeps its own; see `readable_vocabulary`.
    """
    unsure = sorted({text for text in chain.from_iterable(synonyms) if not _is_sure(text)})
    if not unsure:
        return synonyms
    readings = zip(unsure, encoder.read(unsure), strict=True)
    unread = {text for text, reading in readings if not reading.is_read}
    return [
        tuple(text for text in of_class if text not in unread) or of_class for of_class in synonyms
    ]


def readable_vocabulary(vocabulary: Vocabulary, encoder: TextEncoder) -> Vocabulary:
    """A vocabulary as a text model can tell its classes, with `notes` on those that it cannot.

    A class without any name that is read is never the answer. Of more than `READ_ALL` names only
    those with other letters than ASCII's are looked at, so that an edit takes milliseconds.

    Raises:
        UnreadableNamesError: no class that may be the answer has a name that is read, or all are
            read alike.
    """
    name = f"vocabulary '{vocabulary.name}'"
    is_large = sum(map(len, vocabulary.synonyms)) > READ_ALL
    doubted = [
        row
        for row, texts in enumerate(vocabulary.synonyms)
        if not (is_large and all(map(_is_sure, texts)))
    ]
    texts = sorted(set(chain.from_iterable(vocabulary.synonyms[row] for row in doubted)))
    readings = dict(zip(texts, encoder.read(texts), strict=True)) if texts else {}
    entries = list(vocabulary.entries)
    for row in doubted:
        is_read = any(readings[text].is_read for text in entries[row].synonyms)
        if entries[row].answerable and not is_read:
            entries[row] = replace(entries[row], answerable=False)
    answers = [vocabulary.entries[row] for row in doubted if vocabulary.entries[row].answerable]
    unread = _unread(answers, readings)
    if not any(entry.answerable for entry in entries):
        raise UnreadableNamesError(
            f"The text model cannot read any name of {name}, {first_few(unread)}. {_ADVICE}"
        )
    alike = _alike(answers, readings)
    for group in alike:
        if len(group) == sum(entry.answerable for entry in entries):
            raise UnreadableNamesError(
                f"The text model reads all names of {name} alike, {first_few(group)}: it cannot "
                f"tell them apart. {_ADVICE}"
            )
    notes = []
    if unread:
        notes.append(
            f"Of {name} the text model cannot read {first_few(unread)}: a class without another "
            "name is never the answer."
        )
    if partly := _partly_read(answers, readings):
        notes.append(f"Of {name} the text model reads only a part of {first_few(partly)}.")
    notes += (
        f"Of {name} the text model reads {first_few(group)} alike: it cannot tell them apart."
        for group in alike
    )
    if not notes:
        return vocabulary
    return replace(vocabulary, entries=tuple(entries), notes=(*vocabulary.notes, *notes))


def _unread(answers: Sequence[Entry], readings: Mapping[str, Reading]) -> list[str]:
    """The names that are not read; of a class without another the one that it is shown by."""
    found = []
    for entry in answers:
        lost = [f"'{text}'" for text in entry.synonyms if not readings[text].is_read]
        found += [f"'{entry.name}'"] if len(lost) == len(entry.synonyms) else lost
    return found


def _partly_read(answers: Sequence[Entry], readings: Mapping[str, Reading]) -> list[str]:
    return [
        f"'{text}'"
        for entry in answers
        for text in entry.synonyms
        if readings[text].is_read and not readings[text].is_whole
    ]


def _alike(answers: Sequence[Entry], readings: Mapping[str, Reading]) -> list[list[str]]:
    """Classes whose first names that are read have the same tokens, or all of whose names have."""
    groups: dict[object, list[str]] = {}
    for entry in answers:
        tokens = [readings[text].tokens for text in entry.synonyms if readings[text].is_read]
        for key in (tokens[0], frozenset(tokens)) if tokens else ():
            groups.setdefault(key, []).append(f"'{entry.name}'")
    return list({group[0]: group for group in groups.values() if len(group) > 1}.values())


def _is_sure(text: str) -> bool:
    """Whether any text model reads a name."""
    return text.isascii() and len(text) <= 100  # beyond, a word may be too long
