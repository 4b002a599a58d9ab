from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmark.made_run import MACHINE, made_model, made_run
from ovsam.benchmark.record import Row, counterparts, differences, read_run
from ovsam.errors import OvsamError, UsageError

LITE = made_model("lite", {"load": [3, 1, 2], "encode": [20]})


def test_median_and_percentile() -> None:
    row = Row("load", "ms", [*range(1, 11), 1000.0])
    assert (row.median, row.percentile90) == (6, 10)


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = made_run(LITE, made_model("sam", {"load": [7], "cold start": [100]}))
    path = tmp_path / "run.json"
    path.write_bytes(run.to_json())
    assert read_run(path) == run
    assert run.row_names == ["load", "encode", "cold start"]
    row = run.models[0].row("load")
    assert row is not None and row.values == [3, 1, 2]
    assert run.models[1].row("encode") is None


def broken(**changes: Any) -> str:
    return json.dumps({**json.loads(made_run(LITE).to_json()), **changes})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no json", "Expecting value"),
        ("[]", "it: "),
        ('{"format": "coco"}', "its 'format' is not 'ovsam-benchmark-1' but 'coco'"),
        (broken(models=[]), "models: "),
        (broken(threads="many"), "threads: "),
        (broken(yardstick_ms=[-1]), "yardstick_ms.0: "),
    ],
)
def test_what_is_no_run_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(OvsamError) as refused:
        read_run(path)
    assert str(refused.value).startswith(f"Cannot compare with {str(path)!r}: {reason}")
    assert "\n" not in str(refused.value)


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(OvsamError, match="No such file or directory"):
        read_run(tmp_path / "none.json")


def test_models_are_compared_by_name_or_alone() -> None:
    other = made_model("sam", {"load": [1]})
    assert counterparts(["lite"], made_run(other)) == [other]
    assert counterparts(["x", "lite"], made_run(other, LITE)) == [None, LITE]
    assert counterparts(["sam", "sam"], made_run(other)) == [other, other]
    with pytest.raises(UsageError, match=r"has sam, lite, and none of x\. Give --model one of"):
        counterparts(["x"], made_run(other, LITE))


def test_what_differs_is_named() -> None:
    run = made_run(LITE)
    assert differences(run, run) == []
    faster = made_run(made_model("lite", {"encode": [1]}))
    assert differences(run, faster) == [], "times are what is compared"
    elsewhere = replace(
        run,
        machine=replace(MACHINE, processor="Fast 9", instruction_sets=("AVX",), memory_bytes=None),
        versions={"ovsam": "1.1", "numpy": "2.0", "torch": "2.9"},
        threads=1,
        photo="cat.png, 3 x 4",
        vocabularies={"coco": 81, "more": 1},
        models=[replace(LITE, engine="other", fingerprint="beef")],
    )
    assert differences(elsewhere, run) == [
        "processor: Slow 1 then, Fast 9 now",
        "instruction sets: AVX, FMA then, AVX now",
        "memory: 8.0 GB then, none now",
        "threads: 2 then, 1 now",
        "ovsam: 1.0 then, 1.1 now",
        "torch: none then, 2.9 now",
        "photo: made up, 640 x 480 then, cat.png, 3 x 4 now",
        "classes of coco: 80 then, 81 now",
        "engine of lite: fake then, other now",
        "weights of lite: others now than then",
    ]
    assert differences(made_run(made_model("sam", {"load": [1]})), run) == [
        "model: lite then, sam now"
    ]
