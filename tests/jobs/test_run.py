"""Runs that are killed go on, and several processes give the digits of one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fakes import FakePredictor
from jobs.broken import Dying, cannot_load
from ovsam.errors import CheckpointError, OutputError, OvsamError, PhotoError
from ovsam.evaluate.clicks import evaluate_clicks
from ovsam.evaluate.detection_plan import plan
from ovsam.evaluate.detections import evaluate_detections
from ovsam.evaluate.instances import Report, evaluate
from ovsam.evaluate.kinds import LabelSource
from ovsam.evaluate.photos import chosen_photos
from ovsam.formats.annotations import Annotations
from ovsam.formats.coco import read_annotations
from ovsam.formats.coco_results import Detection, Detections
from ovsam.formats.ground_truth import read_ground_truth
from ovsam.jobs.processes import Workers
from ovsam.jobs.run import Job
from tiny_model import tiny_predictor

SOURCE, TESTS = Path(__file__).parents[2] / "src", Path(__file__).parents[1]
PHOTOS = 30
VOCABULARY = "cat, dog, coffee mug"  # of the fake predictor


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`PHOTOS` photos of noise, 60 x 40, each with one to three boxes; truth.json."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    annotations: list[dict[str, Any]] = []
    for photo in range(PHOTOS):
        pixels = rng.integers(0, 256, (40, 60, 3), np.uint8)
        Image.fromarray(pixels).save(root / f"{photo}.png")
        for _ in range(rng.integers(1, 4)):
            x, y, w, h = (int(v) for v in (*rng.integers(0, 25, 2), *rng.integers(5, 15, 2)))
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": photo,
                    "category_id": int(rng.integers(1, 3)),
                    "bbox": [x, y, w, h],
                    "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
                }
            )
    images = [
        {"id": photo, "file_name": f"{photo}.png", "width": 60, "height": 40}
        for photo in range(PHOTOS)
    ]
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "truth.json").write_text(json.dumps(content))
    return root


@pytest.fixture(scope="module")
def annotated(folder: Path) -> Annotations:
    return read_annotations(folder / "truth.json")


def digits(report: Any) -> dict[str, Any]:
    """A report's figures: all but the time it took, and what a file of it says it was made from."""
    content = report if isinstance(report, dict) else report.as_dict()
    return {key: value for key, value in content.items() if key not in ("seconds", "provenance")}


HELD = """
import os
import time
import ovsam
from fakes import FakePredictor
from ovsam.vocabulary.load import load_vocabulary

PARENT = os.getppid()
JOURNAL = os.environ.get("HELD_AT_FOUR_LINES")

class Held(FakePredictor):
    def encode(self, image):
        while JOURNAL and held() and os.getppid() == PARENT:
            time.sleep(0.01)
        return super().encode(image)

def held():
    return os.path.exists(JOURNAL) and open(JOURNAL).read().count("\\n") >= 4

def load(name, *, vocabulary, device, zoom, clean):
    return Held(vocabulary=vocabulary, radius=6.0)

if __name__ == "__main__":
    ovsam.load = load
    from ovsam.cli.app import app
    app()
"""


def command(folder: Path, at: Path, *more: str, held: bool = False) -> subprocess.Popen[str]:
    """`ovsam evaluate` as a process of its own, with a predictor that may wait to be killed."""
    journal = {"HELD_AT_FOUR_LINES": str(at / "run.jsonl")} if held else {}
    (at / "held.py").write_text(HELD)
    return subprocess.Popen(
        [
            *(sys.executable, str(at / "held.py"), "evaluate", str(folder / "truth.json")),
            *("--images", str(folder), "--prompts", "random-point", "--vocabulary", VOCABULARY),
            *("--journal", str(at / "run.jsonl"), "--json", str(at / "report.json"), *more),
        ],
        env={**os.environ, "PYTHONPATH": f"{SOURCE}{os.pathsep}{TESTS}", **journal},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.long
@pytest.mark.parametrize("more", [(), ("--workers", "2")], ids=["alone", "workers"])
def test_a_run_that_is_killed_goes_on_to_the_same_report(
    folder: Path, annotated: Annotations, tmp_path: Path, more: tuple[str, ...]
) -> None:
    process = command(folder, tmp_path, *more, held=True)
    while len(lines(tmp_path / "run.jsonl")) < 4:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()  # which waits for the workers, too: they hold its pipes
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "report.json").exists()
    done = lines(tmp_path / "run.jsonl")
    assert 4 <= len(done) < PHOTOS
    with (tmp_path / "run.jsonl").open("a") as file:
        file.write('{"photo": 29, "sec')  # as if killed while writing

    process = command(folder, tmp_path, *more)
    out, errors = process.communicate()
    assert process.returncode == 0, errors
    assert lines(tmp_path / "run.jsonl")[: len(done)] == done, "nothing is done twice"
    assert len(lines(tmp_path / "run.jsonl")) == 1 + PHOTOS
    assert f"{PHOTOS} photos" in out.replace("\n", " ")
    whole = evaluate(
        FakePredictor(radius=6.0).as_predictor(), annotated, folder, prompts="random-point"
    )
    report = json.loads((tmp_path / "report.json").read_text())
    assert digits(report) == digits(whole)


def test_what_the_journal_holds_is_not_done_again(
    folder: Path, annotated: Annotations, tmp_path: Path
) -> None:
    ticks: list[tuple[int, int]] = []

    def run(fake: FakePredictor, limit: int | None) -> Report:
        return evaluate(
            fake.as_predictor(), annotated, folder, prompts="point",
            photos=chosen_photos(annotated, folder, limit),
            job=Job(tmp_path / "run.jsonl", progress=lambda *tick: ticks.append(tick)),
        )  # fmt: skip

    fakes = [FakePredictor(radius=5.0) for _ in range(3)]
    first, more, again = (run(fake, n) for fake, n in zip(fakes, (5, 8, 5), strict=True))
    assert [fake.encode_calls for fake in fakes] == [5, 3, 0]
    assert ticks[5:9] == [(5, 8), (6, 8), (7, 8), (8, 8)]
    assert again == first, "the seconds, too, are those of the photos that count"
    assert more.seconds > first.seconds

    with pytest.raises(OutputError, match="begun with weights 'f00d', not 'beef'"):
        run(FakePredictor(fingerprint="beef"), 5)


def test_clicks_and_boxes_go_on_too(folder: Path, annotated: Annotations, tmp_path: Path) -> None:
    truth = read_ground_truth(folder / "truth.json")
    ids = {category.name: number for number, category in truth.categories.items()}
    found = {
        photo.id: [
            Detection(photo.id, ids[one.category], one.box_xyxy, 0.5)
            for one in annotated.by_photo[photo.id]
        ]
        for photo in annotated.photos
    }
    reports = []
    for limit in (5, 8, 8):
        fake = FakePredictor(radius=5.0)
        reports.append(
            (
                digits(
                    evaluate_clicks(
                        fake.as_predictor(), annotated, folder, clicks=2,
                        photos=chosen_photos(annotated, folder, limit),
                        job=Job(tmp_path / "clicks.jsonl"),
                    )
                ),
                digits(
                    evaluate_detections(
                        fake.as_predictor(), truth, Detections(found), folder,
                        labels="detector",
                        planned=plan(truth, Detections(found), folder, None, limit=limit),
                        job=Job(tmp_path / "boxes.jsonl"),
                    )
                ),
                fake.encode_calls,
            )
        )  # fmt: skip
    assert [calls for *_, calls in reports] == [10, 6, 0]
    assert reports[1][:2] == reports[2][:2]
    assert reports[0][1]["AP"] == pytest.approx(1)
    found[0] = []
    with pytest.raises(OutputError, match="begun with boxes '"):
        evaluate_detections(
            FakePredictor().as_predictor(), truth, Detections(found), folder, labels="detector",
            job=Job(tmp_path / "boxes.jsonl"),
        )  # fmt: skip


def spoil(path: Path, change: Callable[[list[Any]], None]) -> None:
    """Change the rows of the first photo."""
    head, first, *others = path.read_text().splitlines()
    line = json.loads(first)
    change(line["rows"])
    path.write_text("\n".join([head, json.dumps(line), *others, ""]))


def test_masks_of_another_size_are_named(folder: Path, tmp_path: Path) -> None:
    """The evaluator trusts what it is given."""
    truth, journal = read_ground_truth(folder / "truth.json"), tmp_path / "boxes.jsonl"
    found = Detections({0: [Detection(0, 1, (1.0, 1.0, 9.0, 9.0), 0.5)]})

    def run() -> None:
        evaluate_detections(
            FakePredictor().as_predictor(), truth, found, folder, labels="detector",
            planned=plan(truth, found, folder, None, limit=1),
            job=Job(journal),
        )  # fmt: skip

    run()
    spoil(journal, lambda rows: rows[0].update(segmentation={"size": [2, 3], "counts": "06"}))
    with pytest.raises(OutputError, match=r"rows of photo 0 in '.*boxes\.jsonl' are not those of"):
        run()


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.clear(),
        lambda rows: rows.append(rows[0]),
        lambda rows: rows[0].update(category="coffee mug"),
        lambda rows: rows[0].update(annotation_id=99),
    ],
    ids=["none", "more", "class", "object"],
)
def test_rows_of_other_objects_are_named(
    folder: Path, annotated: Annotations, tmp_path: Path, change: Callable[[list[Any]], None]
) -> None:
    journal = tmp_path / "run.jsonl"

    def run() -> Report:
        return evaluate(
            FakePredictor().as_predictor(), annotated, folder, prompts="box",
            photos=chosen_photos(annotated, folder, 2),
            job=Job(journal),
        )  # fmt: skip

    run()
    spoil(journal, change)
    before = journal.read_bytes()
    with pytest.raises(OutputError, match=r"rows of photo 0 in '.*run\.jsonl' are not those of"):
        run()
    assert journal.read_bytes() == before


def test_clicks_and_masks_of_other_objects_are_named(
    folder: Path, annotated: Annotations, tmp_path: Path
) -> None:
    truth = read_ground_truth(folder / "truth.json")
    found = {0: [Detection(0, 1, (1.0, 1.0, 9.0, 9.0), 0.5)]}

    def run(labels: LabelSource) -> None:
        fake = FakePredictor().as_predictor()
        evaluate_clicks(
            fake, annotated, folder, clicks=2, photos=chosen_photos(annotated, folder, 1),
            job=Job(tmp_path / f"clicks-{labels}.jsonl"),
        )  # fmt: skip
        evaluate_detections(
            fake, truth, Detections(found), folder, labels=labels,
            job=Job(tmp_path / f"{labels}.jsonl"),
        )  # fmt: skip

    sources: tuple[LabelSource, ...] = ("detector", "ours")
    for labels in sources:
        run(labels)
        run(labels)
        spoil(tmp_path / f"{labels}.jsonl", lambda rows: rows[0].update(category_id=3))
        with pytest.raises(OutputError, match="rows of photo 0"):
            run(labels)
        spoil(tmp_path / f"clicks-{labels}.jsonl", lambda rows: rows.append([0.5, 0.5]))
        with pytest.raises(OutputError, match=r"rows of photo 0 in '.*clicks"):
            run(labels)


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_two_processes_give_the_digits_of_one(folder: Path, annotated: Annotations) -> None:
    load = partial(tiny_predictor, zoom=True)
    ticks: list[tuple[int, int]] = []
    photos = chosen_photos(annotated, folder, 12)
    shared = evaluate(
        load(), annotated, folder, prompts="point", photos=photos,
        job=Job(workers=Workers(load, 2), progress=lambda *tick: ticks.append(tick)),
    )  # fmt: skip
    alone = evaluate(load(), annotated, folder, prompts="point", photos=photos)
    assert shared.outcomes == alone.outcomes
    assert len({outcome.iou for outcome in alone.outcomes}) > 5
    assert ticks == [(done, 12) for done in range(1, 13)]


def test_what_goes_wrong_in_a_worker_is_said(folder: Path, annotated: Annotations) -> None:
    fake = FakePredictor().as_predictor()

    def run(load: Any, images: Path) -> Report:
        job, photos = Job(workers=Workers(load, 1)), chosen_photos(annotated, images, 3)
        return evaluate(fake, annotated, images, prompts="box", photos=photos, job=job)

    with pytest.raises(OvsamError, match=r"A worker process ended .* fewer --workers"):
        run(Dying, folder)
    with pytest.raises(CheckpointError, match=r"^'gone\.safetensors' is missing\.$"):
        run(cannot_load, folder)


def test_an_error_in_a_worker_is_the_error_of_one_process(
    annotated: Annotations, tmp_path: Path
) -> None:
    for photo in range(3):
        Image.new("RGB", (60, 40)).save(tmp_path / f"{photo}.bmp")
        whole = (tmp_path / f"{photo}.bmp").read_bytes()
        (tmp_path / f"{photo}.png").write_bytes(whole[:1000])
    with pytest.raises(PhotoError, match=r"0\.png' is damaged or cut short .* again\.$"):
        evaluate(
            FakePredictor().as_predictor(), annotated, tmp_path, prompts="box",
            photos=chosen_photos(annotated, tmp_path, 3),
            job=Job(workers=Workers(FakePredictor, 1)),
        )  # fmt: skip
