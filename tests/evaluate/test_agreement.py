"""Two models asked the same: how alike their masks are, on photos that are drawn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from fakes import FakePredictor
from ovsam.data.dataset import DataSet, read_data_set
from ovsam.errors import AnnotationError, OutputError
from ovsam.evaluate.agreement import AgreementReport, agreement
from ovsam.evaluate.kinds import PromptKind
from ovsam.evaluate.pair import load_pair
from ovsam.jobs.processes import Workers
from ovsam.jobs.run import Job
from ovsam.predictor.predictor import Predictor
from ovsam.structures import Prompt
from ovsam.vocabulary.load import load_vocabulary
from photo_folder import HEIGHT, WIDTH, rectangle, rle, spoil, write_photo
from tiny_model import tiny_model, tiny_predictor

LARGE, SMALL = (10, 10, 50, 50), (60, 10, 80, 20)
NARROW = (0, 0, 20, 60)


def write_regions(folder: Path, stem: str, *boxes: tuple[int, int, int, int]) -> None:
    """A photo in SA-1B's layout, of which neither a size nor an area is annotated."""
    masks = [rectangle(*box, size_hw=(HEIGHT, WIDTH)) for box in boxes]
    write_photo(folder / f"{stem}.jpg", masks)
    rows = [
        {"bbox": [x0, y0, x1 - x0, y1 - y0], "segmentation": rle(x0, y0, x1, y1)}
        for x0, y0, x1, y1 in boxes
    ]
    (folder / f"{stem}.json").write_text(json.dumps({"annotations": rows}))


def add_rows(file: Path, *rows: dict[str, Any]) -> None:
    content = json.loads(file.read_text())
    content["annotations"] += rows
    file.write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two photos: sa_1 with a small and a large object, sa_2 with a narrow one."""
    write_regions(tmp_path / "regions", "sa_1", SMALL, LARGE)
    write_regions(tmp_path / "regions", "sa_2", NARROW)
    return tmp_path / "regions"


class Halved(FakePredictor):
    """Finds the left half of what its sibling finds in a box."""

    def _mask(self, size_hw: tuple[int, int], prompt: Prompt) -> NDArray[np.bool_]:
        mask = super()._mask(size_hw, prompt)
        assert prompt.box_xyxy is not None
        mask[:, int(prompt.box_xyxy[[0, 2]].mean()) :] = False
        return mask


class Blind(FakePredictor):
    """Finds nothing."""

    def _mask(self, size_hw: tuple[int, int], prompt: Prompt) -> NDArray[np.bool_]:  # noqa: ARG002
        return np.zeros(size_hw, np.bool_)


def compared(
    student: FakePredictor, teacher: FakePredictor, data_set: DataSet, **options: Any
) -> AgreementReport:
    options = {"prompts": "box", **options}
    return agreement(student.as_predictor(), teacher.as_predictor(), data_set, **options)


def boxes(prompts: Sequence[Prompt]) -> list[tuple[float, ...]]:
    return [tuple(p.box_xyxy.tolist()) for p in prompts if p.box_xyxy is not None]


@pytest.mark.parametrize("zoom", [False, True])
@pytest.mark.parametrize("prompts", get_args(PromptKind))
def test_a_model_agrees_with_itself(folder: Path, prompts: Any, zoom: bool) -> None:
    model, data_set = tiny_predictor(zoom=zoom), read_data_set(folder)
    report = agreement(model, model, data_set, prompts=prompts)
    assert report.iou.tolist() == [1.0, 1.0, 1.0]
    assert report.zoom == (zoom, zoom)


def test_a_model_of_another_seed_does_not_agree(folder: Path) -> None:
    student, teacher = tiny_predictor(), tiny_predictor(model=tiny_model(seed=13))
    report = agreement(student, teacher, read_data_set(folder), prompts="box")
    assert 0 <= report.mean < 1
    other_way = agreement(teacher, student, read_data_set(folder), prompts="box")
    assert other_way.iou.tolist() == report.iou.tolist()


def test_iou_by_hand(folder: Path) -> None:
    """A half beside the whole is 0.5; a disk of 3 beside one of 6 pixels is a quarter."""
    ticks: list[tuple[int, int]] = []
    report = compared(
        Halved(),
        FakePredictor(),
        read_data_set(folder),
        job=Job(progress=lambda done, total: ticks.append((done, total))),
    )
    assert report.iou.dtype == np.float64
    assert report.iou.tolist() == [0.5, 0.5, 0.5]
    assert (report.photos, report.skipped) == (2, 0)
    assert ticks == [(1, 2), (2, 2)]
    disks = compared(
        FakePredictor(radius=3), FakePredictor(radius=6), read_data_set(folder), prompts="point"
    )
    assert disks.iou == pytest.approx([0.25] * 3, abs=0.05)


def test_first_names_and_their_scores(folder: Path) -> None:
    """Of the three objects, two of one photo, one gets another name: the mask is the same."""
    words = load_vocabulary("cat, dog")
    student, teacher = FakePredictor(answers=["cat", "dog"]), FakePredictor(answers=["cat", "cat"])
    report = compared(student, teacher, read_data_set(folder), vocabularies=[words, words])
    assert report.iou.tolist() == [1, 1, 1]
    for names in report.names:
        assert names.same == pytest.approx(2 / 3)
        assert names.score_difference == 0
    assert report.as_dict()["names"] == [asdict(each) for each in report.names]


def test_clicks_are_those_that_the_teacher_needs(folder: Path) -> None:
    """Both get the last of them with all before: a disk is never the annotated rectangle."""
    student, teacher = FakePredictor(radius=4), FakePredictor(radius=6)
    report = compared(student, teacher, read_data_set(folder), prompts="point", clicks=3)
    assert report.clicks == 3 and report.as_dict()["prompts"] == "3 clicks"
    assert [len(prompt.points_xy) for prompt in student.prompts] == [3, 3, 3]
    assert len(teacher.prompts) == 3 * 3 + 3


def test_two_empty_masks_count_as_no_agreement(folder: Path) -> None:
    assert compared(Blind(), Blind(), read_data_set(folder)).iou.tolist() == [0, 0, 0]


def test_both_are_asked_the_same_and_encode_a_photo_once(folder: Path) -> None:
    student, teacher = FakePredictor(image_size=45), FakePredictor(image_size=90)
    compared(student, teacher, read_data_set(folder), prompts="point")
    points = [[p.points_xy.tolist() for p in fake.prompts] for fake in (student, teacher)]
    assert points[0] == points[1]
    assert len(points[0]) == 3
    assert (student.encode_calls, teacher.encode_calls) == (2, 2)


@pytest.mark.parametrize("kind", ["noisy-box", "random-point"])
def test_chance_is_the_same_in_every_run_and_for_both(folder: Path, kind: str) -> None:
    fakes = [FakePredictor() for _ in range(4)]
    for student, teacher in (fakes[:2], fakes[2:]):
        compared(student, teacher, read_data_set(folder), prompts=kind)
    asked = [[f"{p.box_xyxy} {p.points_xy}" for p in fake.prompts] for fake in fakes]
    assert asked[0] == asked[1] == asked[2] == asked[3]
    assert boxes(fakes[0].prompts) != [SMALL, LARGE, NARROW]


def test_the_largest_objects_and_the_first_photos(folder: Path) -> None:
    student, data_set = FakePredictor(), read_data_set(folder)
    compared(student, FakePredictor(), data_set, objects=1)
    assert boxes(student.prompts) == [LARGE, NARROW]
    student.prompts.clear()
    report = compared(student, FakePredictor(), data_set, limit=1)
    assert boxes(student.prompts) == [SMALL, LARGE]
    assert report.photos == 1


def test_an_annotated_area_goes_before_that_of_the_box(folder: Path) -> None:
    bbox = [0, 0, 5, 5]
    add_rows(folder / "sa_2.json", {"bbox": bbox, "area": 5000, "segmentation": rle(0, 0, 5, 5)})
    student = FakePredictor()
    compared(student, FakePredictor(), read_data_set(folder), objects=1)
    assert boxes(student.prompts) == [LARGE, (0, 0, 5, 5)]


def test_a_photo_that_cannot_be_read_is_skipped_and_counted(folder: Path) -> None:
    spoil(folder / "sa_1.jpg")
    ticks: list[tuple[int, int]] = []
    report = compared(
        FakePredictor(),
        FakePredictor(),
        read_data_set(folder),
        limit=1,
        job=Job(progress=lambda done, total: ticks.append((done, total))),
    )
    assert (report.photos, len(report.iou), report.skipped) == (1, 1, 1)
    assert "sa_1.jpg" in report.problems[0]
    assert ticks == [(0, 1), (1, 1)], "what is skipped is made up for"


def test_annotations_that_cannot_be_read_are_skipped_and_counted(folder: Path) -> None:
    spoil(folder / "sa_1.json")
    add_rows(folder / "sa_2.json", {"bbox": "wide", "segmentation": rle(0, 0, 5, 5)})
    report = compared(FakePredictor(), FakePredictor(), read_data_set(folder))
    assert (report.photos, len(report.iou), report.skipped) == (1, 1, 2)


def test_objects_that_cannot_be_asked_for_are_skipped_and_counted(folder: Path) -> None:
    add_rows(
        folder / "sa_2.json",
        {"bbox": [0, 0, 5, 5], "segmentation": {"size": [HEIGHT, WIDTH], "counts": [3]}},
        {"bbox": [0, 0, 5, 5], "segmentation": rle(0, 0, 0, 0)},
        {"bbox": [900, 0, 5, 5], "segmentation": rle(0, 0, 5, 5)},
    )
    data_set = read_data_set(folder)
    by_point = compared(FakePredictor(), FakePredictor(), data_set, prompts="point")
    assert (len(by_point.iou), by_point.skipped) == (4, 2), "a malformed mask and an empty one"
    by_box = compared(FakePredictor(), FakePredictor(), data_set)
    assert (len(by_box.iou), by_box.skipped) == (5, 1), "a box beside the photo"
    assert "sa_2.jpg" in by_box.problems[0] and "outside the photo" in by_box.problems[0]


def test_a_photo_of_another_size_is_skipped_and_counted(folder: Path) -> None:
    content = json.loads((folder / "sa_1.json").read_text())
    content["image"] = {"width": WIDTH + 1, "height": HEIGHT}
    (folder / "sa_1.json").write_text(json.dumps(content))
    report = compared(FakePredictor(), FakePredictor(), read_data_set(folder))
    assert (report.photos, report.skipped) == (1, 1)
    assert f"is {WIDTH} x {HEIGHT} pixels" in report.problems[0]


def test_what_the_journal_holds_is_not_done_again(folder: Path, tmp_path: Path) -> None:
    spoil(folder / "sa_1.jpg")
    data_set, reports, calls = read_data_set(folder), [], []
    for limit in (1, None, 1):
        student = Halved()
        reports.append(
            compared(
                student, FakePredictor(), data_set, limit=limit, job=Job(tmp_path / "run.jsonl")
            ).as_dict()
        )
        calls.append(student.encode_calls)
    assert calls == [1, 0, 0], "what could not be read is kept, too"
    assert reports[0] == reports[1] == reports[2]
    assert reports[0]["skipped"] == 1
    with pytest.raises(OutputError, match="begun with weights 'f00d f00d', not 'f00d beef'"):
        compared(
            Halved(),
            FakePredictor(fingerprint="beef"),
            data_set,
            job=Job(tmp_path / "run.jsonl"),
        )


def of_radius_3() -> Predictor:
    return FakePredictor(radius=3).as_predictor()


def of_radius_6() -> Predictor:
    return FakePredictor(radius=6).as_predictor()


def test_workers_give_the_digits_of_one_process(folder: Path) -> None:
    data_set = read_data_set(folder)
    load = partial(load_pair, of_radius_3, of_radius_6)
    shared, alone = (
        agreement(of_radius_3(), of_radius_6(), data_set, prompts="point", job=Job(workers=workers))
        for workers in (Workers(load, 1), None)
    )
    assert shared.iou.tolist() == alone.iou.tolist()


def test_nothing_left(folder: Path, tmp_path: Path) -> None:
    spoil(folder / "sa_1.jpg")
    spoil(folder / "sa_2.json")
    with pytest.raises(AnnotationError, match=r"no object to compare.*2 problems.*sa_1\.jpg"):
        compared(FakePredictor(), FakePredictor(), read_data_set(folder))
    write_photo(tmp_path / "classes/cat/1.jpg")
    with pytest.raises(AnnotationError, match="no object to compare"):
        compared(FakePredictor(), FakePredictor(), read_data_set(tmp_path / "classes"))


def test_json() -> None:
    iou = np.array([0.2, 0.5, 0.85, 1.0])
    report = AgreementReport("small", "big", "box", (True, False), 2, 1.234, iou, ("gone",))
    content = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert set(content.pop("not_counted").values()) == {0}
    assert content == {
        "instances": 4,
        "iou": pytest.approx(0.6375),
        "iou_median": pytest.approx(0.675),
        "iou_minimum": 0.2,
        "share50": 0.75,
        "share75": 0.5,
        "share85": 0.5,
        "share95": 0.25,
        "student": "small",
        "teacher": "big",
        "prompts": "box",
        "names": [],
        "zoom": {"student": True, "teacher": False},
        "photos": 2,
        "skipped": 1,
        "problems": ["gone"],
        "seconds": 1.23,
    }
