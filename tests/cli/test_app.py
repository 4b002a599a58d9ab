"""The command as a user types it, with a predictor that needs no model."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import ovsam
from fakes import FakePredictor
from ovsam.cli import app as cli
from ovsam.config import CalibrationConfig
from ovsam.geometry import decode_rle
from ovsam.model.presets import SHIPPED
from ovsam.structures import Label
from ovsam.vocabulary.vocabulary import Vocabulary

Run = Callable[..., Any]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakePredictor:
    """The predictor that `ovsam.load` gives."""
    predictor = FakePredictor()

    def load(name: str, *, vocabulary: Vocabulary, device: str, zoom: bool | None = None) -> Any:
        assert device == "cpu"
        predictor.name, predictor.vocabulary = name, vocabulary
        predictor.zoom = bool(zoom)
        return predictor

    monkeypatch.setattr(ovsam, "load", load, raising=False)
    return predictor


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`ovsam ...` in an empty folder with photo.jpg, 300 wide and 200 high."""
    Image.new("RGB", (300, 200), (90, 120, 60)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(cli.app, list(arguments))


def assert_error(result: Any, message: str, code: int = 1) -> None:
    """One sentence on stderr that holds `message`, nothing on stdout, this exit code."""
    assert result.exit_code == code, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert result.stdout == ""


def test_segment_keeps_the_outlines_where_no_name_can_be_read(run: Run) -> None:
    result = run("segment", "photo.jpg", "--box", "9,9,90,90", "--json", "o.json", "-o", "o.png")
    named = json.loads(Path("o.json").read_text())["objects"][0]
    assert result.exit_code == 0 and named["labels"]
    asked = ("segment", "photo.jpg", "--box", "9,9,90,90", "--vocabulary", "猫, 狗")
    result = run(*asked, "--json", "o.json", "-o", "o.png")
    assert result.exit_code == 1
    [sentence] = result.stderr.splitlines()
    assert sentence.startswith("error: The text model cannot read any name of vocabulary 'custom'")
    assert "'猫', '狗'" in sentence and sentence.endswith("are written, without names.")
    found = json.loads(Path("o.json").read_text())["objects"][0]
    assert found["segmentation"] == named["segmentation"]
    assert (found["labels"], found["none_of_these"]) == ([], True)


@pytest.mark.usefixtures("fake")
def test_segment_prints_a_table_and_writes_the_default_picture(run: Run) -> None:
    result = run("segment", "photo.jpg", "--box", "10,20,200,180", "--vocabulary", "cat, red cup")
    assert result.exit_code == 0, result.output
    for shown in ("10,20,200,180", "0.90", "cat  0.500", "red cup  0.250"):
        assert shown in result.stdout
    assert "wrote photo_ovsam.png" in result.stdout
    with Image.open("photo_ovsam.png") as picture:
        assert picture.size == (300, 200)
    assert sorted(os.listdir()) == ["photo.jpg", "photo_ovsam.png"]


def test_segment_json(run: Run, fake: FakePredictor) -> None:
    fake.answers = ("dog", "cat")
    result = run(
        *("segment", "photo.jpg", "--point", "120,80; 140,95,0", "--box", "10,20,200,180"),
        *("--vocabulary", "cat, dog, cow", "--top", "2", "--json", "out.json"),
    )
    assert result.exit_code == 0, result.output
    assert sorted(os.listdir()) == ["out.json", "photo.jpg"]
    content = json.loads(Path("out.json").read_text())
    assert {key: content[key] for key in ("model", "vocabulary", "photo", "size")} == {
        "model": "lite",
        "vocabulary": {"name": "custom", "classes": 3, "notes": []},
        "photo": "photo.jpg",
        "size": {"width": 300, "height": 200},
    }
    boxed, pointed = content["objects"]
    assert boxed["prompt"] == {"points": [], "box_xyxy": [10, 20, 200, 180]}
    assert boxed["box_xyxy"] == [10, 20, 200, 180]
    assert boxed["mask_score"] == pytest.approx(0.9)
    assert boxed["labels"] == [{"name": "dog", "score": 0.5}, {"name": "cat", "score": 0.25}]
    assert pointed["prompt"] == {"points": [[120, 80, 1], [140, 95, 0]], "box_xyxy": None}
    mask = decode_rle(boxed["segmentation"])
    assert mask.shape == (200, 300)
    assert mask.sum() == 190 * 160
    assert mask[20:180, 10:200].all()


def test_segment_says_none_of_these_below_the_threshold(run: Run, fake: FakePredictor) -> None:
    fake.answers = ("dog",)  # with 0.5
    words = ("segment", "photo.jpg", "--point", "50,50", "--json", "out.json", "-o", "out.png")
    said = {}
    for threshold in ("0.5", "0.51"):
        result = run(*words, "--threshold", threshold)
        assert result.exit_code == 0, result.output
        [found] = json.loads(Path("out.json").read_text())["objects"]
        assert found["labels"][0] == {"name": "dog", "score": 0.5}, "the guesses stay"
        assert ("none of these" in result.stdout) is found["none_of_these"]
        said[threshold] = (found["none_of_these"], Path("out.png").read_bytes())
    assert (said["0.5"][0], said["0.51"][0]) == (False, True)
    assert said["0.5"][1] != said["0.51"][1], "the tag says so, too"
    assert run(*words, "--threshold", "1.5").exit_code == 2


@pytest.mark.usefixtures("fake")
def test_segment_with_one_kind_of_names_only(run: Run) -> None:
    words = ("segment", "photo.jpg", "--point", "50,50", "--json", "out.json")
    assert run(*words, "--only", "vehicle", "--only", "dog").exit_code == 0
    content = json.loads(Path("out.json").read_text())
    name = "coco, only vehicle or dog"
    assert content["vocabulary"] == {"name": name, "classes": 10, "notes": []}
    assert [label["name"] for label in content["objects"][0]["labels"][:2]] == ["bicycle", "car"]
    os.remove("out.json")
    assert_error(run(*words, "--only", "vehicel"), "Did you mean vehicle", 2)
    assert not Path("out.json").exists()


def test_segment_shows_the_kind_of_an_uncertain_name(run: Run, fake: FakePredictor) -> None:
    fake.kind = Label("mammal", 0.93)
    result = run("segment", "photo.jpg", "--point", "50,50", "--json", "out.json")
    assert "a kind of mammal  0.930" in result.stdout
    [found] = json.loads(Path("out.json").read_text())["objects"]
    assert found["kind"] == {"name": "mammal", "score": 0.93}
    fake.kind = None
    result = run("segment", "photo.jpg", "--point", "50,50", "--json", "out.json")
    assert "kind" not in result.stdout
    assert json.loads(Path("out.json").read_text())["objects"][0]["kind"] is None


def test_missing_mask_score_is_null_not_nan(run: Run, fake: FakePredictor) -> None:
    fake.has_mask_scores = False
    run("segment", "photo.jpg", "--point", "5,5", "--json", "out.json")
    text = Path("out.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["objects"][0]["mask_score"] is None


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp", ".PNG"])
def test_picture_formats(run: Run, suffix: str) -> None:
    result = run("segment", "photo.jpg", "--point", "5,5", "-o", f"out{suffix}")
    assert result.exit_code == 0, result.output
    with Image.open(f"out{suffix}") as picture:
        assert picture.size == (300, 200)


@pytest.mark.usefixtures("fake")
def test_box_may_begin_with_a_minus(run: Run) -> None:
    run("segment", "photo.jpg", "--box", "-5,-5,100,60", "--json", "out.json")
    [found] = json.loads(Path("out.json").read_text())["objects"]
    assert found["prompt"]["box_xyxy"] == [-5, -5, 100, 60]
    assert found["box_xyxy"] == [0, 0, 100, 60]


@pytest.mark.usefixtures("fake")
def test_coordinates_are_those_of_the_upright_photo(run: Run) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right by 90 degrees to see it upright
    Image.new("RGB", (300, 200)).save("turned.jpg", exif=exif)
    run("segment", "turned.jpg", "--point", "150,290", "--json", "out.json")
    assert json.loads(Path("out.json").read_text())["size"] == {"width": 200, "height": 300}
    assert_error(run("segment", "turned.jpg", "--point", "290,150"), "outside the photo", 2)


def test_bracketed_name_is_shown_as_it_is(run: Run, fake: FakePredictor) -> None:
    result = run("segment", "photo.jpg", "--point", "5,5", "--vocabulary", "[red], [/x]")
    assert result.exit_code == 0, result.output
    assert "[red]" in result.stdout
    assert fake.encode_calls == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.jpg", "--point", "5,5"], "none.jpg"),
        ([".", "--point", "5,5", "-o", "o.png"], "."),
        (["bad.jpg", "--point", "5,5"], "bad.jpg"),
        (["photo.jpg", "--point", "5,5", "--max-pixels", "59999"], "59,999"),
        (["photo.jpg", "--point", "5,5", "--vocabulary", "cat, !cat"], "twice"),
        (["photo.jpg", "--point", "5,5", "--vocabulary", "coca"], "no vocabulary 'coca'"),
        (["photo.jpg", "--point", "5,5", "--vocabulary", ""], "empty"),
        (["photo.jpg", "--point", "5,5", "-o", "no/out.png"], "does not exist"),
        (["photo.jpg", "--point", "5,5", "-o", "photo.jpg"], "the input itself"),
    ],
)
def test_segment_errors_before_the_model_is_loaded(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    assert_refused_before_any_work(run, monkeypatch, arguments, message, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Nothing to segment: point at an object with --point x,y"),
        (["--point", "5,5,0"], "only where the object is not"),
        (["--point", "x"], "is not a number"),
        (["--box", "9,9,1,1"], "x0 < x1"),
        (["--box", "0,0,nan,9"], "finite"),
        (["--point", "301,5"], "outside the photo"),
        (["--box", "300,0,310,9"], "outside the photo"),
        (["--point", "5,5", "-o", "out.gif"], "must end in .png"),
        (["--point", "5,5", "--json", "out.txt"], "must end in .json"),
        (["--point", "5,5", "--json", "/dev/stdout"], "must end in .json"),
        (["--point", "5,5", "--only", "vehicel"], "Did you mean vehicle"),
        (["--point", "5,5", "--device", "tpu"], "--device must be cpu, cuda or mps, got 'tpu'."),
    ],
)
def test_wrong_use_exits_with_2(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    assert_refused_before_any_work(run, monkeypatch, ["photo.jpg", *arguments], message, 2)


def assert_refused_before_any_work(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str, code: int
) -> None:
    def load(*_: object, **__: object) -> None:
        raise AssertionError("the model must not be loaded")

    monkeypatch.setattr(ovsam, "load", load, raising=False)
    Path("bad.jpg").write_bytes(b"no photo")
    assert_error(run("segment", *arguments), message, code)
    assert sorted(os.listdir()) == ["bad.jpg", "photo.jpg"]


def test_usage_errors_exit_with_2(run: Run) -> None:
    assert run("segment").exit_code == 2
    assert run("segment", "photo.jpg", "--top", "0").exit_code == 2
    assert run("evaluate", "a.json", "--images", ".", "--prompts", "scribble").exit_code == 2


def test_interrupt_exits_with_130_and_no_traceback(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ovsam, "load", load, raising=False)
    result = run("segment", "photo.jpg", "--point", "5,5")
    assert result.exit_code == 130
    assert result.stderr == "interrupted\n"


def write_annotations() -> None:
    content = {
        "images": [{"id": 1, "file_name": "photo.jpg", "width": 300, "height": 200}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "bbox": [10, 20, 100, 100],
                "area": 10000,
                "segmentation": [[10, 20, 110, 20, 110, 120, 10, 120]],
            }
        ],
    }
    Path("instances.json").write_text(json.dumps(content))


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


def test_segment_says_where_scores_are_no_probabilities(run: Run, fake: FakePredictor) -> None:
    result = run("segment", "photo.jpg", "--point", "5,5", "--json", "out.json")
    said = result.stdout.replace("\n", " ")
    assert "only rank them: the model was never calibrated, see 'ovsam calibrate'. None is" in said
    assert json.loads(Path("out.json").read_text())["objects"][0]["calibrated"] is False
    fake.calibration = CalibrationConfig(classes=2)
    said = run("segment", "photo.jpg", "--point", "5,5").stdout.replace("\n", " ")
    assert "only rank them: the model was calibrated with 2 names, not with 80. None is" in said
    fake.calibration = CalibrationConfig(classes=200)  # of which the threshold holds
    said = run("segment", "photo.jpg", "--point", "5,5").stdout.replace("\n", " ")
    assert "was calibrated with 200 names, not with 80. wrote" in said
    fake.has_oracle = True
    assert "only rank" not in run("segment", "photo.jpg", "--point", "5,5").stdout
    fake.has_oracle = False
    fake.calibrated = True
    assert "only rank" not in run("segment", "photo.jpg", "--point", "5,5").stdout


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
    assert report["asked"] == {
        "annotations": {"name": "instances.json", "sha256": digest},
        "vocabulary": {"name": "instances.json", "sha256": digest},
        "model": {"name": "lite", "sha256": hashlib.sha256(SHIPPED.read_bytes()).hexdigest()},
        "limit": None,
        "crowds": "left-out",
    }


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
    ):
        refused = run(*evaluate, "--clicks", "2", option, *value)
        assert_error(refused, f"masks alone: leave out {option}, or --clicks", 2)
    Path("empty").mkdir()
    result = run("evaluate", "instances.json", "--images", "empty")
    assert result.exit_code == 1
    assert "1 of 1 photos are missing" in result.stderr


def test_compare_two_models(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: dict[str, FakePredictor] = {}

    def load(name: str, *, zoom: bool | None, **_: object) -> FakePredictor:
        radius = {"small": 10.0, "big": 20.0}[name]
        return loaded.setdefault(name, FakePredictor(name=name, radius=radius, zoom=bool(zoom)))

    monkeypatch.setattr(ovsam, "load", load, raising=False)
    write_annotations()
    result = run(
        *("compare", "instances.json", "--images", ".", "--model", "small", "--teacher", "big"),
        *("--prompts", "point", "--limit", "1", "--objects", "1", "--zoom"),
        *("--json", "report.json"),
    )
    assert result.exit_code == 0, result.output
    report = json.loads(Path("report.json").read_text())
    assert report["iou"] == pytest.approx(0.25, rel=0.05)  # a disk in one of twice its radius
    assert (report["student"], report["teacher"], report["instances"]) == ("small", "big", 1)
    assert report["asked"]["teacher"]["name"] == "big"
    assert report["zoom"] == {"student": True, "teacher": True}
    assert "small beside big, point prompts, zoom on" in result.stdout
    assert "wrote report.json" in result.stdout
    assert [len(fake.prompts) for fake in loaded.values()] == [1, 1]

    wrong = run("compare", "instances.json", "--teacher", "big", "--prompts", "point-true-box")
    assert wrong.exit_code == 2, "names play no part"
    compare = ("compare", "instances.json", "--model", "small", "--teacher", "big")
    assert run(*compare[:-2]).exit_code == 2, "there is no teacher but the one that is named"
    assert_error(run(*compare, "--json", "instances.json"), "the input itself")
    assert_error(run("compare", "none.json", *compare[2:]), "There is no data set at 'none.json'")
    Path("photo.jpg").write_bytes(b"no photo")
    result = run(*compare)
    assert result.exit_code == 1
    assert "no object to compare" in result.stderr


def test_demo_hands_over_to_the_server(
    run: Run, fake: FakePredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def serve(*arguments: object, **options: object) -> None:
        calls.append((arguments, options))

    monkeypatch.setattr("ovsam.web.server.serve", serve)
    result = run("demo", "photo.jpg", "--port", "0", "--token", "secret", "--no-open")
    assert result.exit_code == 0, result.output
    [(arguments, options)] = calls
    assert arguments == (fake, Path("photo.jpg"), "127.0.0.1", 0, "secret", False)
    assert options == {"max_pixels": 128 * 2**20}
    assert_error(run("demo", "none.jpg"), "none.jpg")


def test_version(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"1.2.3 of {name}")
    first, terms = run("--version").stdout.splitlines()
    assert first == "ovsam 1.2.3 of ovsam"
    assert "weights have terms of their own" in terms


def test_help_loads_no_torch() -> None:
    code = (
        "import sys; from ovsam.cli.app import app; app(['--help'], standalone_mode=False); "
        "sys.exit('torch was imported' if 'torch' in sys.modules else 0)"
    )
    source = str(Path(cli.__file__).parent.parent)
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": source},
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "segment" in result.stdout


@pytest.mark.usefixtures("fake")
def test_overlay_shows_the_object(run: Run) -> None:
    run("segment", "photo.jpg", "--box", "50,80,250,180", "-o", "out.png")
    with Image.open("photo.jpg") as photo, Image.open("out.png") as drawn:
        difference = np.abs(np.asarray(photo).astype(int) - np.asarray(drawn)).sum(axis=2)
    assert difference[150, 150] > 30
    assert difference[195, 150] == 0
