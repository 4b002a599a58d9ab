"""The vocabulary that a user asks for: a built-in one, a file or names."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from ovsam.errors import VocabularyError
from ovsam.vocabulary.builtin import (
    COCO_BASE,
    COCO_NOVEL,
    builtin_text,
    builtin_vocabularies,
    builtin_weights,
    known_choices,
    lvis_groups,
)
from ovsam.vocabulary.class_lists import lists_classes
from ovsam.vocabulary.files import LIST_SUFFIXES, read_file, read_lines
from ovsam.vocabulary.names import typed_names
from ovsam.vocabulary.vocabulary import Vocabulary
from ovsam.vocabulary.wordnet import hierarchy

_ALIKE = 0.7  # how like a built-in name, by difflib, a slip of the pen is
_TABLES = (".tsv", ".xls", ".xlsx", ".xml", ".yaml", ".yml", ".names", ".pbtxt")
_PATH = re.compile(r"(~|\.{0,2})[/\\]|[A-Za-z]:[/\\]")  # how a path begins


def load_vocabulary(spec: str | Path | Sequence[str] | Vocabulary) -> Vocabulary:
    """The vocabulary that a user asks for.

    Args:
        spec: a built-in name (see `builtin_vocabularies`); a list of names; the path of a text
            file, a table (.csv), a list (.json), a COCO or LVIS annotation file (.json), a
            data.yaml of YOLO or its folder, or a folder of LabelMe's files; or names separated by
            commas, "cat, dog/puppy, coffee mug", where a slash separates the synonyms of a class.
            A single name that looks like a built-in one ("cocoo") needs a comma at its end, so
            that a slip is not taken for a class.

    A slash is part of a name where a single letter stands beside it ("w/o helmet", "N/A", "km/h
    sign"), numbers on both sides ("24/7 shop"), capitals on both ("AC/DC adapter"), or a word such
    as `and`, `or`, `on`, `off` ("on/off switch"); elsewhere it separates two. With blanks on both
    sides, "TV / PC", it always does, and in quotes nothing separates: '"bag, paper"' is one name.

    A text file has one class on each line: its name and, after commas, its synonyms. A leading
    `!` marks a class that is never the answer, a `~` one that was held back in training, `*3` one
    that is met three times as often as a class without (its weight, see `Entry`); lines that start
    with `#` are comments. A line with `{}` is a template in place of the model's own,
    "a photo of a {}."; so is one of `TEMPLATE_SETS`. A table has the same in cells,
    `name,synonym,synonym`, a JSON list has names or
    `{"name": "cat", "synonyms": ["kitty"], "seen": false, "weight": 3}`; there, as in annotation
    files, a name is taken whole, with its commas and slashes. In a table with a heading (name,
    synonyms, seen, weight) a cell of synonyms may hold several, separated by semicolons or bars,
    and the column `seen` says yes or no.

    In a list of names each meaning is one class: "sofa, couch" is a sofa that is also called
    couch, and the log and `notes` say so. Two classes mean the same if the first name of one is a
    name of the other, or if WordNet has one synset for their first names; a name in quotes is a
    class of its own all the same. In a text file, which may be a copy of a vocabulary with meanings
    of its own, names alone count. Built-in vocabularies and annotation files keep their classes,
    which others count on.

    Raises:
        VocabularyError: nothing there, or something wrong with the names.
    """
    if isinstance(spec, Vocabulary):
        return spec
    if isinstance(spec, Path):
        return read_file(spec)
    if not isinstance(spec, str):
        return Vocabulary.from_names(spec)
    if spec in builtin_vocabularies():
        return _builtin(spec)
    if spec.strip().lower().endswith(LIST_SUFFIXES) or lists_classes(spec.strip()):
        return read_file(Path(spec.strip()))
    if re.search(r"[./\\]", spec) and os.path.isfile(spec):  # a file `cat` does not hide a cat
        raise VocabularyError(f"'{spec}' is a file of another kind. Give one of {known_choices()}.")
    return typed_vocabulary(spec)


def typed_vocabulary(text: str) -> Vocabulary:
    """The vocabulary that a person types: a built-in name or class names, never a file.

    Names are separated by commas or line breaks; see `load_vocabulary` for what they may be.

    >>> typed_vocabulary("coffee mug").classes
    ('coffee mug',)

    Raises:
        VocabularyError: no names, something wrong with them, a path, or one that is nearly a
            built-in name.
    """
    name = text.strip()
    if name in builtin_vocabularies():
        return _builtin(name)
    words = typed_names(name)
    if not words:
        raise VocabularyError(f"The vocabulary is empty. Give one of {known_choices()}.")
    if words == [name]:  # without so much as a comma behind it
        _check_single(name)
    for word in words if len(words) > 1 else ():
        if word in builtin_vocabularies():
            raise VocabularyError(
                f"'{word}' is a built-in vocabulary and stands alone. To join two, "
                "write them to one file with 'ovsam vocabulary show'."
            )
    return Vocabulary.from_names(words)


def is_builtin(vocabulary: Vocabulary) -> bool:
    """Whether it has the names of one of `builtin_vocabularies` as they are, whatever weights."""
    name = vocabulary.source
    if name not in builtin_vocabularies():
        return False
    known = _builtin(name)
    return known is vocabulary or known.names_fingerprint == vocabulary.names_fingerprint


def _check_single(name: str) -> None:
    """Refuse one name alone that was hardly meant as a class."""
    if _PATH.match(name) or name.lower().endswith((*LIST_SUFFIXES, *_TABLES)):
        raise VocabularyError(
            f"There is no vocabulary '{name[:60]}', which looks like a path. Give one of "
            f"{known_choices()}."
        )
    near = difflib.get_close_matches(name.lower(), builtin_vocabularies(), n=1, cutoff=_ALIKE)
    if near and (name.lower() == near[0] or hierarchy().find(name) is None):
        raise VocabularyError(
            f"There is no vocabulary '{name[:60]}': did you mean {near[0]}? A class of that name "
            f"ends with a comma, '{name[:60]},'."
        )


@cache
def _builtin(name: str) -> Vocabulary:
    if name == "coco-ov":  # COCO with some classes that only compete
        entries = tuple(
            replace(entry, answerable=entry.name in COCO_BASE + COCO_NOVEL)
            for entry in _builtin("coco").entries
        )
        return Vocabulary(name, entries).with_unseen(COCO_NOVEL)
    listed, templates = read_lines(builtin_text(name), name)
    if weights := builtin_weights(name):
        listed = [replace(e, weight=weights[e.name]) if e.name in weights else e for e in listed]
    made = Vocabulary(name, tuple(listed), tuple(templates))
    return made.with_unseen(lvis_groups()["rare"]) if name == "lvis" else made
