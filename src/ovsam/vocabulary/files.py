"""Vocabularies in files: text, tables, JSON lists, annotation files and data sets' class lists."""

from __future__ import annotations

import csv
import io
import logging
import re
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from ovsam.bounded_json import JsonError, parse_json
from ovsam.errors import AnnotationError, VocabularyError, quoted
from ovsam.vocabulary.builtin import known_choices
from ovsam.vocabulary.class_lists import data_set_names, heading_ids, lists_classes
from ovsam.vocabulary.entry import Entry, typed_entry, whole_entry
from ovsam.vocabulary.merge import merge_meanings
from ovsam.vocabulary.names import plain_names, spaced_name
from ovsam.vocabulary.vocabulary import TEMPLATE_SETS, Vocabulary

LIST_SUFFIXES = (".txt", ".csv", ".json")
_LONGEST_LINE = 1_000_000
_HEADINGS = tuple(  # what the first row of a table may begin with
    "name,names,class,classes,class name,category,categories,category name,label,labels,"
    "label name".split(",")
)
_MARKS = ("seen", "weight")  # columns of a table behind name and synonyms
_KEYS = ("name", "synonyms", *_MARKS)  # of a class in a JSON list

_log = logging.getLogger(__name__)


def read_file(path: Path) -> Vocabulary:
    """The vocabulary in a file or a data set's folder; see `load_vocabulary`.

    Raises:
        VocabularyError: it cannot be read, or something is wrong with the names.
    """
    try:
        if lists_classes(str(path)):
            return _from_data_set(path)
        text = _read_text(path)
        match path.suffix.lower():
            case ".json":
                return _from_json(text, path)
            case ".csv":
                entries, notes = merge_meanings(path.stem, _read_table(text, path.stem))
                return Vocabulary(path.stem, tuple(entries), notes=tuple(notes))
            case _:
                entries, templates = read_lines(text, path.stem)
                entries, notes = merge_meanings(path.stem, entries)
                return Vocabulary(path.stem, tuple(entries), tuple(templates), tuple(notes))
    except (AnnotationError, VocabularyError) as error:
        sentence = str(error) if str(path) in str(error) else f"'{path}': {error}"
        raise VocabularyError(sentence) from error


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise VocabularyError(
            f"Vocabulary file '{path}' does not exist. Give one of {known_choices()}."
        ) from error
    except UnicodeDecodeError as error:
        raise VocabularyError(
            f"Vocabulary file '{path}' is not UTF-8 text. Save it as UTF-8."
        ) from error
    except IsADirectoryError as error:
        raise VocabularyError(
            f"Vocabulary file '{path}' is a directory. Give the path of one file."
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise VocabularyError(f"Vocabulary file '{path}' cannot be read: {error}.") from error


def read_lines(text: str, name: str) -> tuple[list[Entry], list[str]]:
    """A text file's classes and templates."""
    entries: list[Entry] = []
    templates: list[str] = []
    for number, raw in enumerate(text.split("\n"), start=1):
        if len(raw) > _LONGEST_LINE:
            raise VocabularyError(
                f"Line {number} of vocabulary '{name}' has {len(raw):,} characters, the limit is "
                f"{_LONGEST_LINE:,}. Give one class on each line."
            )
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if "{}" in line or line in TEMPLATE_SETS:
            templates.append(line)
            continue
        if line.startswith("{") and line.endswith("}"):
            raise VocabularyError(
                f"Line {number} of vocabulary '{name}' is {line[:60]!r}, no name and no template. "
                f"Templates are texts with {{}} for the name, {' and '.join(TEMPLATE_SETS)}."
            )
        if (entry := typed_entry(line)) is None:
            raise VocabularyError(
                f"Line {number} of vocabulary '{name}' has no class name, got {line[:60]!r}. "
                "Give it one or remove it."
            )
        entries.append(entry)
    return entries, templates


def _read_table(text: str, name: str) -> list[Entry]:
    """A class in each row: its name, its synonyms in the cells after it, and its `_MARKS`."""
    # A table's first line tells what its cells are separated by; names may hold the others.
    separator = next((s for s in ",;\t" if s in text.partition("\n")[0]), ",")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    try:
        rows = [list(map(spaced_name, cells)) for cells in reader]
    except csv.Error as error:
        raise VocabularyError(
            f"Vocabulary '{name}' is no CSV: {error}. Give a row for each class, its name first "
            "and its synonyms after it."
        ) from error
    headed = [cell.lower() in _HEADINGS for cell in rows[0]] if rows else []
    if any(headed[1:]) and not headed[0]:
        raise VocabularyError(
            f"Vocabulary '{name}' has its names in column {headed.index(True) + 1}. Leave "
            "no columns but the class's name, first, and its synonyms, seen and weight after it."
        )
    heading = rows.pop(0) if any(headed) else []
    columns = _mark_columns(heading, name)
    last = next((mark for mark, column in columns.items() if column + 1 == len(heading)), None)
    entries = []
    for number, cells in enumerate(rows, start=2 if heading else 1):
        if last is not None and any(cells[len(heading) :]):
            raise VocabularyError(
                f"Row {number} of vocabulary '{name}' has {len(cells)} cells, its heading "
                f"{len(heading)}: which of them is '{last}' cannot be told. Give the heading a "
                "column for each synonym, or the synonyms one cell, a semicolon between them."
            )
        marks = {mark: cells[at] for mark, at in columns.items() if at < len(cells)}
        cells = [cell for at, cell in enumerate(cells) if at not in columns.values()]
        if heading:  # a column of synonyms may hold several
            several = (re.split("[;|]", cell) for cell in cells[1:])
            cells = [*cells[:1], *(spaced_name(part) for parts in several for part in parts)]
        if names := [cell for cell in cells if cell]:
            seen = _seen(marks.get("seen", ""), names[0], name)
            weight = _weight(marks.get("weight", ""), names[0], name)
            entries.append(whole_entry(names, seen=seen, weight=weight))
    return entries


def _mark_columns(heading: Sequence[str], name: str) -> dict[str, int]:
    """Which columns have `_MARKS`, where there are any."""
    found: dict[str, int] = {}
    for number, cell in enumerate(heading[1:], start=1):
        if (mark := cell.lower()) in _MARKS and mark not in found:
            found[mark] = number
        elif cell and not mark.startswith("synonym"):
            raise VocabularyError(
                f"Vocabulary '{name}' has a column {cell[:60]!r}. Leave no columns but the class's "
                "name and, after it, its synonyms, seen and weight."
            )
    return found


def _seen(mark: str, display: str, name: str) -> bool:
    """What a cell says of a class; an empty one says that it is seen."""
    if mark.lower() in ("", "yes", "true", "1"):
        return True
    if mark.lower() in ("no", "false", "0"):
        return False
    raise VocabularyError(
        f"Vocabulary '{name}' says {mark[:60]!r} in the column 'seen' of '{display[:60]}'. Write "
        "yes or no."
    )


def _weight(written: str, display: str, name: str) -> float:
    """The weight in a cell; an empty one says 1."""
    try:
        return float(written or 1)
    except ValueError as error:
        raise VocabularyError(
            f"Vocabulary '{name}' says {written[:60]!r} in the column 'weight' of "
            f"'{display[:60]}'. Write a number such as 3."
        ) from error


def _from_data_set(path: Path) -> Vocabulary:
    """The classes of a data.yaml or a folder; each name is taken whole."""
    first: dict[str, str] = {}
    for name in map(spaced_name, data_set_names(path)):
        first.setdefault(name.lower(), name)  # the same in another case is the same
    return Vocabulary(path.stem, tuple(Entry(name, (text,)) for text, name in first.items()))


def _from_json(text: str, path: Path) -> Vocabulary:
    """A list of classes, or the categories of a COCO or LVIS annotation file by their ids."""
    try:
        content: Any = parse_json(text)
    except JsonError as error:
        raise VocabularyError(
            f"Vocabulary file '{path}' is not valid JSON: {error}. It may be cut short: copy or "
            "write it again."
        ) from error
    if isinstance(content, list) and content:
        entries, notes = merge_meanings(path.stem, _listed_entries(content, path))
        return Vocabulary(path.stem, tuple(entries), notes=tuple(notes))
    categories = content.get("categories") if isinstance(content, dict) else None
    if not isinstance(categories, list) or not all(map(_is_category, categories)):
        raise VocabularyError(
            f"Vocabulary file '{path}' must have a list 'categories' of {{id, name}}, as COCO's "
            "annotation files have, or be a list of names or of {name, synonyms, seen, weight}. "
            "Give such a file, or a .txt with one class on each line."
        )
    if not categories:
        raise VocabularyError(f"Vocabulary file '{path}' is empty: it lists no categories.")
    return _from_categories(categories, content.get("annotations"), path)


def _listed_entries(content: Sequence[Any], path: Path) -> list[Entry]:
    """The classes of a JSON list: each a name, or a name with synonyms and whether it is seen."""
    for number, item in enumerate(content, start=1):
        if not _is_class(item):
            raise VocabularyError(
                f"Class {number} of vocabulary file '{path}' must be a name, or like "
                f'{{"name": "cat", "synonyms": ["kitty"], "seen": true, "weight": 1}}, got '
                f"{quoted(item)}."
            )
    entries = []
    for number, item in enumerate(content, start=1):
        fields: dict[str, Any] = {"name": item} if isinstance(item, str) else item
        if odd := sorted(fields.keys() - set(_KEYS)):
            raise VocabularyError(
                f"Class {number} of vocabulary file '{path}' has {odd[0][:60]!r}, which is "
                f"none of {', '.join(_KEYS)}. Rename it or take it out."
            )
        names = list(map(spaced_name, [fields["name"], *fields.get("synonyms", ())]))
        marks = {mark: fields[mark] for mark in _MARKS if mark in fields}
        entries.append(whole_entry(names, **marks))
    return entries


def _from_categories(
    categories: Sequence[dict[str, Any]], annotations: object, path: Path
) -> Vocabulary:
    """The classes of an annotation file; what is a heading of others is none."""
    headings = heading_ids(categories, annotations if isinstance(annotations, list) else ())
    left_out = [
        f"'{category['name']}' is no class: no object has it, it is a heading of others."
        for category in categories
        if category["id"] in headings
    ]
    if left_out:
        _log.warning("Of vocabulary file '%s' %s", path, " ".join(left_out))
    entries = []
    for category in sorted(categories, key=itemgetter("id")):
        if category["id"] in headings:
            continue
        # Names stay whole: reports are compared with the file's names.
        names = list(map(spaced_name, [category["name"], *category.get("synonyms", ())]))
        synonyms = plain_names(filter(None, names)) or ("",)
        is_rare = category.get("frequency") == "r"  # LVIS's rare
        entries.append(Entry(names[0], synonyms, unseen=is_rare))
    merged, notes = merge_meanings(path.stem, entries, by_synonyms=False)
    return Vocabulary(path.stem, tuple(merged), notes=(*left_out, *notes))


def _is_class(item: Any) -> bool:
    """Whether JSON describes a class by its name, or by `name` and perhaps more."""
    if not isinstance(item, dict):
        return isinstance(item, str)
    synonyms = item.get("synonyms", [])
    return (
        isinstance(item.get("name"), str)
        and isinstance(synonyms, list)
        and all(isinstance(synonym, str) for synonym in synonyms)
        and isinstance(item.get("seen", True), bool)
    )


def _is_category(category: Any) -> bool:
    return isinstance(category, dict) and type(category.get("id")) is int and _is_class(category)
