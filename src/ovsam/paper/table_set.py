"""A set of tables as data: rows, the paper's figures, and how each report comes about.

Three sets ship in `ovsam/paper/sets/`: `paper`, the paper's own tables, `lite`, the same in small,
and `released`, models of others beside `lite`. A report is known as MODEL/MEASUREMENT, both
described once in the set, and lies in the run
folder as `reports/MODEL/MEASUREMENT.json`. The command that makes it and the settings that it is
checked for are the same description.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from ovsam.errors import OvsamError
from ovsam.evaluate.kinds import EvaluationKind, LabelSource
from ovsam.shipped import read_toml

_STRICT = ConfigDict(extra="forbid")
Cost = Literal["multiply_adds", "parameters"]
OF_CLASSES = ("by_class base", "by_class novel")


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class ModelEntry:
    """A model, and how it is made. `{run}` and `{data}` stand for the two folders."""

    model: str
    """What `--model` takes: a name, or `{run}/...` for the checkpoint that `make` writes."""
    make: tuple[str, ...] = ()
    """The commands that make it."""
    after: tuple[str, ...] = ()
    """Models that must have been made before, by their names in the set."""
    cost: str | None = None
    """The model's name for `ovsam complexity`, where `model` is a checkpoint; None = `model`."""

    @model_validator(mode="after")
    def _has_names_of_its_own(self) -> ModelEntry:
        if self.model.endswith("-oracle"):
            raise ValueError(
                f"there is no model '{self.model}': leave '-oracle' out and write oracle_names = "
                "true in its measurement, which is --oracle-names"
            )
        return self


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class Measurement:
    """A way to measure a model; paths lie in the data folder."""

    annotations: str
    images: str
    prompts: EvaluationKind | None = None
    """The kind of prompt; None where a detector's boxes are the prompts."""
    detections: str | None = None
    """A detector's boxes, which stand in for prompts."""
    labels: LabelSource | None = None
    """Whose names count, for a detector's boxes."""
    oracle_names: bool = False
    """Whether masks alone are measured, and the annotated names count as given."""
    vocabulary: str = "coco"
    more_vocabularies: tuple[str, ...] = ()
    """What the same masks are named from, too; their figures are in `by_vocabulary.NAME`."""
    zoom: bool | None = None
    """None = as the model does by default."""

    @model_validator(mode="after")
    def _belongs_together(self) -> Measurement:
        if (self.prompts is None) == (self.detections is None):
            raise ValueError("give prompts or detections, and not both")
        if (self.detections is None) != (self.labels is None):
            raise ValueError("labels go with detections")
        if self.oracle_names and self.prompts is None:
            raise ValueError("oracle_names go with prompts: a detector's boxes have labels")
        if self.more_vocabularies and (self.oracle_names or self.prompts is None):
            raise ValueError("more_vocabularies go with prompts and a model's own names")
        return self


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class Column:
    """What a table says of each row: a figure of a report, or what the model costs."""

    heading: str
    report: str | None = None
    """Which of the row's reports the figure is from."""
    figure: str | None = None
    """Its place in the report's JSON, as in `by_novelty.base.iou` or, of several vocabularies,
    `by_vocabulary.22k.accuracy_by_meaning`; `by_class base` and `by_class novel` are the mean over
    these classes of COCO's split."""
    cost: Cost | None = None

    @model_validator(mode="after")
    def _belongs_together(self) -> Column:
        if (self.report is None) != (self.figure is None):
            raise ValueError("report and figure go together")
        if (self.figure is None) == (self.cost is None):
            raise ValueError("give a report's figure or a cost, and not both")
        if self.figure is not None and " " in self.figure and self.figure not in OF_CLASSES:
            raise ValueError(f"'{self.figure}' is no figure; with a blank: {', '.join(OF_CLASSES)}")
        return self


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class Row:
    """A method."""

    method: str
    reports: dict[str, str] = field(default_factory=dict)
    """Its reports, as MODEL/MEASUREMENT, by the names that the columns have for them."""
    paper: tuple[float, ...] = ()
    """Published figures in the columns' order; nan where there is none, left out without any."""
    source: str = ""
    """Where these are published; empty = in the paper's table of the same name."""
    gap: str | None = None
    """Why there is nothing to measure, for a row without reports."""
    cost: str | None = None
    """What `ovsam complexity` counts for it; None = the model of its first report."""

    @model_validator(mode="after")
    def _belongs_together(self) -> Row:
        if bool(self.reports) == (self.gap is not None):
            raise ValueError("a row has reports, or a gap that says why not")
        if self.source and not self.paper:
            raise ValueError("source is of published figures: give them as paper")
        return self


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class Table:
    """A table."""

    name: str
    title: str
    columns: tuple[Column, ...] = Field(min_length=1)
    rows: tuple[Row, ...] = Field(min_length=1)
    note: str = ""
    plot: tuple[str, ...] = ()
    """Headings of columns to draw over the costs, as the paper's Figure 1 does."""

    @model_validator(mode="after")
    def _belongs_together(self) -> Table:
        headings = [column.heading for column in self.columns]
        if unknown := [heading for heading in self.plot if heading not in headings]:
            raise ValueError(f"plot names {', '.join(unknown)}, which is no column")
        if self.plot and {column.cost for column in self.columns} < {"multiply_adds", "parameters"}:
            raise ValueError("plot needs a column of multiply_adds and one of parameters")
        for row in self.rows:
            if row.paper and len(row.paper) != len(self.columns):
                raise ValueError(
                    f"the row '{row.method}' must have {len(self.columns)} figures of the paper "
                    f"or none, got {len(row.paper)}"
                )
            wanted = {column.report for column in self.columns if column.report is not None}
            if row.reports and (unknown := sorted(set(row.reports) - wanted)):
                raise ValueError(f"the row '{row.method}' has reports for no column: {unknown}")
        return self


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class PictureEntry:
    """Models side by side on some objects, as in the paper's Figure 4."""

    name: str
    title: str
    reports: tuple[str, ...] = Field(min_length=2)
    """MODEL/MEASUREMENT; best and worst go by the last."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class TableSet:
    """Tables, with the models and measurements that their rows name."""

    title: str
    about: str
    models: dict[str, ModelEntry]
    measurements: dict[str, Measurement]
    tables: tuple[Table, ...] = Field(min_length=1)
    pictures: tuple[PictureEntry, ...] = ()

    @model_validator(mode="after")
    def _names_exist(self) -> TableSet:
        for name in self.reports:
            model, _, measurement = name.partition("/")
            if model not in self.models or measurement not in self.measurements:
                raise ValueError(f"the report '{name}' is of no model and measurement of the set")
        above: set[str] = set()
        for model, entry in self.models.items():
            if unknown := [before for before in entry.after if before not in above]:
                raise ValueError(
                    f"'{model}' comes after {', '.join(unknown)}, which is no model above it"
                )
            above.add(model)
        return self

    @property
    def reports(self) -> tuple[str, ...]:
        """All reports that tables and pictures need, each once, in the order of the tables."""
        rows = (row for table in self.tables for row in table.rows)
        named = [name for row in rows for name in row.reports.values()]
        named += [name for picture in self.pictures for name in picture.reports]
        return tuple(dict.fromkeys(named))


@dataclass(frozen=True, config=_STRICT)
class Folders:
    """Where a run and its data lie, as a user writes them."""

    run: Path
    data: Path

    def filled(self, text: str) -> str:
        """A command with the folders' paths, quoted for a shell."""
        return text.format(run=shlex.quote(str(self.run)), data=shlex.quote(str(self.data)))

    def path(self, text: str) -> Path:
        """A path with the folders' paths."""
        return Path(text.format(run=self.run, data=self.data))

    def report(self, name: str) -> Path:
        """Where the report MODEL/MEASUREMENT lies."""
        return self.run / "reports" / f"{name}.json"

    def picture(self, name: str) -> Path:
        """Where a side-by-side picture lies."""
        return self.run / "pictures" / f"{name}.png"


SETS = "paper/sets"  # those that come with the package
_SET: TypeAdapter[TableSet] = TypeAdapter(TableSet)


def read_table_set(name_or_path: str) -> TableSet:
    """A shipped set or one's own TOML file.

    Raises:
        OvsamError: no such set, no TOML, or a part that does not fit: all of them at once.
    """
    path, content = read_toml(name_or_path, SETS, "set of tables", OvsamError)
    try:
        return _SET.validate_python(content)
    except ValidationError as error:
        found = [f"{_where(detail)}: {detail['msg']}" for detail in error.errors()]
        raise OvsamError(f"'{path}' is no set of tables: {'; '.join(found)}.") from error


def _where(detail: Mapping[str, Any]) -> str:
    return ".".join(map(str, detail["loc"])) or "the set"
