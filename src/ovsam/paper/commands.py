"""The commands that make what a set of tables is read from, and a script of all of them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from ovsam.paper.table_set import Folders, PictureEntry, TableSet


def model_commands(tables: TableSet, name: str, folders: Folders) -> list[str]:
    """The commands that make a model, those of the models before it first."""
    entry = tables.models[name]
    before = [line for other in entry.after for line in model_commands(tables, other, folders)]
    own = [folders.filled(line) for line in entry.make]
    return list(dict.fromkeys([*before, *own]))


def report_command(tables: TableSet, name: str, folders: Folders) -> str:
    """The command that makes the report MODEL/MEASUREMENT."""
    model, _, measurement = name.partition("/")
    how = tables.measurements[measurement]
    data = folders.data
    if how.detections is None:
        words = ["ovsam", "evaluate", str(data / how.annotations)]
    else:
        boxes = str(data / how.detections)
        words = ["ovsam", "evaluate-detections", str(data / how.annotations), boxes]
    words += ["--images", str(data / how.images)]
    if how.prompts is not None:
        words += ["--prompts", how.prompts]
    if how.labels is not None:
        words += ["--labels", how.labels]
    if how.labels != "detector":
        for vocabulary in (how.vocabulary, *how.more_vocabularies):
            words += ["--vocabulary", vocabulary]
    words += ["--model", str(folders.path(tables.models[model].model))]
    if how.oracle_names:
        words.append("--oracle-names")
    if how.zoom is not None:
        words.append("--zoom" if how.zoom else "--no-zoom")
    return shlex.join([*words, "--json", str(folders.report(name))])


def picture_command(tables: TableSet, entry: PictureEntry, folders: Folders) -> str:
    """The command that draws models side by side."""
    how = tables.measurements[entry.reports[0].partition("/")[2]]
    words = ["ovsam", "pictures", str(folders.data / how.annotations)]
    words += [str(folders.report(name)) for name in entry.reports]
    words += ["--images", str(folders.data / how.images)]
    return shlex.join([*words, "-o", str(folders.picture(entry.name))])


def script(tables: TableSet, folders: Folders, unusable: Collection[str] = ()) -> str:
    """A shell script that makes all that the tables are read from; what is there is left alone.

    Args:
        tables: what is wanted.
        folders: where it is.
        unusable: reports, MODEL/MEASUREMENT, that are there and cannot be used: they are made
            again, and the pictures that were drawn from them.
    """
    lines = ["#!/bin/sh", "# Makes what is missing, in order.", "set -e"]
    lines.append(
        f'ovsam() {{ {shlex.quote(sys.executable)} -m ovsam "$@"; }}  # whose script it is'
    )
    old = [folders.report(name) for name in tables.reports if name in unusable]
    old += [
        folders.picture(entry.name)
        for entry in tables.pictures
        if not set(unusable).isdisjoint(entry.reports)
    ]
    lines += [shlex.join(["rm", "-f", str(path)]) for path in old]
    parents = [folders.report(name).parent for name in tables.reports]
    parents += [folders.picture(entry.name).parent for entry in tables.pictures]
    lines += [shlex.join(["mkdir", "-p", str(folder)]) for folder in dict.fromkeys(parents)]
    made: set[str] = set()
    for name in tables.reports:
        lines += _making(tables, name.partition("/")[0], folders, made)
        lines.append(_unless(folders.report(name), [report_command(tables, name, folders)]))
    lines += [
        _unless(folders.picture(entry.name), [picture_command(tables, entry, folders)])
        for entry in tables.pictures
    ]
    return "\n".join(lines) + "\n"


def _making(tables: TableSet, name: str, folders: Folders, made: set[str]) -> list[str]:
    """Lines for a model and those before it, each once."""
    if name in made:
        return []
    made.add(name)
    entry = tables.models[name]
    lines = [line for other in entry.after for line in _making(tables, other, folders, made)]
    if entry.make:
        own = [folders.filled(line) for line in entry.make]
        lines.append(_unless(folders.path(entry.model), own))
    return lines


def _unless(path: Path, commands: Sequence[str]) -> str:
    together = commands[0] if len(commands) == 1 else f"{{ {'; '.join(commands)}; }}"
    return f"[ -e {shlex.quote(str(path))} ] || {together}"
