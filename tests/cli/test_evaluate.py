"""`ovsam evaluate` as a user types it, without a model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import ovsam
from cli.commands import Run, assert_error, write_annotations
from fakes import FakePredictor
from ovsam.hub import SHIPPED


@pytest.mark.usefixtures("fake")
def test_evaluate_reports_unseen_classes_apart(run: Run) -> None:
    write_annotations()
    call = ("evaluate", "instances.json", "--images", ".", "--vocabulary", "instances.json")
    result = run(*call, "--unseen", "cat", "--json", "report.json")
    assert result.exit_code == 0, result.output
    report = json.loads(Path("report.json").read_text())
    assert report["novel"] == ["cat"]
    assert report["by_novelty"]["novel"]["instances"] == 1
    assert report["by_novelty"]["base"]["instances"] == 0
    assert_error(run(*call, "--unseen", "unicorn"), "has no class 'unicorn' to be marked", 2)
    assert_error(run(*call, "--unseen", "coco-ov"), "has no class 'coco-ov' to be marked", 2)
    assert_error(run(*call, "--unseen", " ,"), "--unseen must name classes", 2)


@pytest.mark.usefixtures("fake")
def test_unseen_classes_are_not_merged(run: Run) -> None:
    """Each name is marked as it is written, though WordNet means the same by both of them."""
    write_annotations()
    Path("mine.txt").write_text("cat\ndog\ndomestic cat\n")
    call = ("evaluate", "instances.json", "--images", ".", "--vocabulary", "mine.txt")
    result = run(*call, "--json", "report.json", "--unseen", "cat, domestic cat")
    assert result.exit_code == 0, result.output
    assert json.loads(Path("report.json").read_text())["novel"] == ["cat", "domestic cat"]


@pytest.mark.usefixtures("fake")
def test_objects_that_are_annotated_wrong_are_said(run: Run) -> None:
    write_annotations()
    call = ("evaluate", "instances.json", "--images", ".", "--vocabulary", "instances.json")
    assert "warning" not in run(*call).stderr + run(*call, "--clicks", "2").stderr
    content = json.loads(Path("instances.json").read_text())
    thin = content["annotations"][0] | {"id": 2, "segmentation": [[11, 21, 15, 25, 19, 29]]}
    content["annotations"].append(thin)
    Path("instances.json").write_text(json.dumps(content))
    result = run(*call, "--json", "report.json")
    assert result.exit_code == 0, result.output
    assert "warning: 1 of these objects are annotated wrong" in result.stderr
    assert "Annotation 2: its mask covers no pixel." in result.stderr
    assert json.loads(Path("report.json").read_text())["instances"] == 2
    result = run(*call, "--clicks", "2", "--json", "clicks.json")
    assert "warning: 1 objects more have a mask that covers no pixel" in result.stderr
    report = json.loads(Path("clicks.json").read_text())
    assert (report["instances"], report["without_pixel"]) == (1, 1)


@pytest.mark.usefixtures("fake")
def test_evaluate_writes_a_report(run: Run) -> None:
    write_annotations()
    result = run(
        *("evaluate", "instances.json", "--images", ".", "--prompts", "box"),
        *("--vocabulary", "instances.json", "--json", "report.json", "--no-zoom"),
    )
    assert result.exit_code == 0, result.output
    assert "1.000" in result.stdout
    report = json.loads(Path("report.json").read_text())
    assert report["iou"] == report["accuracy"] == report["accuracy_top5"] == 1.0
    assert report["instances"] == report["by_size"]["large"]["instances"] == 1
    assert report["model"] == "lite"
    assert report["prompts"] == "box"
    assert report["zoom"] is False
    assert report["boundary_iou"] == report["by_class"]["cat"]["iou"] == 1.0
    assert report["calibration"]["ece"] == 0.5  # the score 0.5 and always right
    assert "(ECE) 0.500" in result.stdout.replace("\n", " ")
    assert "cat " not in result.stdout
    digest = hashlib.sha256(Path("instances.json").read_bytes()).hexdigest()
    assert report["provenance"] == {
        "annotations": {"name": "instances.json", "sha256": digest},
        "vocabulary": {"name": "instances.json", "sha256": digest},
        "model": {"name": "lite", "sha256": hashlib.sha256(SHIPPED.read_bytes()).hexdigest()},
        "limit": None,
        "crowds": "left-out",
        "prior": True,
        "clean": True,
    }


@pytest.mark.usefixtures("fake")
def test_weights_count_unless_no_prior_is_given(run: Run, fake: FakePredictor) -> None:
    write_annotations()
    Path("mine.txt").write_text("*3 cat\ndog\n")
    call = ("evaluate", "instances.json", "--images", ".", "--vocabulary", "mine.txt")
    reports = []
    for more in ((), ("--no-prior",)):
        result = run(*call, "--journal", "all.jsonl", "--json", "report.json", *more)
        if more:  # another vocabulary: its journal is another's
            assert_error(result, "vocabulary", 1)
            result = run(*call, "--json", "report.json", *more)
        assert result.exit_code == 0, result.output
        reports.append(json.loads(Path("report.json").read_text()))
        assert (fake.vocabulary.log_weights is None) == bool(more)
    assert [report["vocabulary"] for report in reports] == ["mine", "mine, without prior"]
    assert [report["provenance"]["prior"] for report in reports] == [True, False]
    assert_error(run(*call, "--clicks", "2", "--no-prior"), "leave out --prior, or --clicks", 2)


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("kind", ["box", "noisy-box", "point", "random-point", "point-true-box"])
def test_evaluate_by_class_with_a_reliability_plot(run: Run, kind: str) -> None:
    write_annotations()
    result = run(
        *("evaluate", "instances.json", "--images", ".", "--vocabulary", "instances.json"),
        *("--prompts", kind, "--by-class", "--reliability", "trust.png"),
    )
    assert result.exit_code == 0, result.output
    assert "cat " in result.stdout
    assert f"lite, {kind} prompts" in result.stdout
    assert "wrote trust.png" in result.stdout
    with Image.open("trust.png") as picture:
        assert picture.format == "PNG"


@pytest.mark.usefixtures("fake")
def test_evaluate_click_by_click(run: Run) -> None:
    write_annotations()
    result = run(
        *("evaluate", "instances.json", "--images", ".", "--clicks", "3"),
        *("--vocabulary", "instances.json", "--json", "report.json"),
    )
    assert result.exit_code == 0, result.output
    report = json.loads(Path("report.json").read_text())
    # The fake always answers with a disk of 10 pixels around the first click.
    assert report["iou_after_clicks"] == pytest.approx([3.14 * 100 / 10_000] * 3, rel=0.05)
    assert (report["noc85"], report["noc90"], report["instances"]) == (3, 3, 1)
    said = result.stdout.replace("\n", " ")
    assert "3.00 clicks to IoU 0.85 (NoC@85; 1 of 1 never reach it and count as 3)" in said


@pytest.mark.usefixtures("fake")
def test_evaluate_takes_a_folder_of_labelmes(run: Run) -> None:
    write_annotations()
    truth = json.loads(Path("instances.json").read_text())
    [image], [one] = truth["images"], truth["annotations"]
    x, y, width, height = one["bbox"]
    corners = [[x, y], [x + width, y], [x + width, y + height], [x, y + height]]
    shapes = [{"label": "cat", "points": corners, "shape_type": "polygon", "group_id": None}]
    sizes = {"imageHeight": image["height"], "imageWidth": image["width"]}
    Path("set").mkdir()
    Path("set/a.json").write_text(
        json.dumps({"shapes": shapes, "imagePath": f"..\\{image['file_name']}", **sizes})
    )
    evaluate = ("evaluate", "set", "--images", ".", "--no-zoom", "--vocabulary", "set")
    result = run(*evaluate, "--json", "report.json")
    assert result.exit_code == 0, result.output
    report = json.loads(Path("report.json").read_text())
    assert (report["instances"], report["iou"], report["accuracy"]) == (1, 1.0, 1.0)
    assert_error(run("evaluate", "set", "--no-zoom"), "photos are missing")


@pytest.mark.usefixtures("fake")
def test_evaluate_errors(run: Run) -> None:
    assert_error(run("evaluate", "none.json", "--images", "."), "Cannot read the annotations")
    write_annotations()
    assert_error(
        run("evaluate", "instances.json", "--images", ".", "--json", "instances.json"),
        "the input itself",
    )
    evaluate = ("evaluate", "instances.json", "--images", ".")
    assert_error(run(*evaluate, "--reliability", "trust.jpg"), "must end in .png", 2)
    for option, *value in (
        ["--by-class"],
        ["--reliability", "t.png"],
        ["--prompts", "box"],
        ["--unseen", "cat"],
        ["--oracle-names"],
    ):
        refused = run(*evaluate, "--clicks", "2", option, *value)
        assert_error(refused, f"masks alone: leave out {option}, or --clicks", 2)
    Path("empty").mkdir()
    result = run("evaluate", "instances.json", "--images", "empty")
    assert result.exit_code == 1
    assert "1 of 1 photos are missing" in result.stderr


class Nameless(FakePredictor):
    """It makes masks, and whatever is asked of its text side fails."""

    def prepare(self, *_: object, **__: object) -> Any:
        raise AssertionError("no name is to be embedded")

    def name(self, *_: object, **__: object) -> Any:
        raise AssertionError("nothing is to be named")

    def predict(self, *_: object, **__: object) -> Any:
        raise AssertionError("nothing is to be named")


@pytest.mark.parametrize("measure", [["--clicks", "2"], ["--oracle-names"]])
def test_masks_alone_need_no_text_side(
    run: Run, monkeypatch: pytest.MonkeyPatch, measure: list[str]
) -> None:
    loaded: list[dict[str, Any]] = []

    def load(_: str, **options: Any) -> FakePredictor:
        loaded.append(options)
        return Nameless()

    monkeypatch.setattr(ovsam, "load", load, raising=False)
    write_annotations()
    vocabulary = ("--vocabulary", "instances.json")
    result = run("evaluate", "instances.json", "--images", ".", *vocabulary, *measure)
    assert result.exit_code == 0, result.output
    assert ("vocabulary" in loaded[0]) == (measure == ["--oracle-names"])  # for classes that count


def test_an_oracle_names_what_a_model_cannot(run: Run, fake: FakePredictor) -> None:
    fake.names_objects = False
    write_annotations()
    call = ("evaluate", "instances.json", "--images", ".", "--vocabulary", "instances.json")
    assert_error(run(*call), "lite makes masks and has no names to measure. Add --oracle-names")
    result = run(*call, "--oracle-names", "--json", "report.json")
    assert result.exit_code == 0, result.output
    report = json.loads(Path("report.json").read_text())
    assert (report["iou"], report["accuracy"], report["oracle_names"]) == (1.0, 1.0, True)
    assert report["outcomes"][0]["rank"] == 0
    assert report["outcomes"][0]["score"] == 1.0
    assert "names by an oracle" in result.stdout.replace("\n", " ")


@pytest.mark.usefixtures("fake")
def test_evaluate_with_several_vocabularies(run: Run) -> None:
    write_annotations()
    Path("long.txt").write_text("tiger cat\ndog\n")
    call = ("evaluate", "instances.json", "--images", ".", "--vocabulary", "instances.json")
    result = run(*call, "--vocabulary", "long.txt", "--json", "report.json")
    assert result.exit_code == 0, result.output
    assert "has kinds of 'cat' but not the class itself" in result.stderr
    assert "0.0% are the annotated class itself" in result.stdout.replace("\n", " ")
    report = json.loads(Path("report.json").read_text())
    assert list(report["by_vocabulary"]) == ["instances.json", "long.txt"]
    one, other = report["by_vocabulary"].values()
    assert (report["accuracy"], report["accuracy_by_meaning"]) == (1.0, 1.0)
    assert (one["accuracy"], one["iou"]) == (1.0, 1.0)
    assert (other["accuracy"], other["accuracy_by_meaning"], other["iou"]) == (0.0, 1.0, 1.0)
    assert other["right_levels_below"] == 2.0
    digest = hashlib.sha256(Path("long.txt").read_bytes()).hexdigest()
    known = report["provenance"]
    assert known["vocabulary"]["name"] == "instances.json"
    assert known["more_vocabularies"] == [{"name": "long.txt", "sha256": digest}]
    for words, message in (
        (("--vocabulary", "instances.json"), "'instances.json' is given twice"),
        (("--vocabulary", "long.txt", "--oracle-names"), "--oracle-names goes with one vocabulary"),
        (("--vocabulary", "long.txt", "--unseen", "cat"), "--unseen goes with one vocabulary"),
        (
            ("--vocabulary", "long.txt", "--reliability", "trust.png"),
            "--reliability goes with one vocabulary",
        ),
    ):
        assert_error(run(*call, *words), message, 2)
