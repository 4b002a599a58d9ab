"""The page that a finished run leaves."""

from __future__ import annotations

from pathlib import Path

from ovsam.formats.skipped import Skipped
from ovsam.train.logger import RunLogger
from ovsam.train.report import MOST_LISTED, REPORT, write_report


def test_what_was_left_out_is_told_with_its_reason(tmp_path: Path) -> None:
    logger = RunLogger(tmp_path, ["fit"])
    logger.begin()
    for step in (1, 2):
        logger.write(step, 0.1, {"fit": 1.0}, 2.0, 1.0)
    recipe = {"model": "lite", "stage": "joint"}
    write_report(tmp_path, recipe, [])
    assert "could not be used" not in (tmp_path / REPORT).read_text()
    write_report(tmp_path, recipe, [], {"coco.json": 1200, "other.json": 0})
    said = "## Crowd regions (`iscrowd` 1), which were left out\n\n- `coco.json`: 1,200\n"
    assert said in (tmp_path / REPORT).read_text()
    many = [Skipped("b.jpg", f"Annotation {i}: no mask.", True) for i in range(MOST_LISTED + 5)]
    write_report(tmp_path, recipe, [Skipped("a.jpg", "It is cut short."), *many])
    text = (tmp_path / REPORT).read_text()
    assert "## Photos that could not be used: 1\n\n- `a.jpg`: It is cut short.\n" in text
    assert f"## Annotations that could not be used: {MOST_LISTED + 5}" in text
    assert text.count("- `b.jpg`: Annotation") == MOST_LISTED
    assert text.rstrip().endswith("- … and 5 more")
