"""What a run folder has for a set of tables: figures, and for each that is missing the reason.

A number is read from a report or counted, or it is a gap. A report that was made with other
settings than its row asks for is a gap, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import (
    Any,
    NotRequired,  # which pydantic can check before Python 3.12
)

import numpy as np
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from ovsam.bounded_json import read_json_file
from ovsam.config import Share
from ovsam.errors import CheckpointError, quoted
from ovsam.evaluate.left_out import sentence_of
from ovsam.evaluate.provenance import fingerprint_of
from ovsam.formats.json_rows import as_float
from ovsam.paper.complexity import Complexity, complexity
from ovsam.paper.table_set import (
    Column,
    Folders,
    Row,
    Table,
    TableSet,
    model_commands,
    report_command,
)
from ovsam.vocabulary.builtin import COCO_BASE, COCO_NOVEL
from ovsam.vocabulary.load import load_vocabulary


class _Outcome(TypedDict):
    """What is read of each object of a report; detections have none."""

    annotation_id: int
    category: str
    iou: Share
    boundary_iou: NotRequired[Share]
    rank: int


_OUTCOMES = TypeAdapter(list[_Outcome])


@dataclass(frozen=True)
class Cell:
    """A figure of a row.

    Attributes:
        value: as it was measured, a fraction, or counted.
        gap: why there is no value; None too where the row has none by its nature.
        paper: the paper's, as the paper writes it; None where it has none.
    """

    value: float | None
    gap: str | None
    paper: float | None


@dataclass(frozen=True)
class FilledRow:
    """A row with its figures.

    Attributes:
        method: its name.
        cells: in the columns' order.
        sources: for each report, what it is, or why there is none.
        commands: all that makes the row, in order.
    """

    method: str
    cells: tuple[Cell, ...]
    sources: tuple[str, ...]
    commands: tuple[str, ...]

    @property
    def gaps(self) -> tuple[str, ...]:
        """Why figures are missing, each reason once."""
        return tuple(dict.fromkeys(cell.gap for cell in self.cells if cell.gap is not None))


@dataclass(frozen=True)
class FilledTable:
    """A table with what was found for it."""

    table: Table
    rows: tuple[FilledRow, ...]

    def column(self, heading: str) -> list[Cell]:
        """The cells under a heading, row by row."""
        index = [column.heading for column in self.table.columns].index(heading)
        return [row.cells[index] for row in self.rows]


class Results:
    """Reports and checkpoints of a run folder, each read once.

    Args:
        tables: what is wanted.
        folders: where it is looked for.
    """

    def __init__(self, tables: TableSet, folders: Folders) -> None:
        self.tables = tables
        self.folders = folders
        self._reports: dict[str, dict[str, Any] | str] = {}
        self._costs: dict[tuple[str, bool], Complexity | str] = {}
        self._fingerprints: dict[tuple[str, str], str | None] = {}

    def fill(self, table: Table) -> FilledTable:
        """Look for all figures of a table."""
        return FilledTable(table, tuple(self._fill(table, row) for row in table.rows))

    def report(self, name: str) -> dict[str, Any] | str:
        """The report MODEL/MEASUREMENT, or why it cannot be used."""
        if name not in self._reports:
            self._reports[name] = self._read(name)
        return self._reports[name]

    def unusable(self) -> list[str]:
        """The reports that are there and cannot be used, as with other settings."""
        return [
            name
            for name in self.tables.reports
            if isinstance(self.report(name), str) and self.folders.report(name).exists()
        ]

    def _fill(self, table: Table, row: Row) -> FilledRow:
        papers = row.paper or (math.nan,) * len(table.columns)
        cells = []
        for column, paper in zip(table.columns, papers, strict=True):
            found = self._figure(row, column)
            value, gap = (None, found) if isinstance(found, str) else (found, None)
            cells.append(Cell(value, gap, None if math.isnan(paper) else paper))
        names = list(dict.fromkeys(row.reports.values()))
        commands = [
            line
            for name in names
            for line in model_commands(self.tables, name.partition("/")[0], self.folders)
        ]
        commands += [report_command(self.tables, name, self.folders) for name in names]
        sources = [self._source(name) for name in names]
        return FilledRow(
            method=row.method,
            cells=tuple(cells),
            sources=tuple(source for source in sources if source is not None),
            commands=tuple(dict.fromkeys(commands)),
        )

    def _figure(self, row: Row, column: Column) -> float | str | None:
        """A number; why there is none; or None where the row has no such report."""
        if column.cost is not None:
            return self._cost(row, column.cost)
        if row.gap is not None:
            return row.gap
        assert column.report is not None and column.figure is not None
        if column.report not in row.reports:
            return None
        name = row.reports[column.report]
        report = self.report(name)
        if isinstance(report, str):
            return report
        value = value_of(report, column.figure)
        if value is None:
            return f"{self.folders.report(name)} has no figure {column.figure}"
        return value

    def _cost(self, row: Row, what: str) -> float | str | None:
        zoom, name = True, row.cost
        if row.reports:
            model, _, measurement = next(iter(row.reports.values())).partition("/")
            zoom = self.tables.measurements[measurement].zoom is not False
            entry = self.tables.models[model]
            name = name or entry.cost or str(self.folders.path(entry.model))
        if name is None:
            return row.gap
        counted = self._complexity(name, zoom)
        if isinstance(counted, str):
            return counted
        return float(counted.total if what == "multiply_adds" else counted.parameters)

    def _complexity(self, name: str, zoom: bool) -> Complexity | str:
        if (name, zoom) not in self._costs:
            try:
                self._costs[name, zoom] = complexity(name, zoom=zoom)
            except CheckpointError as error:
                reason = str(error).partition(". ")[0].rstrip(".")
                if Path(name).suffix and not Path(name).exists():
                    reason = f"{name} is missing"
                self._costs[name, zoom] = f"cost not counted: {reason}"
        return self._costs[name, zoom]

    def _source(self, name: str) -> str | None:
        report = self.report(name)
        if isinstance(report, str):
            return None
        asked = "boxes" if "boxes" in report else "instances"
        left_out = report.get("not_counted", {})  # which older reports do not say
        said = [f"{report[asked]:,} {asked}, {report['photos']:,} photos", sentence_of(left_out)]
        return f"{self.folders.report(name)}: {'; '.join(part for part in said if part)}"

    def _read(self, name: str) -> dict[str, Any] | str:
        path = self.folders.report(name)
        try:
            content = read_json_file(path)
        except FileNotFoundError:
            return f"not measured: {path} is missing"
        except (OSError, ValueError) as error:
            return f"not used: {path} cannot be read ({error})"
        if not isinstance(content, dict) or not isinstance(content.get("asked"), dict):
            return f"not used: {path} does not say what it was made from; make it again"
        if damaged := _damaged(content):
            return f"not used: {path} is no whole report, its {damaged} is wrong; make it again"
        wrong = self._differences(name, content)
        if wrong:
            return f"not used: {path} was made with {' and '.join(wrong)}; make it again"
        return content

    def _differences(self, name: str, report: Mapping[str, Any]) -> list[str]:
        """What a report was made with that its row does not ask for."""
        model, _, measurement = name.partition("/")
        how = self.tables.measurements[measurement]
        made_from = report["asked"]
        wrong = [
            f"{what} {_short(found)} instead of {wanted}"
            for what, found, wanted in (
                ("prompts", report.get("prompts"), how.prompts),
                ("labels", report.get("labels"), how.labels),
                ("limit", made_from.get("limit"), None),
                ("crowds", made_from.get("crowds", "left-out"), "left-out"),
            )
            if found != wanted
        ]
        if how.zoom is not None and report.get("zoom") is not how.zoom:
            wrong.append(f"zoom {'off' if how.zoom else 'on'}")
        if how.labels != "detector":
            wrong += self._difference("vocabulary", made_from, Path(how.vocabulary), 1)
        wrong += self._difference("annotations", made_from, self.folders.data / how.annotations, 1)
        if how.detections is not None:
            boxes = self.folders.data / how.detections
            wrong += self._difference("detections", made_from, boxes, 1)
        model_path = self.tables.models[model].model
        parts = len(Path(model_path).parts) - ("{" in model_path)  # those below the run folder
        wrong += self._difference("model", made_from, self.folders.path(model_path), parts)
        return wrong

    def _difference(
        self, what: str, made_from: Mapping[str, Any], wanted: Path, parts: int
    ) -> list[str]:
        """What is wanted is told by its content; by the last parts of its path where it is gone."""
        said = made_from.get(what)
        if not isinstance(said, dict) or not isinstance(said.get("name"), str):
            return [f"an unknown {what}"]
        key = what, str(wanted)
        if key not in self._fingerprints:
            self._fingerprints[key] = fingerprint_of(*key)
        here = self._fingerprints[key]
        shown = _short(said["name"])
        same_name = Path(said["name"]).parts[-parts:] == wanted.parts[-parts:]
        if same_name if here is None else here == said.get("sha256"):
            return []
        if same_name:
            return [f"{what} {shown} of another content"]
        return [f"{what} {shown} instead of {wanted}"]


def _damaged(report: Mapping[str, Any]) -> str | None:
    """What of a report is not what `ovsam evaluate` writes, as far as tables need it."""
    counts = [report["boxes"] if "boxes" in report else report.get("instances")]
    counts.append(report.get("photos"))
    left_out = report.get("not_counted", {})
    if not isinstance(left_out, dict):
        return "'not_counted'"
    if not all(_is_count(count) for count in [*counts, *left_out.values()]):
        return "number of photos or objects"
    try:
        _OUTCOMES.validate_python(report.get("outcomes", []))
    except ValidationError:
        return "list of outcomes"
    novel = report.get("novel", [])
    if not isinstance(novel, list) or not all(isinstance(name, str) for name in novel):
        return "list of novel classes"
    return None


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _short(value: object) -> str:
    """A report's value as a page shows it: a short text as it is, all else within bounds."""
    text = value if isinstance(value, str) and value.isprintable() else None
    return text if text is not None and len(text) <= 200 else quoted(value)


def value_of(report: Mapping[str, Any], figure: str) -> float | None:
    """A figure of a report by its place, see `Column.figure`; None where it has none."""
    if figure.startswith("by_class "):
        return _mean_of_classes(report, figure.removeprefix("by_class "))
    place: Any = report
    for part in figure.split("."):
        place = place.get(part) if isinstance(place, dict) else None
    value = as_float(place)
    return value if math.isfinite(value) else None


def _mean_of_classes(report: Mapping[str, Any], which: str) -> float | None:
    """The mean over COCO's base or novel classes of a figure that a report has by class."""
    chosen = {"base": COCO_BASE, "novel": COCO_NOVEL}[which]
    coco = load_vocabulary("coco")
    by_class = report.get("by_class")
    if not isinstance(by_class, dict):
        return None
    values = [
        value
        for name, said in by_class.items()  # None where the class has no object
        if 0 <= (value := as_float(said)) <= 1 and coco.class_of(name) in chosen
    ]
    return float(np.mean(values)) if values else None
