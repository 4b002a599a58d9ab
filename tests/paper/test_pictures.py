"""Pictures side by side: what is asked, what is drawn, and what they are of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coco_rows import row
from fakes import FakePredictor
from made_run import folders, outcome, write_report
from ovsam.errors import OvsamError
from ovsam.formats.coco import parse_annotations
from ovsam.paper.cases import Case, read_answers
from ovsam.paper.close_up import CELL, CloseUp
from ovsam.paper.pictures import (
    answer_again,
    draw_side_by_side,
    read_picture,
    write_picture,
)
from ovsam.structures import Prompt
from photo_folder import rle, write_photo

BOX = (30, 10, 50, 40)  # in a photo of 90 x 60
CONTENT = {
    "images": [{"id": 1, "file_name": "1.png", "width": 90, "height": 60}],
    "categories": [{"id": 1, "name": "person"}],
    "annotations": [row(7, 1, 1, [30, 10, 20, 30], rle(*BOX))],
}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    write_photo(tmp_path / "1.png")  # all of it dark
    return tmp_path


def test_a_model_answers_as_its_report_was_made(images: Path, tmp_path: Path) -> None:
    where = folders(tmp_path)
    report: dict[str, Any] = {"prompts": "point-true-box"}
    path = write_report(where, "plain/box", [outcome(7, "person", 0.13, 0)], **report)
    fake = FakePredictor(radius=5, answers=("person",))
    ticks: list[tuple[int, int]] = []
    found = answer_again(
        fake.as_predictor(),
        read_answers(path),
        parse_annotations(CONTENT),
        [7],
        images,
        progress=lambda *tick: ticks.append(tick),
    )
    [answer] = found.values()
    assert answer.prompt.box_xyxy is None
    assert np.array_equal(np.array(fake.named), [BOX])
    assert answer.correct
    assert (answer.name, answer.score) == ("person", 0.5)
    assert answer.iou == pytest.approx(np.pi * 25 / 600, abs=0.02)
    assert ticks == [(1, 1)]


def test_a_model_that_answers_otherwise_is_refused(images: Path, tmp_path: Path) -> None:
    path = write_report(folders(tmp_path), "plain/box", [outcome(7, "person", 0.9, 0)])
    fake = FakePredictor(answers=("person",)).as_predictor()
    with pytest.raises(
        OvsamError, match=r"was not measured with 'lite' as it is now.* by 0\.10 on"
    ):
        answer_again(
            fake,
            read_answers(path),
            parse_annotations(CONTENT),
            [7],
            images,
        )


def test_cells_show_the_square_around_the_object(images: Path, tmp_path: Path) -> None:
    annotations = parse_annotations(CONTENT)
    path = write_report(folders(tmp_path), "plain/box", [outcome(7, "person", 1, 0)])
    fake = FakePredictor(answers=("person",))
    found = answer_again(fake.as_predictor(), read_answers(path), annotations, [7], images)
    empty = {7: replace(found[7], mask=np.zeros_like(found[7].mask), correct=False)}
    sheet = draw_side_by_side(
        [Case("at random", (7,))],
        annotations,
        images,
        [("first", found), ("second", empty)],
        {7: "person"},
    )
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] == 3 * CELL + 2 * 6
    top = sheet.shape[0] - CELL - 22  # of the cells
    cells = [sheet[top : top + CELL, x : x + CELL] for x in (0, CELL + 6, 2 * (CELL + 6))]
    # The square is 90 wide, as all of the photo: 15 of grey above it, and below.
    scale = CELL / 90
    assert (cells[0][int(5 * scale), CELL // 2] == 235).all()
    inside = int((15 + 25) * scale), int(40 * scale)
    outside = int((15 + 25) * scale), int(70 * scale)
    for cell in cells[:2]:
        assert cell[inside][0] > 100 > cell[inside][2], "tinted orange"
        assert (abs(cell[outside].astype(int) - 40) < 5).all(), "the photo"
    assert (abs(cells[2][inside].astype(int) - 40) < 5).all(), "no mask"
    edges = [(np.abs(cell.astype(int) - cells[0]).sum(-1) > 60).any() for cell in cells[1:]]
    assert edges == [True, True], "the prompt's box"


@pytest.mark.parametrize("out", [5, 300, 1e6])
def test_of_a_box_that_sticks_out_the_part_in_the_photo_is_shown(images: Path, out: float) -> None:
    annotations = parse_annotations(CONTENT)
    cells = []
    for box in ((0.0, 5.0, 40.0, 60.0), (-out, 5.0, 40.0, 60 + 3 * out)):
        row = CloseUp(
            annotations.photos[0], replace(annotations.instances[0], box_xyxy=box), images
        )
        cells.append(row.draw(row.mask, Prompt(box_xyxy=box)))
    assert (cells[0] == cells[1]).all()


def test_picture_is_of_its_reports(tmp_path: Path) -> None:
    reports = [tmp_path / "a.json", tmp_path / "b.json"]
    for path in reports:
        path.write_text(path.name)
    picture = tmp_path / "both.png"
    content, gap = read_picture(picture, reports)
    assert (content, gap) == (None, f"{picture} is missing")
    write_picture(picture, np.zeros((4, 6, 3), np.uint8), reports)
    assert read_picture(picture, reports) == (picture.read_bytes(), "")
    assert read_picture(picture, reports[::-1])[0] is None
    reports[0].write_text("made again")
    content, gap = read_picture(picture, reports)
    assert (content, gap) == (None, f"{picture} was drawn from other reports; make it again")
    picture.write_bytes(b"no picture")
    assert "cannot be read" in read_picture(picture, reports)[1]
