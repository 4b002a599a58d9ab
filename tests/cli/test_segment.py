"""`ovsam segment` as a user types it, with a predictor that needs no model."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ovsam
from cli.commands import DEVICES, Run, assert_error
from fakes import FakePredictor
from ovsam.config import CalibrationConfig, CalibrationFit
from ovsam.geometry import decode_rle
from ovsam.structures import Label


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


def test_segment_without_names(run: Run, fake: FakePredictor) -> None:
    """Of a model that has masks alone."""
    fake.names_objects = False
    line = ("segment", "photo.jpg", "--box", "10,20,200,180")
    result = run(*line, "--json", "o.json", "-o", "o.png")
    assert result.exit_code == 0, result.output
    assert "10,20,200,180" in result.stdout and "0.90" in result.stdout
    assert "lite has masks alone, so no object has a name." in result.stdout
    assert "names  " not in result.stdout and "none of these" not in result.stdout
    assert "only rank" not in result.stdout
    [found] = json.loads(Path("o.json").read_text())["objects"]
    assert (found["labels"], found["none_of_these"], found["kind"]) == ([], True, None)
    assert decode_rle(found["segmentation"]).sum() == 190 * 160
    drawn = Path("o.png").read_bytes()
    fake.names_objects = True
    run(*line, "-o", "named.png")
    assert drawn != Path("named.png").read_bytes(), "there is no name on it"


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


@pytest.mark.usefixtures("fake")
def test_segment_a_thing_of_a_size(run: Run) -> None:
    """Without a size it is the likeliest of the three: the fake's is the one between."""
    areas = []
    for size in ([], ["--size", "small"], ["--size", "medium"], ["--size", "large"]):
        result = run("segment", "photo.jpg", "--point", "120,80", *size, "--json", "out.json")
        assert result.exit_code == 0, result.output
        [found] = json.loads(Path("out.json").read_text())["objects"]
        areas.append(decode_rle(found["segmentation"]).sum())
    assert areas[0] == areas[2] and areas[1] < areas[2] < areas[3]


def test_segment_refuses_a_size_that_says_nothing(run: Run) -> None:
    boxed = run("segment", "photo.jpg", "--box", "10,20,200,180", "--size", "large")
    assert_error(boxed, "a box says itself how large the object is", code=2)
    unknown = run("segment", "photo.jpg", "--point", "120,80", "--size", "huge")
    assert_error(unknown, "size must be one of small, medium, large, got 'huge'", code=2)


def test_segment_leaves_masks_as_they_are_if_told_to(run: Run, fake: FakePredictor) -> None:
    assert run("segment", "photo.jpg", "--point", "120,80").exit_code == 0 and fake.clean
    run("segment", "photo.jpg", "--point", "120,80", "--no-clean")
    assert not fake.clean


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
    fake.iou_head = False
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
        (["--point", "5,5", "--device", "tpu"], f"{DEVICES}, got 'tpu'."),
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


def test_segment_says_where_scores_are_no_probabilities(run: Run, fake: FakePredictor) -> None:
    result = run("segment", "photo.jpg", "--point", "5,5", "--json", "out.json")
    said = result.stdout.replace("\n", " ")
    assert "only rank them: the model was never calibrated, see 'ovsam calibrate'. None is" in said
    assert json.loads(Path("out.json").read_text())["objects"][0]["calibrated"] is False
    fake.calibration = CalibrationConfig(fits=(CalibrationFit(classes=2),))
    said = run("segment", "photo.jpg", "--point", "5,5").stdout.replace("\n", " ")
    assert "only rank them: the model was calibrated with 2 names, not with 80. None is" in said
    fake.calibration = CalibrationConfig(
        fits=(CalibrationFit(classes=200),)
    )  # of which the threshold holds
    said = run("segment", "photo.jpg", "--point", "5,5").stdout.replace("\n", " ")
    assert "was calibrated with 200 names, not with 80. wrote" in said
    fake.calibrated = True
    assert "only rank" not in run("segment", "photo.jpg", "--point", "5,5").stdout


@pytest.mark.usefixtures("fake")
def test_overlay_shows_the_object(run: Run) -> None:
    run("segment", "photo.jpg", "--box", "50,80,250,180", "-o", "out.png")
    with Image.open("photo.jpg") as photo, Image.open("out.png") as drawn:
        difference = np.abs(np.asarray(photo).astype(int) - np.asarray(drawn)).sum(axis=2)
    assert difference[150, 150] > 30
    assert difference[195, 150] == 0


def test_segment_without_the_prior(run: Run, fake: FakePredictor) -> None:
    words = ("segment", "photo.jpg", "--point", "50,50", "--vocabulary", "*3 cat, dog")
    for more, name in (((), "custom"), (("--no-prior",), "custom, without prior")):
        assert run(*words, *more, "--json", "out.json").exit_code == 0
        assert json.loads(Path("out.json").read_text())["vocabulary"]["name"] == name
        assert (fake.vocabulary.log_weights is None) == bool(more)
