"""What is in no figure is counted on screen and in the report, by every command that measures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import ovsam
from fakes import FakePredictor
from ovsam.cli import app as cli
from ovsam.evaluate.left_out import LeftOut, sentence_of
from ovsam.formats.crowds import crowds_as_objects, many_crowds
from photo_folder import write_coco

Run = Callable[..., Any]
PERSON, EMU = 3, 13  # category ids
EVALUATE = ("evaluate", "truth.json", "--images", "photos", "--vocabulary", "truth.json")
DETECTIONS = (
    *("evaluate-detections", "truth.json", "boxes.json"),
    *("--images", "photos", "--labels", "detector"),
)
COMPARE = ("compare", "truth.json", "--images", "photos", "--teacher", "lite")


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the models that are loaded."""
    names: list[str] = []

    def load(name: str, *, device: str, zoom: bool | None = None, **options: Any) -> Any:
        assert device == "cpu"
        names.append(name)
        return FakePredictor(zoom=bool(zoom), **options)

    monkeypatch.setattr(ovsam, "load", load, raising=False)
    return names


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`ovsam ...` in a folder with three photos, each with a person, an emu and a crowd."""
    monkeypatch.chdir(tmp_path)
    write_coco(Path("truth.json"), Path("photos"), ["person", "emu"], ["1.jpg", "2.jpg", "3.jpg"])
    rows = [
        {"image_id": photo, "category_id": category, "bbox": [x, 10, 20, 40], "score": 0.75}
        for photo in (7, 8, 9)
        for category, x in ((PERSON, 5), (EMU, 30))
    ]
    Path("boxes.json").write_text(json.dumps(rows))
    return lambda *arguments: CliRunner().invoke(cli.app, list(arguments))


def change(how: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(Path("truth.json").read_text())
    how(content)
    Path("truth.json").write_text(json.dumps(content))


def report_of(run: Run, *arguments: str) -> tuple[dict[str, Any], Any]:
    result = run(*arguments, "--json", "report.json")
    assert result.exit_code == 0, result.output
    content = json.loads(
        Path("report.json").read_text(), parse_constant=lambda text: pytest.fail(text)
    )
    return content, result


@pytest.mark.usefixtures("loads")
@pytest.mark.parametrize(
    ("command", "objects"),
    [
        (EVALUATE, "instances"),
        ((*EVALUATE, "--prompts", "point"), "instances"),
        ((*EVALUATE, "--clicks", "2"), "instances"),
        (COMPARE, "instances"),
        (DETECTIONS, "boxes"),
    ],
)
def test_crowds_are_counted_everywhere(run: Run, command: tuple[str, ...], objects: str) -> None:
    content, result = report_of(run, *command)
    assert content[objects] == 6
    assert content["not_counted"]["crowd_regions"] == 3
    assert sum(content["not_counted"].values()) == 3
    assert "do not count: 3 crowd regions\n" in result.stdout
    assert "warning: 3 of 9 annotations are crowd regions (iscrowd 1), which do" in result.stderr


@pytest.mark.usefixtures("loads")
@pytest.mark.parametrize("command", [EVALUATE, (*EVALUATE, "--clicks", "1"), DETECTIONS])
def test_crowds_can_be_objects(run: Run, command: tuple[str, ...]) -> None:
    content, result = report_of(run, *command, "--crowds", "objects")
    assert content.get("instances", 9) == 9
    assert content["not_counted"]["crowd_regions"] == 0
    assert content["asked"]["crowds"] == "objects"
    assert "do not count" not in result.stdout + result.stderr


@pytest.mark.usefixtures("loads")
def test_a_file_of_crowds_alone_can_be_measured(run: Run) -> None:
    """What CVAT writes of masks drawn with a brush."""

    def brushed(content: dict[str, Any]) -> None:
        for one in content["annotations"]:
            one["iscrowd"] = 1

    change(brushed)
    result = run(*EVALUATE)
    assert result.exit_code == 1
    assert result.stderr == (
        "error: There is no instance to evaluate in 'truth.json': it lists 3 photos and marks "
        "nothing on them but 9 crowd regions (iscrowd 1), which do not count. If each marks one "
        "object, as CVAT writes masks drawn with a brush, count them with --crowds objects.\n"
    )
    assert report_of(run, *EVALUATE, "--crowds", "objects")[0]["instances"] == 9
    result = run(*COMPARE)
    assert result.exit_code == 1
    assert "Its 9 crowd regions (iscrowd 1) do not count. If each marks one" in result.stderr
    assert "set their 'iscrowd' to 0 in the file." in result.stderr
    assert "9 of 9 annotations are crowd regions" in run("data", "check", "truth.json").stdout


@pytest.mark.usefixtures("loads")
@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", "shapes", "--vocabulary", "shapes"),
        ("evaluate", "shapes", "--vocabulary", "shapes", "--clicks", "1"),
        ("compare", "shapes", "--teacher", "lite"),
    ],
)
def test_shapes_and_photos_of_labelme_are_counted(run: Run, command: tuple[str, ...]) -> None:
    Path("shapes").mkdir()
    for photo in Path("photos").iterdir():
        photo.rename(Path("shapes", photo.name))
    shapes = [
        {"label": label, "points": [[5, 5], [9, 30], [30, 9]][:count], "shape_type": kind}
        for label, count, kind in (
            *(("cup", 3, "polygon"), ("cup", 1, "point"), ("cup", 2, "line")),
            ("__ignore__", 3, "polygon"),
        )
    ]
    Path("shapes/1.json").write_text(json.dumps({"shapes": shapes, "imagePath": "1.jpg"}))
    content, result = report_of(run, *command)
    counted = content["not_counted"]
    assert (counted["shapes_no_objects"], counted["photos_not_annotated"]) == (3, 2)
    assert (
        "do not count: 2 photos without a file of annotations, 3 shapes that are no objects\n"
    ) in result.stdout


@pytest.mark.usefixtures("loads")
def test_few_crowds_are_no_warning(run: Run) -> None:
    def few(content: dict[str, Any]) -> None:
        crowds = [one for one in content["annotations"] if one["iscrowd"]]
        for one in crowds[1:]:
            one["iscrowd"] = 0
        more = [{**crowds[1], "id": 100 + i} for i in range(5)]
        content["annotations"] += more

    change(few)
    content, result = report_of(run, *EVALUATE)
    assert (content["instances"], content["not_counted"]["crowd_regions"]) == (13, 1)
    assert "do not count: 1 crowd region\n" in result.stdout
    assert "crowd" not in result.stderr


@pytest.mark.usefixtures("loads")
def test_all_that_is_beyond_a_limit_is_counted(run: Run) -> None:
    change(lambda content: content["images"].insert(0, {**content["images"][0], "id": 1}))
    content, result = report_of(run, *EVALUATE, "--limit", "1")
    assert {what: count for what, count in content["not_counted"].items() if count} == {
        "crowd_regions": 1,
        "objects_beyond_limit": 4,
        "photos_beyond_limit": 2,
        "photos_without_objects": 1,
    }
    assert (
        "do not count: 1 crowd region, 4 objects on photos beyond --limit, 2 photos beyond "
        "--limit, 1 photo on which nothing is marked"
    ) in result.stdout
    content, _ = report_of(run, *DETECTIONS, "--limit", "2")  # one without an object counts
    assert {what: count for what, count in content["not_counted"].items() if count} == {
        "crowd_regions": 1,
        "objects_beyond_limit": 4,
        "photos_beyond_limit": 2,
        "boxes_beyond_limit": 4,
    }
    content, _ = report_of(run, *COMPARE, "--limit", "1", "--objects", "1")
    assert {what: count for what, count in content["not_counted"].items() if count} == {
        "crowd_regions": 3,
        "objects_beyond_largest": 1,
        "photos_beyond_limit": 2,
        "photos_without_objects": 1,
    }


@pytest.mark.usefixtures("loads")
def test_boxes_beyond_the_best_are_counted(run: Run) -> None:
    """COCO's rules count 100 boxes of a class in a photo."""
    row = {"image_id": 7, "category_id": EMU, "bbox": [30, 10, 20, 40]}
    boxes = [{**row, "score": 0.5 + i / 1000} for i in range(103)]
    Path("boxes.json").write_text(json.dumps(boxes))
    content, result = report_of(run, *DETECTIONS)
    assert content["not_counted"]["boxes_beyond_best"] == 3
    assert "3 boxes beyond the best ones that the rules count" in result.stdout


def bad_mask(content: dict[str, Any]) -> None:
    content["annotations"][-1]["segmentation"] = {"size": [60, 90], "counts": [1, 2]}


def no_photo(_: dict[str, Any]) -> None:
    Path("photos/3.jpg").unlink()


def cut_photo(_: dict[str, Any]) -> None:
    whole = Path("photos/3.jpg").read_bytes()
    Path("photos/3.jpg").write_bytes(whole[: len(whole) // 2])


def other_size(content: dict[str, Any]) -> None:
    content["images"][-1]["width"] += 1
    for one in content["annotations"]:
        one["segmentation"] = [[5, 5, 20, 5, 20, 20]]


@pytest.mark.parametrize("spoil", [bad_mask, no_photo, cut_photo, other_size])
@pytest.mark.parametrize(
    "command",
    [
        EVALUATE,
        (*EVALUATE, "--clicks", "2"),
        DETECTIONS,
        (*DETECTIONS[:-1], "ours", "--vocabulary", "truth.json"),
        ("calibrate", *EVALUATE[1:], "-o", "out.safetensors"),
    ],
)
def test_what_the_work_needs_is_checked_before_a_model_is_loaded(
    run: Run, loads: list[str], command: tuple[str, ...], spoil: Callable[[dict[str, Any]], None]
) -> None:
    change(spoil)
    result = run(*command)
    assert result.exit_code == 1, result.output
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert loads == []


@pytest.mark.parametrize("command", [EVALUATE, DETECTIONS, COMPARE])
def test_names_and_photos_are_checked_before_a_model_is_loaded(
    run: Run, loads: list[str], command: tuple[str, ...]
) -> None:
    for photo in Path("photos").iterdir():
        photo.unlink()
    assert run(*command).exit_code == 1
    assert run(*EVALUATE[:-1], "cat, dog").exit_code == 1
    assert loads == []


def test_words_for_one_and_for_several() -> None:
    assert LeftOut().sentence == ""
    every = dict.fromkeys(LeftOut().as_dict(), 1)
    assert sentence_of(every).count(", ") == len(every) - 1, "each has its words"
    assert sentence_of({"crowd_regions": 2000}) == "do not count: 2,000 crowd regions"
    assert sentence_of({"what a newer version counts": 3}) == ""


@pytest.mark.parametrize(
    ("iscrowd", "becomes"),
    [(1, 0), (True, 0), (0, 0), ("1", "1"), (1.0, 1.0), (2, 2), (None, None)],
)
def test_only_crowds_become_objects(iscrowd: object, becomes: object) -> None:
    content = {"images": [], "annotations": [{"iscrowd": iscrowd, "id": 4}, {"id": 5}, 7]}
    [first, *others] = crowds_as_objects(content)["annotations"]
    assert first == {"iscrowd": becomes, "id": 4}
    assert others == [{"id": 5}, 7]
    assert content["annotations"][0] == {"iscrowd": iscrowd, "id": 4}, "a copy"
    odds: tuple[object, ...] = (None, [], {}, {"annotations": 3})
    for odd in odds:
        assert crowds_as_objects(odd) == odd


def test_how_many_crowds_are_many() -> None:
    assert many_crowds(0, 0, "x") is None
    assert many_crowds(1, 9, "x") is None
    assert "2 of 11 annotations" in str(many_crowds(2, 9, "x"))
