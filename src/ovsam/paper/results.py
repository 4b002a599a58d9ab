"""What a run folder has for a set of tables: figures, and for each that is missing the reason.

A number is read from a report or counted, or it is a gap. A report that was made with other
settings than its row's is a gap, too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from ovsam.errors import CheckpointError
from ovsam.evaluate.left_out import sentence_of
from ovsam.paper.commands import model_commands, report_command
from ovsam.paper.complexity import Complexity, complexity
from ovsam.paper.reports import Reports, value_of
from ovsam.paper.table_set import Column, Cost, Row, Table


@dataclass(frozen=True)
class Cell:
    """A figure of a row.

    Attributes:
        value: as it was measured, a fraction, or counted.
        gap: why there is no value; None too where the row has none by its nature.
        paper: the published one, as it is written there; None where there is none.
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
        sources: where published figures are from, if not from the paper's table; for each report
            that is there, what it is.
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
    """The figures of tables, from reports and checkpoints; each cost is counted once."""

    def __init__(self, reports: Reports) -> None:
        self.reports = reports
        self.tables, self.folders = reports.tables, reports.folders
        self._costs: dict[tuple[str, bool, bool], Complexity | str] = {}

    def fill(self, table: Table) -> FilledTable:
        """Look for all figures of a table."""
        return FilledTable(table, tuple(self._fill(table, row) for row in table.rows))

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
        sources = [f"published: {row.source}" if row.source else None]
        sources += [self._source(name) for name in names]
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
        report = self.reports.read(name)
        if isinstance(report, str):
            return report
        value = value_of(report, column.figure)
        if value is None:
            return f"{self.folders.report(name)} has no figure {column.figure}"
        return value

    def _cost(self, row: Row, what: Cost) -> float | str | None:
        zoom, naming, name = True, True, row.cost
        if row.reports:
            model, _, measurement = next(iter(row.reports.values())).partition("/")
            how, entry = self.tables.measurements[measurement], self.tables.models[model]
            zoom, naming = how.zoom is not False, not how.oracle_names
            name = name or entry.cost or str(self.folders.path(entry.model))
        if name is None:
            return row.gap
        counted = self._complexity(name, zoom, naming)
        if isinstance(counted, str):
            return counted
        return float(counted.total if what == "multiply_adds" else counted.parameters)

    def _complexity(self, name: str, zoom: bool, naming: bool) -> Complexity | str:
        key = name, zoom, naming
        if key not in self._costs:
            try:
                self._costs[key] = complexity(name, zoom=zoom, naming=naming)
            except CheckpointError as error:
                reason = str(error).partition(". ")[0].rstrip(".")
                if Path(name).suffix and not Path(name).exists():
                    reason = f"{name} is missing"
                self._costs[key] = f"cost not counted: {reason}"
        return self._costs[key]

    def _source(self, name: str) -> str | None:
        report = self.reports.read(name)
        if isinstance(report, str):
            return None
        unit = "boxes" if "boxes" in report else "instances"
        left_out = report.get("not_counted", {})  # which older reports do not have
        parts = [f"{report[unit]:,} {unit}, {report['photos']:,} photos", sentence_of(left_out)]
        found = "; ".join(part for part in parts if part)
        return f"measured here: {self.folders.report(name)}: {found}"
