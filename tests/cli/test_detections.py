"""`ovsam evaluate-detections` and `ovsam detect` as a user types them."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import pytest
import torch
from pycocotools.coco import COCO
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn
from typer.testing import CliRunner

import ovsam
from cli.commands import Run
from fakes import FakePredictor
from ovsam.cli import app as cli
from ovsam.formats.coco_results import read_detections
from ovsam.formats.ground_truth import read_ground_truth
from ovsam.geometry import decode_rle
from photo_folder import HEIGHT, WIDTH, rectangle, write_coco

PERSON, EMU = 3, 13  # category ids


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`ovsam ...` in a folder with two photos, each with a person and an emu and boxes for both."""
    monkeypatch.chdir(tmp_path)
    write_coco(Path("truth.json"), Path("photos"), ["person", "emu"], ["1.jpg", "2.jpg"])
    rows = [
        {"image_id": photo, "category_id": category, "bbox": [x, 10, 20, 40], "score": 0.75}
        for photo in (7, 8)
        for category, x in ((PERSON, 5), (EMU, 30))
    ]
    Path("boxes.json").write_text(json.dumps(rows))
    return lambda *arguments: CliRunner().invoke(cli.app, list(arguments))


CALL = ("evaluate-detections", "truth.json", "boxes.json", "--images", "photos")


def test_the_detectors_labels(run: Run, fake: FakePredictor) -> None:
    fake.names_objects = False
    result = run(
        *(*CALL, "--labels", "detector", "--model", "lite", "--no-zoom"),
        *("--json", "report.json", "--results-out", "masks.json"),
    )
    assert result.exit_code == 0, result.output
    assert fake.vocabulary == FakePredictor().vocabulary, "none is given: names play no part"
    for shown in ("AP50", "1.000", "COCO's rules", "names by the detector", "4 boxes, 2 photos"):
        assert shown in result.stdout
    content = json.loads(Path("report.json").read_text())
    assert content["AP"] == content["AP_small"] == pytest.approx(1)
    assert content["AP_large"] is None
    assert content["by_class"] == pytest.approx({"person": 1, "emu": 1})

    with contextlib.redirect_stdout(io.StringIO()):
        masks = COCO("truth.json").loadRes("masks.json")
    first, *rest = masks.loadAnns(masks.getAnnIds())
    assert len(rest) == 3
    assert (first["image_id"], first["category_id"], first["score"]) == (7, PERSON, 0.75)
    expected = rectangle(5, 10, 25, 50, size_hw=(HEIGHT, WIDTH))
    assert (decode_rle(masks.annToRLE(first)) == expected).all()
    assert first["bbox"] == pytest.approx([5, 10, 20, 40])


def test_our_labels(run: Run, fake: FakePredictor) -> None:
    """Every box is an emu to us, be it one or not."""
    fake.answers = ("emu", "emu")
    result = run(
        *CALL, "--labels", "ours", "--vocabulary", "person, emu, *9 cup", "--json", "report.json"
    )
    assert result.exit_code == 0, result.output
    assert fake.vocabulary.log_weights is None, "weights do not count here"
    assert "names by vocabulary custom" in result.stdout
    content = json.loads(Path("report.json").read_text())
    assert content["by_class"]["person"] == 0
    assert 0 < content["by_class"]["emu"] < 1
    assert content["labels"] == "ours"


def test_limit_and_names_that_are_no_class(run: Run, fake: FakePredictor) -> None:
    fake.answers = ("cup", "emu")
    result = run(*(*CALL, "--labels", "ours", "--vocabulary", "person, emu, cup"), "--limit", "1")
    assert result.exit_code == 0, result.output
    assert fake.encode_calls == 1
    assert "1 box named as no class of the annotation file" in result.stdout


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("code", "arguments", "message"),
    [
        (1, ("--labels", "ours", "--vocabulary", "person, cup"), "of the class 'emu'"),
        (2, ("--labels", "detector", "--vocabulary", "coco"), "--vocabulary is for --labels ours"),
        (1, ("--labels", "detector", "--results-out", "boxes.json"), "it is the input itself"),
        (1, ("--labels", "detector", "--json", "truth.json"), "it is the input itself"),
        (2, ("--labels", "detector", "--json", "a.json", "--results-out", "a.json"), "same file"),
    ],
)
def test_what_is_refused(run: Run, code: int, arguments: tuple[str, ...], message: str) -> None:
    result = run(*CALL, *arguments)
    assert result.exit_code == code, result.output
    assert result.stderr.startswith("error: ")
    assert message in result.stderr


def test_a_faulty_entry_stops_before_the_model_loads(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ovsam, "load", None, raising=False)
    Path("boxes.json").write_text('[{"image_id": 7}]')
    result = run(*CALL, "--labels", "detector")
    assert result.exit_code == 1, result.output
    assert "Entry 0 of 'boxes.json' lacks 'category_id'" in result.stderr


@pytest.mark.usefixtures("fake")
def test_from_a_detector_to_ap(run: Run) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(12)
        detector = fasterrcnn_mobilenet_v3_large_320_fpn(
            weights=None, weights_backbone=None, num_classes=3
        )
    torch.save(detector.state_dict(), "detector.pth")
    result = run("detect", "photos", "truth.json", "--weights", "detector.pth", "-o", "found.json")
    assert result.exit_code == 0, result.output
    assert "wrote found.json: " in result.stdout
    found = read_detections(Path("found.json"), read_ground_truth(Path("truth.json"))).by_photo
    assert sorted(found) == [7, 8]
    result = run(
        "evaluate-detections", "truth.json", "found.json", "--images", "photos",
        *("--labels", "detector", "--json", "report.json"),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    boxes = sum(map(len, found.values()))
    assert json.loads(Path("report.json").read_text())["boxes"] == boxes


def test_detect_without_weights(run: Run) -> None:
    result = run("detect", "photos", "truth.json", "--weights", "none.pth", "-o", "found.json")
    assert result.exit_code == 1, result.output
    assert "There is no file 'none.pth'" in result.stderr
