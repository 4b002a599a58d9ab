"""`ovsam benchmark` as a user types it, without a model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import ovsam
from cli.commands import Run, assert_error
from fakes import FakePredictor
from ovsam.benchmark import cold_start, machine
from ovsam.benchmark.cold_start import Start

SHORT = ("--repeats", "3", "--vocabulary", "cat, dog", "--row", "encode", "--row", "point: ")


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakePredictor]:
    """The predictors that `ovsam.load` gave, by name; "sam" has masks alone."""
    found: dict[str, FakePredictor] = {}

    def load(name: str, **_: object) -> FakePredictor:
        return found.setdefault(name, FakePredictor(model_name=name, names_objects=name != "sam"))

    monkeypatch.setattr(ovsam, "load", load, raising=False)
    monkeypatch.setattr(machine, "load_average", lambda: 0.0)
    return found


def cells(output: str) -> dict[str, list[str]]:
    """The table's cells by the name of their row."""
    rows = (re.split(r"  +", line.strip()) for line in output.splitlines())
    return {name: values for name, *values in rows if values}


def test_rows_of_one_model(run: Run, loaded: dict[str, FakePredictor]) -> None:
    result = run("benchmark", *SHORT, "--threads", "3", "--json", "run.json")
    assert result.exit_code == 0, result.output
    rows = cells(result.stdout)
    assert [name for name in rows if name in {"encode"} or name.startswith("point")] == [
        "encode",
        "point: mask",
        "point: names of cat, dog",
        "point: mask and names of cat, dog",
    ]
    assert all(re.fullmatch(r"[\d,.]+ ms", cell) for cell in rows["point: mask"])
    assert "lite on fake; threads: 3; photo: made up, 640 x 480; classes: cat, dog has 2" in (
        result.stdout
    )
    assert loaded["lite"].threads == 3
    assert "wrote run.json" in result.stdout and result.stderr == ""
    kept = json.loads(Path("run.json").read_text())
    [lite] = kept["models"]
    assert [row["name"] for row in lite["rows"]] == list(rows)[list(rows).index("encode") :][:4]
    assert {len(row["values"]) for row in lite["rows"]} == {3}
    median = sorted(lite["rows"][0]["values"])[1]
    assert rows["encode"][0] == f"{median:.1f} ms"
    assert kept["versions"]["ovsam"] and kept["machine"]["cores"] >= 1
    assert len(kept["yardstick_ms"]) == 3


def test_models_side_by_side(run: Run, loaded: dict[str, FakePredictor]) -> None:
    result = run("benchmark", *SHORT, "--model", "lite", "--model", "sam", "--photo", "photo.jpg")
    assert result.exit_code == 0, result.output
    rows = cells(result.stdout)
    assert list(loaded) == ["lite", "sam"]
    assert len(rows["encode"]) == len(rows["point: mask"]) == 5
    assert re.fullmatch(r"\d+\.\d\d", rows["encode"][4]), "its ratio to the first"
    assert rows["point: names of cat, dog"][2:] == ["-", "-", "-"], "it has no names"
    assert "photo: photo.jpg, 300 x 200" in result.stdout
    assert "with all models in it" in result.stdout


@pytest.mark.usefixtures("loaded")
def test_a_run_beside_an_earlier_one(run: Run) -> None:
    assert run("benchmark", *SHORT, "--json", "run.json").exit_code == 0
    earlier = json.loads(Path("run.json").read_text())
    for row in earlier["models"][0]["rows"]:
        row["values"] = [1e6]
    earlier["models"][0]["rows"].pop(0)
    Path("earlier.json").write_text(json.dumps(earlier))
    result = run("benchmark", *SHORT, "--against", "earlier.json")
    assert result.exit_code == 0, result.output
    rows = cells(result.stdout)
    assert rows["point: mask"][2:] == ["1,000,000 ms", "0.00"]
    assert rows["encode"][2:] == ["-", "-"], "it was not measured then"
    assert "earlier.json is of the same machine" in result.stdout
    assert "times as long as then" in result.stdout

    earlier["machine"]["processor"] = "an abacus"
    earlier["versions"]["numpy"] = "0.1"
    Path("earlier.json").write_text(json.dumps(earlier))
    result = run("benchmark", *SHORT, "--against", "earlier.json")
    assert "earlier.json is of the same" not in result.stdout
    assert "warning: ratios are not of the code alone, earlier.json differs in" in result.stderr
    assert "  processor: an abacus then, " in result.stderr
    assert "  numpy: 0.1 then, " in result.stderr


def test_cold_starts(
    run: Run, loaded: dict[str, FakePredictor], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []

    def start(arguments: list[str], _: Any) -> Start:
        assert not loaded, "a child's peak counts what its parent has held"
        started.append(arguments)
        return Start(1234.0 + len(started), 2_345_600_000)

    monkeypatch.setattr(cold_start, "start_command", start)
    result = run("benchmark", *SHORT, "--repeats", "4", "--cold")
    assert result.exit_code == 0, result.output
    rows = cells(result.stdout)
    assert len(started) == 3, "a third of the repeats, rounded up, and one that does not count"
    assert rows["cold start"][0] == "1,236 ms"
    assert rows["cold start: peak memory"][0] == "2,346 MB"


@pytest.mark.usefixtures("loaded")
def test_a_busy_machine_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "load_average", lambda: 100.0)
    result = run("benchmark", *SHORT)
    assert "warning: before this began, others kept 100.0 of" in result.stderr


def test_what_cannot_be_measured_is_refused_before_a_model_is_loaded(
    run: Run, loaded: dict[str, FakePredictor]
) -> None:
    assert run("benchmark", *SHORT, "--json", "run.json").exit_code == 0
    loaded.clear()
    Path("other.json").write_text("{}")
    for arguments, message, code in (
        (("--against", "none.json"), "Cannot compare with 'none.json': No such file", 1),
        (("--against", "other.json"), "its 'format' is not 'ovsam-benchmark-1' but None", 1),
        (("--against", "run.json", "--json", "run.json"), "it is the input itself", 1),
        (("--against", "run.json", *("--model", "a", "--model", "b")), "none of a, b", 2),
        (("--json", "run.txt"), "its name must end in .json", 2),
        (("--photo", "none.jpg"), "none.jpg", 1),
        (("--vocabulary", "coco", "--vocabulary", "coco"), "'coco' is given twice", 2),
    ):
        assert_error(run("benchmark", *arguments), message, code)
    assert run("benchmark", "--repeats", "0").exit_code == 2
    assert run("benchmark", "--threads", "0").exit_code == 2
    assert not loaded
    assert_error(run("benchmark", "--row", "speed"), "--row 'speed' is in the name of no row", 2)


@pytest.mark.usefixtures("loaded")
def test_an_interruption_ends_in_a_word(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(*_: object) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(FakePredictor, "encode", encode)
    result = run("benchmark", *SHORT, "--json", "run.json")
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")
    assert not Path("run.json").exists()
