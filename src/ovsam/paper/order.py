"""Whether methods come out in the paper's order, object by object.

Two methods are compared on the same objects: the mean of the differences, and its standard error.
Only a difference of more than `CLEAR` standard errors counts as an order. Methods that are the same
object by object, as the masks of two baselines are, cannot be compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

import numpy as np

from ovsam.paper.results import Results
from ovsam.paper.table_set import Column, Measurement, Row, Table

CLEAR = 2.0  # standard errors
_RANKS = {
    "accuracy": "rank",
    "accuracy_top5": "rank",
    "accuracy_by_meaning": "rank_by_meaning",
    "accuracy_by_meaning_top5": "rank_by_meaning",
}
"""Shares of objects, and the place of the right name that each goes by."""
_GROUPS: tuple[list[str], ...] = ([], ["by_novelty", "base"], ["by_novelty", "novel"])


@dataclass(frozen=True)
class Pair:
    """Two methods of which the paper ranks the first higher.

    Attributes:
        better: the paper's better method.
        worse: the other.
        difference: mean of better minus worse over the objects, as a fraction.
        error: its standard error; objects of one photo are taken for independent.
    """

    better: str
    worse: str
    difference: float
    error: float

    @property
    def verdict(self) -> str:
        """`same` order as in the paper, `opposite`, `open`, or `none` without any difference."""
        if self.difference == self.error == 0:
            return "none"
        if abs(self.difference) <= CLEAR * self.error:
            return "open"
        return "same" if self.difference > 0 else "opposite"


def pairs(results: Results, table: Table, column: Column) -> list[Pair]:
    """All pairs of rows that the paper orders by a column and that were measured in one way."""
    if column.report is None or column.figure is None:
        return []
    index = table.columns.index(column)
    rows = [row for row in table.rows if row.paper and column.report in row.reports]
    found = []
    for one, other in permutations(rows, 2):
        if not one.paper[index] > other.paper[index]:  # nor if one is nan
            continue
        if _measurement(results, one, column) != _measurement(results, other, column):
            continue
        first, second = (_values(results, row, column) for row in (one, other))
        if first and first.keys() == second.keys():
            differences = np.array([first[key] - second[key] for key in first])
            error = float(differences.std(ddof=1) / len(differences) ** 0.5)
            found.append(Pair(one.method, other.method, float(differences.mean()), error))
    return found


def _measurement(results: Results, row: Row, column: Column) -> Measurement:
    """How a row was measured; masks are the same whoever names them."""
    assert column.report is not None
    name = row.reports[column.report].partition("/")[2]
    return replace(results.tables.measurements[name], oracle_names=False)


def _values(results: Results, row: Row, column: Column) -> dict[int, float]:
    """The figure's value for each object by its annotation's id; none if it is no mean of such."""
    assert column.report is not None and column.figure is not None
    report = results.reports.read(row.reports[column.report])
    *group, what = column.figure.split(".")
    if isinstance(report, str) or group not in _GROUPS:
        return {}
    outcomes = report.get("outcomes", [])
    if group:
        novel = report.get("novel", [])
        wanted = group[1] == "novel"
        outcomes = [one for one in outcomes if (one["category"] in novel) == wanted]
    wanted_field = _RANKS.get(what, what)
    if len(outcomes) < 2 or not all(
        isinstance(one.get(wanted_field), int | float) for one in outcomes
    ):
        return {}
    return {one["annotation_id"]: _value(one, what) for one in outcomes}


def _value(outcome: Mapping[str, Any], what: str) -> float:
    if what in _RANKS:
        return float(0 <= outcome[_RANKS[what]] < (5 if what.endswith("_top5") else 1))
    return float(outcome[what])
