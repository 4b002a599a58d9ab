"""Each layout, sound and spoilt: what it contains, and one sentence for each thing wrong."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from coco_rows import polygon, row
from ovsam.cli.app import app
from ovsam.data.check import Contents, check
from ovsam.data.contact_sheet import CELL, contact_sheet
from ovsam.errors import AnnotationError
from photo_folder import HEIGHT, WIDTH, rectangle, rle, write_folder, write_photo


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("photos"))


def coco(folder: Path, change: Callable[[dict[str, Any]], None] = lambda _: None) -> Contents:
    """Two photos, a cat on the first (a polygon), a dog on it (run lengths)."""
    for name in ("a.jpg", "b.jpg"):
        write_photo(folder / name)
    content: dict[str, Any] = {
        "images": [
            {"id": i, "file_name": name, "height": HEIGHT, "width": WIDTH}
            for i, name in enumerate(("a.jpg", "b.jpg"))
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 3, "name": "ox"}],
        "annotations": [
            row(5, 0, 1, [10, 10, 20, 20], polygon(10, 10, 30, 30)),
            row(6, 0, 2, [0, 0, 50, 40], rle(0, 0, 50, 40)),
        ],
    }
    change(content)
    path = folder / "instances.json"
    path.write_text(json.dumps(content))
    return check(path)


def test_a_sound_coco_file(tmp_path: Path) -> None:
    found = coco(tmp_path)
    assert (found.layout, found.photos, found.unlabelled) == ("COCO", 2, 1)
    assert found.instances == {"cat": 1, "dog": 1}
    assert found.classes == ("cat", "dog", "ox")
    assert found.sizes == {"small": 1, "medium": 1}
    assert found.problems == []
    assert len(found.samples) == 2


def test_boxes_without_masks_and_crowds(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        del content["annotations"][0]["segmentation"]
        content["annotations"][1]["iscrowd"] = 1

    found = coco(tmp_path, change)
    assert (found.without_mask, found.crowds, sum(found.instances.values())) == (1, 1, 1)
    assert found.problems == []


def set_annotation(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["annotations"][0].update(values)


PROBLEMS: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "unknown category": (set_annotation(category_id=9), "has the category 9, which is not listed"),
    "unknown photo": (set_annotation(image_id=9), "is of photo 9, which is not listed"),
    "repeated id": (set_annotation(id=6), r"annotations\[1\] .* repeats the id 6"),
    "NaN": (set_annotation(bbox=[float("nan"), 0, 5, 5]), "must have a bbox of four numbers"),
    "box outside": (set_annotation(bbox=[80, 10, 20, 20]), "leaves the photo of 90 x 60"),
    "box of another mask": (
        set_annotation(bbox=[40, 30, 20, 20]),
        "its box 40, 30, 60, 50 is not that of its mask, 10, 10, 30, 30",
    ),
    "two points": (set_annotation(segmentation=[[1, 1, 2, 2]]), "at least 3 points"),
    "another size": (
        set_annotation(segmentation={"size": [4, 4], "counts": [16]}),
        r"must have its photo's size \[60, 90\]",
    ),
    "empty": (
        set_annotation(segmentation={"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}),
        "its mask covers no pixel",
    ),
    "photo missing": (
        lambda content: content["images"][1].update(file_name="none.jpg"),
        r"none.jpg' does not exist",
    ),
    "photo listed twice": (
        lambda content: content["images"].append(content["images"][1] | {"id": 99}),
        r"b\.jpg' is listed twice",
    ),
    "photo of another size": (
        lambda content: content["images"][1].update(height=61),
        "is 90 x 60 pixels, its annotations say 90 x 61 pixels",
    ),
}


@pytest.mark.parametrize(("change", "sentence"), PROBLEMS.values(), ids=PROBLEMS)
def test_one_sentence_for_what_is_wrong(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], sentence: str
) -> None:
    [problem] = coco(tmp_path, change).problems
    assert re.search(sentence, problem)
    assert problem.endswith(".") and "\n" not in problem


def test_a_photo_cut_short_is_found(tmp_path: Path) -> None:
    coco(tmp_path)
    whole = (tmp_path / "b.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(whole + b"what a camera adds")
    assert check(tmp_path / "instances.json").problems == []
    (tmp_path / "b.jpg").write_bytes(whole[:-20])
    [problem] = check(tmp_path / "instances.json").problems
    assert "is damaged or cut short" in problem


def test_what_is_damaged_inside_is_found(tmp_path: Path) -> None:
    coco(tmp_path)
    photo = tmp_path / "b.png"
    Image.fromarray(np.arange(5400, dtype=np.uint8).reshape(60, 90)).save(photo)
    whole = bytearray(photo.read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    photo.write_bytes(whole)
    photo.rename(tmp_path / "b.jpg")
    [problem] = check(tmp_path / "instances.json").problems
    assert "is damaged or cut short" in problem


def test_lvis_names_photos_by_their_address(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        for image in content["images"]:
            name = image.pop("file_name")
            image["coco_url"] = f"http://images.cocodataset.org/train2017/{name}"

    assert coco(tmp_path, change).problems == []


def test_sa1b(root: Path) -> None:
    found = check(root / "bsds500/sa_000000")
    assert (found.layout, found.photos, found.classes) == ("SA-1B", 1, ())
    assert found.instances == {"": 1}
    assert found.problems == []
    listed = check(root / "bsds500")  # train.txt and val.txt; the held-out folder is spoilt
    assert (listed.photos, listed.unlabelled, sum(listed.instances.values())) == (2, 1, 1)
    annotation, photo = listed.problems
    assert "sa_2.json' is not JSON" in annotation
    assert "sa_2.jpg' is not" in photo


def test_masks_and_label_maps(tmp_path: Path) -> None:
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[5:20, 5:20], labels[30:50, 40:80], labels[:3] = 1, 7, 255
    for name in ("labels", "binary", "lonely"):
        write_photo(tmp_path / "images" / f"{name}.jpg")
    (tmp_path / "masks").mkdir()
    palette = Image.fromarray(labels, mode="P")
    palette.putpalette([9] * 768)
    palette.save(tmp_path / "masks/labels.png")
    binary = rectangle(0, 0, 9, 9, size_hw=(HEIGHT, WIDTH)).astype(np.uint8) * 255
    Image.fromarray(binary).save(tmp_path / "masks/binary.png")
    Image.fromarray(binary).save(tmp_path / "masks/stray.png")
    found = check(tmp_path)
    assert (found.photos, sum(found.instances.values())) == (2, 3)
    boxes = {item.box_xyxy for photo in found.samples for item in photo.instances}
    assert boxes == {(0, 0, 9, 9), (5, 5, 20, 20), (40, 30, 80, 50)}
    assert len(found.problems) == 2
    assert "lonely.jpg' has no mask" in found.problems[0]
    assert "stray.png' has no photo" in found.problems[1]


def test_classes_in_folders_and_tar_files(tmp_path: Path) -> None:
    write_photo(tmp_path / "set/n01/1.jpg")
    photo = write_photo(tmp_path / "2.jpg").read_bytes()
    with tarfile.open(tmp_path / "set/n02.tar", "w") as archive:
        for name, data in (("2.jpg", photo), ("3.jpg", b"no photo")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    (tmp_path / "set/n03.tar").write_bytes(b"no tar file")
    found = check(tmp_path / "set")
    assert found.instances == {"n01": 1, "n02": 2}
    assert {problem.split(" ")[0] for problem in found.problems} == {
        "'3.jpg'",
        f"'{tmp_path}/set/n03.tar'",
    }
    assert contact_sheet(found.samples).shape[:2] == (CELL + 18, 2 * CELL)


@pytest.mark.parametrize("name", ["nothing", "."])
def test_what_is_no_data_set(tmp_path: Path, name: str) -> None:
    with pytest.raises(AnnotationError, match=r"no data set at|none of the known layouts"):
        check(tmp_path / name)


def test_the_command(tmp_path: Path) -> None:
    coco(tmp_path)
    sheet, report = tmp_path / "sheet.png", tmp_path / "report.json"
    path = str(tmp_path / "instances.json")
    arguments = ["data", "check", path, "--sheet", str(sheet), "--json", str(report)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "nothing wrong" in result.output
    assert "classes without an object (1): ox" in result.output
    assert json.loads(report.read_text())["objects"] == {"cat": 1, "dog": 1}
    pixels = np.asarray(Image.open(sheet))
    assert pixels.shape == (CELL + 18, 2 * CELL, 3)
    colourful = np.ptp(pixels[:CELL].astype(int), axis=2) > 60
    assert colourful[:, :CELL].mean() > 0.05  # cat and dog
    assert not colourful[:, CELL:].any()

    coco(tmp_path, set_annotation(category_id=9))
    result = CliRunner().invoke(app, ["data", "check", path])
    assert result.exit_code == 1
    assert "has the category 9" in result.output


def all_crowds(content: dict[str, Any]) -> None:
    for one in content["annotations"]:
        one["iscrowd"] = 1


def test_the_command_says_what_evaluation_lacks(tmp_path: Path) -> None:
    """Boxes without masks, and photos without objects, are not wrong: training takes both."""

    def said(change: Callable[[dict[str, Any]], None]) -> str:
        coco(tmp_path, change)
        result = CliRunner().invoke(app, ["data", "check", str(tmp_path / "instances.json")])
        assert result.exit_code == 0, result.output
        assert "nothing wrong" in result.output
        return result.output

    needs = "Evaluation needs masks: 1 of the objects have none."
    assert needs in said(set_annotation(segmentation=None))
    assert needs in said(lambda content: content["annotations"][0].pop("segmentation"))
    none = "There is no object: evaluation needs some."
    assert none in said(lambda content: content["annotations"].clear())
    assert none in said(all_crowds)
    sound = said(lambda _: None)
    assert needs not in sound
    assert none not in sound
