"""Sets of tables: those that ship, and what is no set."""

from __future__ import annotations

from pathlib import Path

import pytest

from made_run import SET, written
from ovsam.errors import OvsamError
from ovsam.paper.table_set import read_table_set


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "Two models"', "title = Two", "is not TOML"),
        ("paper = [50, 40, 3000, nan]", "paper = [50]", "must have 4 figures of the paper or none"),
        ('coco = "plain/box"', 'coco = "plain/line"', "'plain/line' is of no model and measure"),
        ('after = ["plain"]', 'after = ["trained"]', "which is no model above it"),
        ('plot = ["top-1"]', 'plot = ["top-2"]', "plot names top-2, which is no column"),
        ('prompts = "box"', 'prompts = "scribble"', "measurements.box.prompts"),
        ('prompts = "box"', "", "give prompts or detections, and not both"),
        (
            'prompts = "box"',
            'detections = "boxes.json"\nlabels = "ours"\noracle_names = true',
            "oracle_names go with prompts",
        ),
        ('model = "lite"', 'model = "lite-oracle"', "which is --oracle-names"),
        ('figure = "accuracy"', 'figure = "by_class rare"', "is no figure"),
        ('gap = "not ours"', 'gaps = "not ours"', "gaps"),
        ('gap = "not ours", ', "", "a row has reports, or a gap that says why not"),
    ],
)
def test_what_is_no_set(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in SET
    with pytest.raises(OvsamError) as caught:
        read_table_set(written(tmp_path, SET.replace(old, new, 1)))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_such_set() -> None:
    with pytest.raises(OvsamError, match=r"no set of tables 'none'.*lite, paper"):
        read_table_set("none")
