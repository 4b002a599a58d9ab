"""Scores beside shares of right names, binned by hand; and the plot of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from ovsam import extras
from ovsam.errors import OutputError, OvsamError
from ovsam.evaluate.calibration import Bin, Calibration, calibrate, draw_reliability

# Two of 0.9, one of them right (off by 0.4); 0.2, which ends the third bin, wrong; 1.0 right.
FOUR = ([0.9, 0.2, 0.9, 1.0], [True, False, False, True])


def test_four_by_hand() -> None:
    calibration = calibrate(*FOUR)
    assert len(calibration.bins) == 15
    filled = {i: part for i, part in enumerate(calibration.bins) if part.instances}
    assert filled == {
        2: Bin(2 / 15, 0.2, 1, 0.2, 0.0),
        13: Bin(13 / 15, 14 / 15, 2, 0.9, 0.5),
        14: Bin(14 / 15, 1.0, 1, 1.0, 1.0),
    }
    assert calibration.error == pytest.approx((2 * 0.4 + 0.2 + 0) / 4)
    assert calibration.instances == 4


def test_bins_touch_and_take_every_score() -> None:
    calibration = calibrate([i / 30 for i in range(31)], [True] * 31)
    assert [part.instances for part in calibration.bins] == [3, *[2] * 14], "0 is in the first"
    assert calibration.bins[0].low == 0
    assert calibration.bins[-1].high == 1
    for one, following in zip(calibration.bins, calibration.bins[1:], strict=False):
        assert one.high == following.low


def test_scores_that_can_be_trusted_have_no_error() -> None:
    assert calibrate([0.75] * 4, [True, True, True, False]).error == 0


def test_nothing() -> None:
    assert calibrate([], []).error is None
    assert calibrate([], []).bins[3] == Bin(3 / 15, 4 / 15, 0, None, None)


def test_json() -> None:
    content = calibrate(*FOUR, count=2).as_dict()
    assert json.loads(json.dumps(content, allow_nan=False)) == {
        "ece": pytest.approx((0.2 + 3 * (2.8 / 3 - 2 / 3)) / 4),
        "bins": [
            {"low": 0, "high": 0.5, "instances": 1, "score": 0.2, "accuracy": 0},
            {
                "low": 0.5,
                "high": 1,
                "instances": 3,
                "score": pytest.approx(2.8 / 3),
                "accuracy": pytest.approx(2 / 3),
            },
        ],
    }


def test_the_plot_is_the_same_each_time(tmp_path: Path) -> None:
    one, other = tmp_path / "one.png", tmp_path / "other.png"
    for path in (one, other):
        draw_reliability(calibrate(*FOUR), "lite, [box] prompts", path)
    assert one.read_bytes() == other.read_bytes()
    with Image.open(one) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 300
    draw_reliability(calibrate([0.9], [True]), "lite, [box] prompts", other)
    assert one.read_bytes() != other.read_bytes()


def test_a_plot_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="Cannot write"):
        draw_reliability(Calibration(()), "nothing", tmp_path / "no" / "one.png")


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "_is_installed", lambda module: module != "matplotlib")
    with pytest.raises(OvsamError, match=r"The reliability plot needs matplotlib, .*\[train\]'"):
        draw_reliability(calibrate(*FOUR), "lite", tmp_path / "one.png")
