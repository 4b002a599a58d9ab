"""Which objects are shown, worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from made_run import folders, outcome, write_report
from ovsam.errors import OvsamError
from ovsam.paper.cases import Answers, choose, read_answers

# Photo 1 has the objects 1 and 2, photo 2 has 3 and 4, photo 3 has 5 and 6.
PHOTOS = {1: 1, 2: 1, 3: 2, 4: 2, 5: 3, 6: 3}


def answers(root: Path, name: str, ious: list[float], named: str) -> Answers:
    """Objects 1, 2, ... of the class person; `named` has an x for each that is named right."""
    outcomes = [
        outcome(number, "person", iou, 0 if right == "x" else -1)
        for number, (iou, right) in enumerate(zip(ious, named, strict=True), start=1)
    ]
    return read_answers(write_report(folders(root), name, outcomes))


def test_cases(tmp_path: Path) -> None:
    one = answers(tmp_path, "plain/box", [0.9, 0.9, 0.9, 0.9, 0.9, 0.2], "xxxxxx")
    other = answers(tmp_path, "trained/box", [0.8, 0.7, 0.95, 0.1, 0.3, 0.4], "xx-xx-")
    cases = {case.title: case.annotation_ids for case in choose([one, other], PHOTOS, each=2)}
    # The third is the best, but named wrong; the first two are of one photo.
    assert cases.pop("best: named right, highest IoU") == (1, 5)
    assert cases.pop("worst: lowest IoU") == (4, 6)
    rest = [key for keys in cases.values() for key in keys]
    assert sorted(rest) == [2, 3], "each once"
    assert cases["at random"] in ((2, 3), (3, 2))


def test_disagreement(tmp_path: Path) -> None:
    one = answers(tmp_path, "plain/box", [0.9, 0.9, 0.9, 0.5, 0.9, 0.9], "xxxxxx")
    other = answers(tmp_path, "trained/box", [0.9, 0.9, 0.9, 0.8, 0.9, 0.9], "xxxx--")
    by_title = {case.title: case.annotation_ids for case in choose([one, other], PHOTOS, each=1)}
    [unlike] = by_title["other names, at random"]
    assert unlike in (5, 6)
    shown = by_title.get("other masks: IoU farthest apart", ())
    assert (4 in shown) != (4 in (*by_title["worst: lowest IoU"], *by_title["at random"]))
    alike = choose([one, one], PHOTOS, each=1)
    assert [case.title.partition(":")[0] for case in alike] == ["best", "worst", "at random"]


def test_random_is_the_same_each_time_and_not_the_first(tmp_path: Path) -> None:
    many = [0.5] * 40
    one = answers(tmp_path, "plain/box", many, "-" * 40)
    other = answers(tmp_path, "trained/box", many, "-" * 40)
    photos = {number: number for number in range(1, 41)}
    [_, first] = choose([one, other], photos, each=6)
    [_, second] = choose([one, other], photos, each=6)
    assert first == second
    assert first.title == "at random"
    assert list(first.annotation_ids) != sorted(first.annotation_ids)


def test_nothing_in_common(tmp_path: Path) -> None:
    one = answers(tmp_path, "plain/box", [0.5], "x")
    with pytest.raises(OvsamError, match="no object in common"):
        choose([one, one], {2: 1}, each=1)


def test_label(tmp_path: Path) -> None:
    assert answers(tmp_path, "plain/box", [0.5], "x").label == "lite: box"
    path = tmp_path / "run" / "reports" / "trained" / "box.json"
    answers(tmp_path, "trained/box", [0.5], "x")
    path.write_text(json.dumps({**json.loads(path.read_text()), "zoom": True}))
    assert read_answers(path).label == "trained/lite: box, zoom"


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"outcomes": []}', '{"outcomes": [{"annotation_id": 1}]}']
)
def test_what_is_no_report(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(OvsamError, match=r"a\.json' is no report with the outcome of each object"):
        read_answers(tmp_path / "a.json")


def test_report_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OvsamError, match="Cannot read the report"):
        read_answers(tmp_path / "none.json")
