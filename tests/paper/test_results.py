"""Figures that are read, and the reasons for those that are not."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from made_run import SET, folders, outcome, write_report
from ovsam.paper.commands import report_command
from ovsam.paper.complexity import complexity
from ovsam.paper.order import pairs
from ovsam.paper.reports import Reports
from ovsam.paper.results import Results
from ovsam.paper.table_set import Folders, TableSet, read_table_set
from ovsam.vocabulary.load import load_vocabulary

counted = cache(complexity)
OUTCOMES = [outcome(1, "person", 0.5, 0), outcome(2, "person", 0.7, 3), outcome(3, "cat", 0.1, -1)]


@pytest.fixture(autouse=True)
def count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ovsam.paper.results.complexity", counted)


@pytest.fixture
def where(tmp_path: Path) -> Folders:
    return folders(tmp_path)


@pytest.fixture
def tables(tmp_path: Path) -> TableSet:
    (tmp_path / "set.toml").write_text(SET)
    return read_table_set(str(tmp_path / "set.toml"))


def test_figures_costs_and_gaps(where: Folders, tables: TableSet) -> None:
    write_report(where, "plain/box", OUTCOMES)
    filled = Results(Reports(tables, where)).fill(tables.tables[0])
    plain, trained, others = filled.rows
    assert [cell.value for cell in plain.cells[:2]] == pytest.approx([0.6, 1 / 3])
    costs = counted("lite", zoom=False)
    assert [cell.value for cell in plain.cells[2:]] == [costs.total, costs.parameters]
    assert [cell.paper for cell in plain.cells] == [50, 40, 3000, None]
    assert plain.gaps == ()
    assert plain.sources == (f"measured here: {where.report('plain/box')}: 3 instances, 2 photos",)
    missing = f"not measured: {where.report('trained/box')} is missing"
    assert [cell.value for cell in trained.cells] == [None, None, costs.total, costs.parameters]
    assert trained.gaps == (missing,)
    assert len(trained.commands) == 2
    assert others.gaps == ("not ours",)
    assert [cell.value for cell in others.cells] == [None] * 4
    assert filled.column("top-1") == [row.cells[1] for row in filled.rows]


def test_zoom_is_counted_where_it_is_measured() -> None:
    whole, once = counted("lite"), counted("lite", zoom=False)
    assert once.parameters == whole.parameters
    assert once.encode == whole.encode
    assert "zoom: encode again" not in [part.name for part in once.parts]
    assert once.total < whole.total


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"prompts": "point"}, "prompts point instead of box"),
        ({"zoom": True}, "zoom on"),
        ({"limit": 5}, "limit 5 instead of None"),
        ({"crowds": "objects"}, "crowds objects instead of left-out"),
        ({"limit": "x" * 10**5}, "limit 'xxx"),
        ({"vocabulary": {"name": "coco", "sha256": None}}, "vocabulary coco instead of coco-ov"),
        (
            {"annotations": {"name": "truth.json", "sha256": "0"}},
            "annotations truth.json of another content",
        ),
        (
            {"annotations": {"name": "a/train.json", "sha256": None}},
            "annotations a/train.json in",
        ),
        ({"model": {"name": "other", "sha256": None}}, "model other instead of lite"),
        ({"model": {"name": "lite", "sha256": "0"}}, "model lite of another content"),
        ({"vocabulary": {"name": "coco-ov", "sha256": None}}, "vocabulary coco-ov of another"),
        ({"model": None}, "an unknown model"),
    ],
)
def test_report_of_other_settings_is_a_gap(
    where: Folders, tables: TableSet, changes: dict[str, Any], reason: str
) -> None:
    path = write_report(where, "plain/box", OUTCOMES)
    content = json.loads(path.read_text())
    for key, value in changes.items():
        (content if key in ("prompts", "zoom") else content["provenance"])[key] = value
    path.write_text(json.dumps(content))
    row = Results(Reports(tables, where)).fill(tables.tables[0]).rows[0]
    assert [cell.value for cell in row.cells[:2]] == [None, None]
    assert len(row.gaps) == 1
    assert f"{path} was made with {reason}" in row.gaps[0]


def test_checkpoint_that_changed_since_is_a_gap(where: Folders, tables: TableSet) -> None:
    checkpoint = where.run / "trained" / "lite.safetensors"
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(b"first")
    write_report(where, "trained/box", OUTCOMES)
    assert Results(Reports(tables, where)).fill(tables.tables[0]).rows[1].gaps == ()
    checkpoint.write_bytes(b"second")
    [gap] = Results(Reports(tables, where)).fill(tables.tables[0]).rows[1].gaps
    assert "lite.safetensors of another content" in gap


def test_run_folder_can_move(tmp_path: Path, where: Folders, tables: TableSet) -> None:
    """Without the checkpoint and the data beside it, paths are compared by what lies in the run."""
    write_report(where, "trained/box", OUTCOMES)
    moved = Folders(where.run.rename(tmp_path / "elsewhere"), tmp_path / "none")
    row = Results(Reports(tables, moved)).fill(tables.tables[0]).rows[1]
    assert row.cells[1].value == pytest.approx(1 / 3)


def test_published_figures_of_others_have_their_source(where: Folders, tables: TableSet) -> None:
    table = tables.tables[0]
    cited = replace(table.rows[0], source="Segment Anything, Table 5")
    found = Results(Reports(tables, where)).fill(replace(table, rows=(cited, *table.rows[1:])))
    assert [row.sources for row in found.rows] == [
        ("published: Segment Anything, Table 5",),
        (),
        (),
    ]
    with pytest.raises(ValueError, match="source is of published figures"):
        replace(cited, paper=())


def test_what_a_report_left_out_stands_beside_its_source(where: Folders, tables: TableSet) -> None:
    """Reports of older versions, as all the others here, do not say."""
    left_out = {"crowd_regions": 2, "photos_beyond_limit": 0}
    path = write_report(where, "plain/box", OUTCOMES, not_counted=left_out)
    [source] = Results(Reports(tables, where)).fill(tables.tables[0]).rows[0].sources
    assert source == f"measured here: {path}: 3 instances, 2 photos; do not count: 2 crowd regions"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"instances": "many"}, "number of photos or objects"),
        ({"photos": 10**400}, "number of photos or objects"),
        ({"not_counted": 3}, "'not_counted'"),
        ({"outcomes": [{**OUTCOMES[0], "iou": 7.5}]}, "list of outcomes"),
        ({"outcomes": [{**OUTCOMES[0], "iou": math.nan}]}, "list of outcomes"),
        ({"novel": "cat"}, "list of novel classes"),
    ],
)
def test_a_damaged_report_is_a_gap(
    where: Folders, tables: TableSet, changes: dict[str, Any], what: str
) -> None:
    path = write_report(where, "plain/box", OUTCOMES)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    [gap] = Results(Reports(tables, where)).fill(tables.tables[0]).rows[0].gaps
    assert gap == f"not used: {path} is no whole report, its {what} is wrong; make it again"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"asked": 3}'])
def test_what_is_no_report(where: Folders, tables: TableSet, content: str) -> None:
    write_report(where, "plain/box", OUTCOMES).write_text(content)
    [gap] = Results(Reports(tables, where)).fill(tables.tables[0]).rows[0].gaps
    assert gap.startswith(f"not used: {where.report('plain/box')}")


def test_order(where: Folders, tables: TableSet) -> None:
    """The paper has Trained above Plain; on top-1 so it is here, on IoU it is the other way."""
    categories = ["person", "car"] * 8
    many = range(16)
    write_report(where, "plain/box", [outcome(i, categories[i], 0.5 + i / 100, -1) for i in many])
    write_report(
        where, "trained/box", [outcome(i, categories[i], 0.4 + i / 100, int(i > 11)) for i in many]
    )
    table = tables.tables[0]
    results = Results(Reports(tables, where))
    [iou] = pairs(results, table, table.columns[0])
    assert (iou.better, iou.worse, iou.verdict) == ("Trained", "Plain", "opposite")
    assert iou.difference == pytest.approx(-0.1)
    assert iou.error == pytest.approx(0, abs=1e-9)
    [top1] = pairs(results, table, table.columns[1])
    assert top1.difference == 0.75
    assert top1.error == pytest.approx((16 * 0.75 * 0.25 / 15 / 16) ** 0.5)
    assert top1.verdict == "same"
    assert pairs(results, table, table.columns[2]) == []


def test_what_is_the_same_for_every_object_is_not_compared(
    where: Folders, tables: TableSet
) -> None:
    for name in ("plain/box", "trained/box"):
        write_report(where, name, [outcome(i, "person", i / 8, 0) for i in range(4)])
    table = tables.tables[0]
    assert [p.verdict for p in pairs(Results(Reports(tables, where)), table, table.columns[0])] == [
        "none"
    ]


def test_order_of_near_ones_is_open(where: Folders, tables: TableSet) -> None:
    """One object of four is named by Trained alone: 0.25 with a standard error of 0.25."""
    write_report(where, "plain/box", [outcome(i, "person", 0.5, -1) for i in range(4)])
    write_report(where, "trained/box", [outcome(i, "person", 0.5, -(i > 0)) for i in range(4)])
    table = tables.tables[0]
    [pair] = pairs(Results(Reports(tables, where)), table, table.columns[1])
    assert (pair.difference, pair.error, pair.verdict) == (0.25, 0.25, "open")


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ([{"name": "22k", "sha256": load_vocabulary("22k").fingerprint}], None),
        ([{"name": "22k", "sha256": "0"}], "vocabulary 22k of another content"),
        ([{"name": "lvis", "sha256": "0"}], "no vocabulary 22k"),
        (None, "no vocabulary 22k"),
    ],
)
def test_names_by_meaning_of_a_longer_list(
    tmp_path: Path, where: Folders, more: object, problem: str | None
) -> None:
    figure = "by_vocabulary.22k.accuracy_by_meaning"
    content = SET.replace('figure = "accuracy"', f'figure = "{figure}"')
    content = content.replace("zoom = false", 'zoom = false\nmore_vocabularies = ["22k"]')
    (tmp_path / "set.toml").write_text(content)
    tables = read_table_set(str(tmp_path / "set.toml"))
    path = write_report(
        where, "plain/box", OUTCOMES, by_vocabulary={"22k": {"accuracy_by_meaning": 0.625}}
    )
    report = json.loads(path.read_text())
    if more is not None:
        report["provenance"]["more_vocabularies"] = more
    path.write_text(json.dumps(report))
    row = Results(Reports(tables, where)).fill(tables.tables[0]).rows[0]
    assert row.cells[1].value == (0.625 if problem is None else None)
    assert [str(problem) in gap for gap in row.gaps] == ([] if problem is None else [True])
    command = report_command(tables, "plain/box", where)
    assert "--vocabulary coco-ov --vocabulary 22k --model" in command


def test_names_by_meaning_are_compared_object_by_object(tmp_path: Path, where: Folders) -> None:
    """Two of three are right by meaning with the plain model, one with the other."""
    (tmp_path / "set.toml").write_text(
        SET.replace('figure = "accuracy"', 'figure = "accuracy_by_meaning"')
    )
    tables = read_table_set(str(tmp_path / "set.toml"))
    for name, ranks in (("plain/box", (0, 0, 3)), ("trained/box", (0, 2, -1))):
        rows = [one | {"rank_by_meaning": r} for one, r in zip(OUTCOMES, ranks, strict=True)]
        write_report(where, name, rows, accuracy_by_meaning=0.5)
    [pair] = pairs(Results(Reports(tables, where)), tables.tables[0], tables.tables[0].columns[1])
    assert (pair.better, pair.worse) == ("Trained", "Plain")
    assert pair.difference == pytest.approx(-1 / 3)
