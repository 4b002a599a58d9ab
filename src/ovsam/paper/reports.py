"""The reports of a run folder: read, and held against what a set of tables wants of them.

A report that was made with other settings than its row wants is not used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
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
from ovsam.errors import quoted
from ovsam.evaluate.provenance import sha256_now
from ovsam.formats.json_rows import as_float
from ovsam.hub import checkpoint_sha256
from ovsam.paper.table_set import Folders, TableSet
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


class Reports:
    """Reports of a run folder, each read once.

    Args:
        tables: what is wanted.
        folders: where it is looked for.
    """

    def __init__(self, tables: TableSet, folders: Folders) -> None:
        self.tables = tables
        self.folders = folders
        self._known: dict[str, dict[str, Any] | str] = {}
        self._digests: dict[tuple[str, str], str | None] = {}

    def read(self, name: str) -> dict[str, Any] | str:
        """The report MODEL/MEASUREMENT, or why it cannot be used."""
        if name not in self._known:
            self._known[name] = self._read(name)
        return self._known[name]

    def unusable(self) -> list[str]:
        """The reports that are there and cannot be used, as with other settings."""
        return [
            name
            for name in self.tables.reports
            if isinstance(self.read(name), str) and self.folders.report(name).exists()
        ]

    def _read(self, name: str) -> dict[str, Any] | str:
        path = self.folders.report(name)
        try:
            content = read_json_file(path)
        except FileNotFoundError:
            return f"not measured: {path} is missing"
        except (OSError, ValueError) as error:
            return f"not used: {path} cannot be read ({error})"
        if not isinstance(content, dict) or not isinstance(provenance_of(content), dict):
            return f"not used: {path} does not say what it was made from; make it again"
        if damaged := _damaged(content):
            return f"not used: {path} is no whole report, its {damaged} is wrong; make it again"
        wrong = self._differences(name, content)
        if wrong:
            return f"not used: {path} was made with {' and '.join(wrong)}; make it again"
        return content

    def _differences(self, name: str, report: Mapping[str, Any]) -> list[str]:
        """What a report was made with that its measurement does not have."""
        model, _, measurement = name.partition("/")
        how = self.tables.measurements[measurement]
        made_from = provenance_of(report)
        wrong = [
            f"{what} {_short(found)} instead of {wanted}"
            for what, found, wanted in (
                ("prompts", report.get("prompts"), how.prompts),
                ("labels", report.get("labels"), how.labels),
                ("oracle names", report.get("oracle_names", False), how.oracle_names),
                ("prior", made_from.get("prior", True), True),
                ("clean", made_from.get("clean", True), True),
                ("limit", made_from.get("limit"), None),
                ("crowds", made_from.get("crowds", "left-out"), "left-out"),
            )
            if found != wanted
        ]
        if how.zoom is not None and report.get("zoom") is not how.zoom:
            wrong.append(f"zoom {'off' if how.zoom else 'on'}")
        if how.labels != "detector":
            wrong += self._difference("vocabulary", made_from, Path(how.vocabulary), 1)
            for name in how.more_vocabularies:
                wrong += self._without_vocabulary(name, made_from)
        wrong += self._difference("annotations", made_from, self.folders.data / how.annotations, 1)
        if how.detections is not None:
            boxes = self.folders.data / how.detections
            wrong += self._difference("detections", made_from, boxes, 1)
        model_path = self.tables.models[model].model
        parts = len(Path(model_path).parts) - ("{" in model_path)  # those below the run folder
        wrong += self._difference("model", made_from, self.folders.path(model_path), parts)
        return wrong

    def _without_vocabulary(self, wanted: str, made_from: Mapping[str, Any]) -> list[str]:
        """What is wrong where a further vocabulary is not among those of a report."""
        more = made_from.get("more_vocabularies")
        for used in more if isinstance(more, list) else ():
            if isinstance(used, dict) and used.get("name") == wanted:
                return self._difference("vocabulary", {"vocabulary": used}, Path(wanted), 1)
        return [f"no vocabulary {wanted}"]

    def _difference(
        self, what: str, made_from: Mapping[str, Any], wanted: Path, parts: int
    ) -> list[str]:
        """Contents are compared; where what is wanted is gone, the last parts of its path."""
        used = made_from.get(what)
        if not isinstance(used, dict) or not isinstance(used.get("name"), str):
            return [f"an unknown {what}"]
        key = what, str(wanted)
        if key not in self._digests:
            self._digests[key] = sha256_now(*key, checkpoint_sha256)
        here = self._digests[key]
        shown = _short(used["name"])
        same_name = Path(used["name"]).parts[-parts:] == wanted.parts[-parts:]
        if same_name if here is None else here == used.get("sha256"):
            return []
        if same_name:
            return [f"{what} {shown} of another content"]
        return [f"{what} {shown} instead of {wanted}"]


def provenance_of(report: Mapping[str, Any]) -> Any:
    """What a report was made from; older ones call it "asked"."""
    return report.get("provenance", report.get("asked"))


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
        for name, mean in by_class.items()  # None where the class has no object
        if 0 <= (value := as_float(mean)) <= 1 and coco.class_of(name) in chosen
    ]
    return float(np.mean(values)) if values else None
