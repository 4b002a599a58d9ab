"""Reports as they are read, those of older versions among them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from made_run import SET, folders, outcome, write_report, written
from ovsam.paper.reports import Reports, value_of
from ovsam.paper.table_set import read_table_set

OUTCOMES = [outcome(1, "person", 0.5, 0), outcome(2, "person", 0.7, 3)]


def test_a_report_that_says_asked_is_read(tmp_path: Path) -> None:
    """So older versions call where it is from."""
    where, tables = folders(tmp_path), read_table_set(written(tmp_path))
    path = write_report(where, "plain/box", OUTCOMES)
    content = json.loads(path.read_text())
    content["asked"] = content.pop("provenance")
    path.write_text(json.dumps(content))
    report = Reports(tables, where).read("plain/box")
    assert isinstance(report, dict)
    assert report["iou"] == pytest.approx(0.6)


@pytest.mark.parametrize("wanted", [False, True])
def test_an_oracle_s_names_are_not_the_model_s(tmp_path: Path, wanted: bool) -> None:
    where = folders(tmp_path)
    changed = SET.replace("zoom = false", f"zoom = false\noracle_names = {str(wanted).lower()}")
    tables = read_table_set(written(tmp_path, changed))
    path = write_report(where, "plain/box", OUTCOMES, oracle_names=not wanted)
    reports = Reports(tables, where)
    reason = f"was made with oracle names {not wanted} instead of {wanted}"
    assert reason in str(reports.read("plain/box"))
    assert reports.unusable() == ["plain/box"]
    write_report(where, "plain/box", OUTCOMES, oracle_names=wanted)
    assert isinstance(Reports(tables, where).read("plain/box"), dict), path


def test_values() -> None:
    report = {
        "a": {"b": 0.25},
        "by_class": {"person": 0.5, "car": 0.1, "cat": 0.8, "stop sign": 0.9},
    }
    assert value_of(report, "a.b") == 0.25
    assert value_of(report, "a") is None
    assert value_of(report, "a.b.c") is None
    assert value_of({"a": float("nan")}, "a") is None
    assert value_of({"a": 10**400}, "a") is None
    assert value_of({"by_class": {"person": 10**400, "car": 0.1}}, "by_class base") == 0.1
    assert value_of(report, "by_class base") == pytest.approx(0.3)  # a stop sign is neither
    assert value_of(report, "by_class novel") == pytest.approx(0.8)
    assert value_of({}, "by_class base") is None


@pytest.mark.parametrize("value", [None, True, False])
@pytest.mark.parametrize("setting", ["prior", "clean"])
def test_tables_want_reports_with_the_defaults(
    tmp_path: Path, setting: str, value: bool | None
) -> None:
    where, tables = folders(tmp_path), read_table_set(written(tmp_path))
    path = write_report(where, "plain/box", OUTCOMES)
    content = json.loads(path.read_text())
    if value is not None:
        content["provenance"][setting] = value
    path.write_text(json.dumps(content))
    report = Reports(tables, where).read("plain/box")
    if value is False:
        assert f"was made with {setting} False instead of True; make it again" in str(report)
    else:
        assert isinstance(report, dict)
