"""LabelMe, YOLO, masks and class folders as people have them, and what is ignored in each."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import tarfile
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ovsam.data.check import Contents, check
from ovsam.data.dataset import read_data_set
from ovsam.errors import AnnotationError
from ovsam.formats.layouts import Split, list_photos, read_annotated
from ovsam.images.read import read_photo
from photo_folder import HEIGHT, WIDTH, rectangle, write_photo

SQUARE = [[10, 20], [30, 20], [30, 50], [10, 50]]


def shape(label: str = "cup", points: Any = SQUARE, **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "group_id": None, "shape_type": "polygon"} | more


def labelme(path: Path, *shapes: object, photo: str | None = "", **more: Any) -> Path:
    """A file and, where it is named "", the photo beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if photo == "":
        photo = f"{path.stem}.jpg"
        write_photo(path.parent / photo)
    content: dict[str, Any] = {
        "version": "5.5.0",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": photo,
    }
    content |= {"imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH}
    path.write_text(json.dumps(content | more))
    return path


def no_report(error: Exception) -> None:
    pytest.fail(str(error))


def masks_of(folder: Path) -> list[list[tuple[str, Any]]]:
    listing = list_photos(folder, None, no_report)
    return [
        [(one.category, one.mask((HEIGHT, WIDTH))) for one in photo.instances]
        for photo in listing.photos
    ]


def png(mask: Any) -> str:
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_labelme_is_read(tmp_path: Path) -> None:
    labelme(tmp_path / "a.json", shape(), shape("tea pot", [[0, 0], [5, 0], [5, 5]]))
    labelme(tmp_path / "b.json")
    found = check(tmp_path)
    assert (found.layout, found.photos, found.unlabelled) == ("LabelMe", 2, 1)
    assert found.instances == {"cup": 1, "tea pot": 1}
    assert (found.classes, found.problems, dict(found.ignored)) == (("cup", "tea pot"), [], {})
    assert found.sizes == {"small": 2}, "by the mask, where no area is given"
    [[(_, cup), _], []] = masks_of(tmp_path)
    assert np.array_equal(cup, rectangle(10, 20, 30, 50, size_hw=(HEIGHT, WIDTH)))


@pytest.mark.parametrize(
    ("drawn", "box"),
    [
        (shape(shape_type="rectangle", points=[[30, 50], [10, 20]]), (10, 20, 30, 50)),
        (shape(shape_type="rectangle"), (10, 20, 30, 50)),  # X-AnyLabeling: four corners
        (shape(shape_type="circle", points=[[20, 30], [20, 40]]), (10, 20, 30, 40)),
        (shape(shape_type=None), (10, 20, 30, 50)),
        (
            shape(
                shape_type="mask",
                points=[[10, 20], [29, 49]],
                mask=png(np.ones((30, 20), np.uint8)),
            ),
            (10, 20, 30, 50),
        ),
        (
            shape(shape_type="mask", points=[[10, 20], [29, 49]], mask=png(np.ones((30, 20)) > 0)),
            (10, 20, 30, 50),
        ),
        (shape(points=[[-5, 20], [30, 20], [30, 70], [-5, 70]]), (0, 20, 30, 60)),
    ],
)
def test_shapes_of_labelme(tmp_path: Path, drawn: dict[str, Any], box: tuple[int, ...]) -> None:
    labelme(tmp_path / "a.json", drawn)
    [photo] = list_photos(tmp_path, None, no_report).photos
    [one] = photo.instances
    assert one.box_xyxy == pytest.approx(box, abs=0.05)
    mask = one.mask((HEIGHT, WIDTH))
    if drawn["shape_type"] == "circle":
        assert abs(mask.sum() - 314) < 12
    else:
        x0, y0, x1, y1 = box
        assert np.array_equal(mask, rectangle(x0, y0, x1, y1, size_hw=(HEIGHT, WIDTH)))


def test_shapes_of_a_group_are_one_object(tmp_path: Path) -> None:
    right = [[40, 20], [60, 20], [60, 50], [40, 50]]
    brush = {"shape_type": "mask", "points": [[40, 20], [59, 49]]}
    brush["mask"] = png(np.ones((30, 20), np.uint8))
    for second in (shape(points=right, group_id=1), shape(group_id=1) | brush):
        labelme(
            tmp_path / "a.json",
            shape(group_id=1),
            second,
            shape("saucer", right, group_id=1),
            shape(group_id=2),
        )
        [[(name, both), (other, _), (third, _)]] = masks_of(tmp_path)
        assert (name, other, third) == ("cup", "saucer", "cup")
        assert both.sum() == 2 * 20 * 30


def test_shapes_that_are_no_objects_are_counted(tmp_path: Path) -> None:
    labelme(
        tmp_path / "a.json",
        shape(),
        shape(shape_type="line", points=[[1, 1], [5, 5]]),
        shape(shape_type="point", points=[[1, 1]]),
        shape("__ignore__"),
    )
    found = check(tmp_path)
    assert (found.instances, found.problems) == ({"cup": 1}, [])
    assert found.ignored == {
        "shapes that enclose nothing (line)": 1,
        "shapes that enclose nothing (point)": 1,
        "shapes that are called __ignore__": 1,
    }


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (7, r"shapes\[1\] of '.*a.json' must be an object, got 7"),
        (shape(label=""), "must have a text as 'label'"),
        (shape(label="a\0b"), r"shapes\[1\] of '.*a.json' has a name that is none"),
        (shape(shape_type="cuboid"), "of the unknown type 'cuboid'"),
        (shape(points=[[1, 2], [3]]), r"must have points \[x, y\]"),
        (shape(points=[[1, 2], [3, float("nan")], [4, 5]]), r"must have points \[x, y\]"),
        (shape(points=[[1, 2], [3, 4]]), "at least 3 points"),
        (shape(points=[[0, 0], [1e9, 0], [5, 5]]), "must lie on its photo"),
        (shape(points=[[200, 0], [300, 0], [300, 50]]), "encloses nothing of its photo"),
        (shape(shape_type="circle", points=[[1, 2]]), "two points as a circle"),
        (shape(shape_type="mask", points=[[1, 2], [3, 4]]), "a mask that cannot be read"),
        (shape(shape_type="mask", points=[[1, 2], [3, 4]], mask="!"), "a mask that cannot be read"),
        (
            shape(shape_type="mask", points=[[80, 2], [3, 4]], mask=png(np.ones((30, 20)) > 0)),
            "leaves its photo",
        ),
        (
            shape(shape_type="mask", points=[[1, 2], [3, 4]], mask=png(np.zeros((30, 20)) > 0)),
            "has no pixel",
        ),
    ],
)
def test_a_bad_shape_is_named_and_left_out(tmp_path: Path, bad: object, message: str) -> None:
    labelme(tmp_path / "a.json", shape(), bad)
    found = check(tmp_path)
    assert found.instances == {"cup": 1}
    [problem] = found.problems
    assert re.search(message, problem) and problem.endswith(".")
    with pytest.raises(AnnotationError, match=message):
        read_annotated(tmp_path, None)


@pytest.mark.parametrize(
    ("json_name", "photo", "named"),
    [
        ("a.json", "a.jpg", "a.jpg"),
        ("json/a.json", "images/a.jpg", "..\\images\\a.jpg"),
        ("json/a.json", "images/a.jpg", "../images/a.jpg"),
        ("a.json", "a.jpg", "C:\\Users\\me\\photos\\a.jpg"),
        ("a.json", "a.jpg", "/home/me/a.jpg"),
        ("a.json", "a.jpg", "../../outside/a.jpg"),
        ("a.json", "A.JPG", "a.jpg"),
        ("a.json", "a.png", "gone.jpg"),
        ("a.json", "a.jpg", None),
        ("train/a.json", "train/a.jpg", "a.jpg"),
    ],
)
def test_the_photo_of_a_labelme_file(
    tmp_path: Path, json_name: str, photo: str, named: str | None
) -> None:
    root = tmp_path / "set"
    write_photo(tmp_path / "outside/a.jpg", size_hw=(5, 5))
    write_photo(root / photo)
    labelme(root / json_name, shape(), photo=named)
    [listed] = list_photos(root, None, no_report).photos
    assert listed.path == root / photo


def test_photos_of_labelme_in_a_folder_of_their_own(tmp_path: Path) -> None:
    labelme(tmp_path / "json/a.json", shape(), photo="..\\..\\photos\\a.jpg")
    write_photo(tmp_path / "photos/a.jpg")
    [listed] = list_photos(tmp_path / "json", tmp_path / "photos", no_report).photos
    assert listed.path == tmp_path / "photos/a.jpg"
    [problem] = check(tmp_path / "json").problems
    assert "a.jpg' does not exist" in problem


def test_a_photo_within_labelmes_file(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").unlink()
    data = base64.b64encode(photo).decode()
    sizes = {"imageHeight": None, "imageWidth": None}
    labelme(tmp_path / "set/a.json", shape(), photo="a.png", imageData=data, **sizes)
    found = check(tmp_path / "set")
    assert (found.photos, found.problems) == (1, [])
    annotations, images = read_annotated(tmp_path / "set", None)
    assert annotations.photos[0].size_hw == (HEIGHT, WIDTH)
    [listed] = list_photos(tmp_path / "set", None, no_report).photos
    assert read_photo(listed.open()).shape == (HEIGHT, WIDTH, 3)
    from ovsam.evaluate.photos import check_photos, read_annotated_photo

    [checked] = check_photos("set", annotations.photos, images)
    assert read_annotated_photo(checked, images).shape == (HEIGHT, WIDTH, 3)
    labelme(tmp_path / "set/a.json", shape(), photo="a.png", imageData="!!!")
    [problem] = check(tmp_path / "set").problems
    assert "holds no photo as its imageData" in problem and "\n" not in problem


def test_labelmes_photos_and_files_that_do_not_belong(tmp_path: Path) -> None:
    labelme(tmp_path / "a.json", shape())
    write_photo(tmp_path / "b.jpg")
    (tmp_path / "labels.txt").write_text("cup\n")
    (tmp_path / "._a.json").write_bytes(b"\0\5\x16\7")
    (tmp_path / ".hidden").mkdir()
    labelme(tmp_path / ".hidden/c.json", shape())
    found = check(tmp_path)
    assert (found.photos, found.problems) == (1, [])
    assert found.ignored == {
        "hidden files and folders, and those of a system": 2,
        "photos without a JSON file, not annotated": 1,
        "files that are no photos (.txt)": 1,
    }


def test_labelme_in_folders_is_not_a_folder_for_each_class(tmp_path: Path) -> None:
    for part in ("train", "val"):
        labelme(tmp_path / part / f"{part}.json", shape())
    assert check(tmp_path).layout == "LabelMe"
    assert check(tmp_path / "val").photos == 1


# YOLO

POLYGON = "1 0.1 0.2 0.5 0.2 0.5 0.8 0.1 0.8"
BOX = "0 0.5 0.5 0.2 0.4"


def yolo(root: Path, content: str | None = None, **labels: str | None) -> Path:
    """Photos `train_a`: in `images/train/`, with `labels/train/`; None = no label file."""
    for name, text in labels.items():
        part, stem = name.split("_")
        write_photo(root / "images" / part / f"{stem}.jpg")
        (root / "labels" / part).mkdir(parents=True, exist_ok=True)
        if text is not None:
            (root / "labels" / part / f"{stem}.txt").write_text(text)
    if content is None:
        content = "train: images/train\nval: images/val\nnames: {0: cat, 1: coffee mug}\n"
    root.mkdir(exist_ok=True)
    (root / "data.yaml").write_text(content)
    return root / "data.yaml"


def test_yolo_is_read(tmp_path: Path) -> None:
    file = yolo(
        tmp_path / "set", train_a=f"{POLYGON}\n\n{BOX}\n", train_b="", val_c=POLYGON, val_d=None
    )
    for path in (file, file.parent):
        found = check(path)
        assert (found.layout, found.photos, found.unlabelled) == ("YOLO, train, val", 4, 2)
        assert found.instances == {"coffee mug": 2, "cat": 1}
        assert (found.classes, found.without_mask) == (("cat", "coffee mug"), 1)
        assert found.problems == []
        assert found.ignored == {"photos without a label file: nothing is marked on them": 1}
    first, *_ = list_photos(file, None, no_report).photos
    mug, cat = first.instances
    assert mug.box_xyxy == pytest.approx((9, 12, 45, 48))
    assert np.array_equal(
        mug.mask((HEIGHT, WIDTH)), rectangle(9, 12, 45, 48, size_hw=(HEIGHT, WIDTH))
    )
    assert (cat.category, cat.segmentation) == ("cat", None)
    assert cat.box_xyxy == pytest.approx((36, 18, 54, 42))


@pytest.mark.parametrize(
    ("split", "names"), [("train", ["a", "b"]), ("val", ["c"]), (None, ["a", "b", "c"])]
)
def test_each_command_takes_its_part(tmp_path: Path, split: Split | None, names: list[str]) -> None:
    file = yolo(tmp_path / "set", train_a=POLYGON, train_b=POLYGON, val_c=POLYGON)
    listing = list_photos(file, None, no_report, split)
    assert [photo.path.stem for photo in listing.photos] == names
    annotations, _ = read_annotated(file, None)
    assert [photo.file_name for photo in annotations.photos] == ["c.jpg"]
    assert len(read_data_set(file)) == 2
    for folder, count in (("images/train", 2), ("images/val", 1)):
        assert len(read_data_set(file.parent / folder)) == count
        assert check(file.parent / folder).layout == "YOLO"
    file.write_text("train: images/train\nnames: [cat, mug]\n")
    assert len(read_annotated(file, None)[0].photos) == 2
    file.write_text("train: images/train\ntest: images/val\nnames: [cat, mug]\n")
    with pytest.raises(AnnotationError, match=r"lists train, test, and not val\. Give the folder"):
        read_annotated(file, None)


@pytest.mark.parametrize(
    "content",
    [
        "path: .\ntrain: images/train\nnames: [cat, coffee mug]\n",
        "path: /content/set\ntrain: images/train\nnames: [cat, coffee mug]\nnc: 2\n",
        "path: ../set\ntrain: [images/train]\nval:\nnames: {0: cat, 1: coffee mug}\n",
        "train: ../images/train\nnames: ['cat', 'coffee mug']\n",  # Roboflow
        "train: images\\train\nnames: ['cat', 'coffee mug']\n",
        "train: train.txt\nnames: ['cat', 'coffee mug']\n",
        "names: ['cat', 'coffee mug']\n",
    ],
)
def test_how_a_data_yaml_may_name_its_photos(tmp_path: Path, content: str) -> None:
    file = yolo(tmp_path / "set", content, train_a=POLYGON)
    (tmp_path / "set/train.txt").write_text("./images/train/a.jpg\n")
    found = check(file)
    assert (found.photos, found.instances, found.problems) == (1, {"coffee mug": 1}, [])


def test_photos_that_a_list_names(tmp_path: Path) -> None:
    file = yolo(tmp_path / "set", "val: val.txt\nnames: [cat, mug]\n", val_a=POLYGON, val_b="")
    write_photo(tmp_path / "outside.jpg")
    lines = ("/home/me/set/images/val/a.jpg", "C:\\set\\images\\val\\b.jpg", "../outside.jpg", "./")
    (tmp_path / "set/val.txt").write_text("\n".join(lines))
    found = check(file)
    assert found.photos == 2
    outside, folder = found.problems
    assert "Line 3 of" in outside and "'../outside.jpg', which is not there" in outside
    assert "Line 4 of" in folder and "'./', which is not there" in folder


def test_other_places_of_labels(tmp_path: Path) -> None:
    roboflow = tmp_path / "roboflow"
    write_photo(roboflow / "valid/images/a.jpg")
    (roboflow / "valid/labels").mkdir()
    (roboflow / "valid/labels/a.txt").write_text(POLYGON)
    (roboflow / "data.yaml").write_text("val: ../valid/images\nnames: [cat, mug]\n")
    flat = tmp_path / "flat"
    write_photo(flat / "a.jpg")
    (flat / "a.txt").write_text(POLYGON)
    (flat / "classes.txt").write_text("cat\nmug\n")
    for path in (roboflow, roboflow / "valid", roboflow / "valid/images", flat):
        found = check(path)
        assert (found.photos, found.instances, found.problems) == (1, {"mug": 1}, []), path


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 0.5 0.5 0.2 0.4", "has the class 2, which is not listed: there are 2 names"),
        ("-1 0.5 0.5 0.2 0.4", "has the class -1, which is not listed"),
        ("0.5 0.5 0.5 0.2 0.4", "must begin with the number of a class"),
        ("nan 0.5 0.5 0.2 0.4", "must begin with the number of a class"),
        ("cat 0.5 0.5 0.2 0.4", "must have numbers"),
        ("0 0.5 0.5 0.2", "a box .4 numbers. or a polygon"),
        ("0 0.5 0.5 0.2 0.4 0.9", "got 6 numbers"),
        ("0", "got 1 numbers"),
        ("0 1 2 40 30", "must have shares of the photo from 0 to 1"),
        ("0 nan 0.5 0.2 0.4", "must have shares of the photo"),
        ("0 -0.1 0.5 0.2 0.4", "must have shares of the photo"),
        ("0 0.5 0.5 0 0.4", "encloses nothing"),
        ("0 0.1 0.1 0.5 0.1 0.9 0.1", "encloses nothing"),
    ],
)
def test_a_bad_line_is_named_and_left_out(tmp_path: Path, line: str, message: str) -> None:
    file = yolo(tmp_path / "set", train_a=f"{POLYGON}\n{line}\n")
    shutil.rmtree(tmp_path / "set/images/val", ignore_errors=True)
    file.write_text("train: images/train\nnames: [cat, coffee mug]\n")
    found = check(file)
    assert found.instances == {"coffee mug": 1}
    [problem] = found.problems
    assert re.search(f"Line 2 of .*a.txt' .*{message}", problem)
    assert problem.endswith(".")
    with pytest.raises(AnnotationError, match=message):
        read_annotated(file, None)


def test_key_points_are_boxes(tmp_path: Path) -> None:
    content = "kpt_shape: [2, 3]\ntrain: images/train\nnames: [cat]\n"
    file = yolo(tmp_path / "set", content, train_a=f"{BOX} 0.4 0.4 2 0.6 0.6 1\n")
    [photo] = list_photos(file, None, no_report).photos
    [one] = photo.instances
    assert one.box_xyxy == pytest.approx((36, 18, 54, 42))
    assert one.segmentation is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("names: [cat\n", "no YAML that ovsam reads"),
        ("train: images\n", "must have the class names as 'names'"),
        ("- a\n", "must have the class names as 'names'"),
        ("names: []\n", "must have a list of texts"),
        ("names: cat\n", "must have a list of texts"),
        ("names: [[cat]]\n", "a name that is none"),
        ("names: {a: cat}\n", "must number its names from 0, got 'a'"),
        ("names: [cat, dog]\nnc: 3\n", "has 2 names, but says that there are '3'"),
        ("names: ['']\n", "a name that is none"),
        ("a: &a [x]\nb: &b [*a, *a]\nnames: [*b, *b]\n", "it has aliases"),
        ("names: " + "[" * 5000, "no YAML that ovsam reads"),
    ],
)
def test_a_data_yaml_that_is_none(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "data.yaml"
    file.write_text(content)
    with pytest.raises(AnnotationError, match=message) as caught:
        check(file)
    text = str(caught.value)
    assert "data.yaml" in text and "\n" not in text and text.endswith(".")


def test_no_tag_of_yaml_is_obeyed(tmp_path: Path) -> None:
    made = tmp_path / "made"
    content = f"names: !!python/object/apply:os.mkdir ['{made}']\ntrain: images/train\n"
    assert check(yolo(tmp_path / "set", content, train_a="")).classes == (str(made),)
    assert not made.exists()


def test_texts_stay_texts(tmp_path: Path) -> None:
    file = yolo(tmp_path, "train: images/train\nnames: [no, on, 1, 1.50, ~, null]\n", train_a="")
    assert check(file).classes == ("no", "on", "1", "1.50", "~", "null")


def test_label_files_without_a_photo_are_counted(tmp_path: Path) -> None:
    file = yolo(tmp_path / "set", train_a=POLYGON, val_b=POLYGON)
    (file.parent / "labels/val/gone.txt").write_text(POLYGON)
    (file.parent / "labels/val/classes.txt").write_text("cat\n")
    (file.parent / "labels/val/._b.txt").write_text("x")
    (file.parent / "images/val/._b.jpg").write_text("x")
    found = check(file)
    assert (found.photos, found.problems) == (2, [])
    assert found.ignored == {
        "label files without a photo that is listed": 1,
        "hidden files and folders, and those of a system": 1,
    }


# What evaluation takes


def test_annotations_are_the_same_in_all_layouts(tmp_path: Path) -> None:
    points = [[9, 12], [45, 12], [45, 48], [9, 48]]
    labelme(tmp_path / "labelme/c.json", shape("coffee mug", points))
    file = yolo(tmp_path / "yolo", train_a="", val_c=POLYGON)
    found = [read_annotated(path, None) for path in (tmp_path / "labelme", file)]
    for content, images in found:
        [photo] = content.photos
        [one] = content.instances
        assert (photo.file_name, photo.size_hw) == ("c.jpg", (HEIGHT, WIDTH))
        assert (images / photo.file_name).is_file()
        assert (one.photo_id, one.category) == (photo.id, "coffee mug")
        assert one.box_xyxy == pytest.approx((9, 12, 45, 48))
        assert one.mask(photo.size_hw).sum() == 36 * 36
        content.check_masks(content.photos)


def test_boxes_alone_are_no_masks_to_evaluate(tmp_path: Path) -> None:
    file = yolo(tmp_path / "set", train_a="", val_b=f"{POLYGON}\n{BOX}\n")
    annotations, _ = read_annotated(file, None)
    with pytest.raises(AnnotationError, match=r"A box alone is no mask.*: 1 of 2 objects here"):
        annotations.check_masks(annotations.photos)


def test_objects_are_numbered_through_a_data_set(tmp_path: Path) -> None:
    for name in "ab":
        labelme(tmp_path / f"{name}.json", shape(), shape())
    annotations, _ = read_annotated(tmp_path, None)
    assert [one.id for one in annotations.instances] == [1, 2, 3, 4]
    assert [one.photo_id for one in annotations.instances] == [1, 1, 2, 2]


def test_what_has_no_named_masks_is_not_evaluated(tmp_path: Path) -> None:
    write_photo(tmp_path / "net/cat/a.jpg")
    mask_folder(tmp_path / "masks", rectangle(1, 1, 9, 9, (HEIGHT, WIDTH)).astype(np.uint8))
    for name, lacks in (("net", "masks"), ("masks", "names")):
        with pytest.raises(AnnotationError, match=f"have no {lacks}: give a data set"):
            read_annotated(tmp_path / name, None)
    for name, message in (("none.json", "Cannot read the annotations"), ("no.yaml", "no data set")):
        with pytest.raises(AnnotationError, match=message):
            read_annotated(tmp_path / name, None)


# Masks


def mask_folder(root: Path, mask: Any, name: str = "a.png", photo: str = "a.jpg") -> Path:
    write_photo(root / "images" / photo)
    (root / "masks").mkdir(exist_ok=True)
    Image.fromarray(mask).save(root / "masks" / name)
    return root


def test_what_was_done_to_masks_is_said_once(tmp_path: Path) -> None:
    whole = Image.fromarray(rectangle(21, 13, 71, 47, (HEIGHT, WIDTH)).astype(np.uint8) * 255)
    soft = np.asarray(whole.resize((45, 30)).resize((WIDTH, HEIGHT)))
    numbers = np.zeros((HEIGHT, WIDTH), np.uint8)
    numbers[5:30, 5:30], numbers[30:50, 40:70] = 1, 255
    for name in "ab":
        mask_folder(tmp_path, soft, f"{name}.png", f"{name}.jpg")
    mask_folder(tmp_path, numbers, "c.png", "c.jpg")
    found = check(tmp_path)
    assert (found.problems, sum(found.instances.values())) == ([], 3)
    assert found.notes == {
        "masks with grey rims, cut at half of white": 2,
        "label maps in which 255 is no object but void": 1,
    }


def test_mixed_numbers_are_a_problem_of_their_photo(tmp_path: Path) -> None:
    numbers = np.zeros((HEIGHT, WIDTH), np.uint8)
    for i in range(4):
        numbers[10:50, 20 * i + 5 : 20 * i + 22] = 50 * (i + 1)
    shrunk = Image.fromarray(numbers).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    blurred = np.asarray(shrunk.resize((45, 30)).resize((WIDTH, HEIGHT)))
    found = check(mask_folder(tmp_path, blurred))
    [problem] = found.problems
    assert "masks/a.png' cannot be used: its" in problem and "nearest neighbour" in problem
    assert found.instances == {}


@pytest.mark.parametrize("name", ["a.PNG", "A.png", "a.jpg", "a.bmp", "a.tif"])
def test_masks_of_other_suffixes(tmp_path: Path, name: str) -> None:
    mask = rectangle(21, 13, 71, 47, (HEIGHT, WIDTH)).astype(np.uint8) * 255
    found = check(mask_folder(tmp_path, mask, name, "a.JPG"))
    assert (found.problems, sum(found.instances.values())) == ([], 1)


def test_masks_and_photos_that_do_not_belong(tmp_path: Path) -> None:
    mask = rectangle(21, 13, 71, 47, (HEIGHT, WIDTH)).astype(np.uint8) * 255
    mask_folder(tmp_path, mask)
    Image.fromarray(mask).save(tmp_path / "masks/a.jpg")
    Image.fromarray(mask).save(tmp_path / "masks/b.png")
    for name in ("masks/._a.png", "masks/notes.txt", "images/Thumbs.db", "images/.DS_Store"):
        (tmp_path / name).write_text("x")
    found = check(tmp_path)
    assert found.photos == 1
    second, without = found.problems
    assert "masks/a.jpg' is a second one beside 'a.png'" in second
    assert "masks/b.png' has no photo of its stem" in without
    assert found.ignored == {
        "hidden files and folders, and those of a system": 3,
        "files that are no photos (.txt)": 1,
    }


def test_names_with_letters_composed_otherwise(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    mask = rectangle(21, 13, 71, 47, (HEIGHT, WIDTH)).astype(np.uint8) * 255
    mask_folder(tmp_path / "masks", mask, f"{apart}.png", f"{composed}.jpg")
    write_photo(tmp_path / f"sa/{apart}.JPG")
    region = {"id": 1, "bbox": [0, 0, 5, 5], "segmentation": [[0, 0, 5, 0, 5, 5]]}
    (tmp_path / f"sa/{composed}.json").write_text(json.dumps({"annotations": [region]}))
    for folder in ("masks", "sa"):
        found = check(tmp_path / folder)
        assert (found.photos, found.problems, sum(found.instances.values())) == (1, [], 1), folder


# SA-1B, COCO and classes


def test_what_is_ignored_beside_regions(tmp_path: Path) -> None:
    write_photo(tmp_path / "sa_1.jpg")
    write_photo(tmp_path / "sa_2.jpg")
    content = {"annotations": [{"bbox": [0, 0, 5, 5], "segmentation": [[0, 0, 5, 0, 5, 5]]}]}
    (tmp_path / "sa_1.JSON").write_text(json.dumps(content))
    for name in ("._sa_1.json", "._sa_1.jpg"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    (tmp_path / "license.md").write_text("free")
    found = check(tmp_path)
    assert (found.layout, found.photos, found.problems) == ("SA-1B", 1, [])
    assert found.ignored == {
        "hidden files and folders, and those of a system": 2,
        "photos without a JSON file, not annotated": 1,
        "files that are no photos (.md)": 1,
    }


def classes(root: Path) -> Contents:
    for name in ("cat/a.jpg", "cup/b.jfif", ".ipynb_checkpoints/a.jpg", "bag, paper/c.JPG"):
        write_photo(root / "x.jpg")
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "x.jpg").rename(root / name)
    (root / "__MACOSX/cat").mkdir(parents=True)
    for name in ("cat/._a.jpg", "__MACOSX/cat/._a.jpg", "cat/.DS_Store", "cat/notes.txt", "x.csv"):
        (root / name).write_text("x")
    (root / "cat/more").mkdir()
    (root / "empty").mkdir()
    return check(root)


def test_what_is_ignored_beside_classes(tmp_path: Path) -> None:
    found = classes(tmp_path / "set")
    assert found.classes == ("bag, paper", "cat", "cup")
    assert (found.photos, found.problems) == (3, [])
    assert found.ignored == {
        "hidden files and folders, and those of a system": 4,
        "files that are no photos (.csv)": 1,
        "files that are no photos (.txt)": 1,
        "folders that are no part of the layout": 2,
    }
    [paper, *_] = list_photos(tmp_path / "set", None, no_report).categories
    assert paper.synonyms == ("bag, paper",)


def test_what_is_ignored_in_a_tar_file(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.jpg")
    with tarfile.open(tmp_path / "cat.tar", "w") as archive:
        for name in ("a.JPG", "./b.jpg", "._a.jpg", "__MACOSX/a.jpg", "notes.txt"):
            archive.add(tmp_path / "a.jpg", name)
    (tmp_path / "a.jpg").unlink()
    (tmp_path / "._cat.tar").write_text("x")
    found = check(tmp_path)
    assert (found.photos, found.classes, found.problems) == (2, ("cat",), [])
    assert found.ignored == {
        "hidden files and folders, and those of a system": 3,
        "files that are no photos (.txt)": 1,
    }


def test_a_photo_of_coco_is_found_by_any_way_of_writing_its_name(tmp_path: Path) -> None:
    write_photo(tmp_path / "photos/images/a b.JPG")
    image = {"id": 1, "file_name": "images\\a%20b.jpg", "height": HEIGHT, "width": WIDTH}
    content = {"images": [image], "categories": [], "annotations": []}
    (tmp_path / "a.json").write_text(json.dumps(content))
    [photo] = list_photos(tmp_path / "a.json", tmp_path / "photos", no_report).photos
    assert photo.path == tmp_path / "photos/images/a b.JPG"
    from ovsam.evaluate.photos import check_photos, read_annotated_photo

    annotations, images = read_annotated(tmp_path / "a.json", tmp_path / "photos")
    [found] = check_photos("a.json", annotations.photos, images)
    assert found.file_name == "images/a b.JPG"
    assert read_annotated_photo(found, images).shape == (HEIGHT, WIDTH, 3)


def test_headings_are_said(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.jpg")
    image = {"id": 1, "file_name": "a.jpg", "height": HEIGHT, "width": WIDTH}
    categories = [
        {"id": 0, "name": "pets", "supercategory": "none"},
        {"id": 1, "name": "cat", "supercategory": "pets"},
    ]
    one = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[10, 10, 30, 10, 30, 30]]}
    content = {"images": [image], "categories": categories, "annotations": [one]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    found = check(tmp_path / "a.json")
    assert (found.classes, found.headings, found.problems) == (("cat",), ("pets",), [])


@pytest.mark.parametrize(
    "folders",
    [
        ("train", "valid", "test"),  # Roboflow's, with an annotation file in each
        ("JPEGImages", "SegmentationClass", "SegmentationObject"),  # Pascal VOC's
        ("JPEGImages", "Visualization"),
        ("train2017", "val2017"),
        ("photos",),
    ],
)
def test_folders_of_another_layout_are_no_classes(tmp_path: Path, folders: tuple[str, ...]) -> None:
    for folder in folders:
        write_photo(tmp_path / folder / "a.jpg")
    with pytest.raises(AnnotationError, match=r"none of the known layouts.*Give the path of one"):
        list_photos(tmp_path, None, no_report)
    (tmp_path / folders[0] / "._x.json").touch()
    (tmp_path / folders[0] / "_annotations.coco.json").touch()
    with pytest.raises(AnnotationError, match=rf"such as '.*{folders[0]}/_annotations.coco.json'"):
        list_photos(tmp_path, None, no_report)
    write_photo(tmp_path / "bus" / "a.jpg")  # a train beside other classes
    assert len(list_photos(tmp_path, None, no_report).categories) == len(folders) + 1


def test_a_list_of_photos_is_no_list_of_folders(tmp_path: Path) -> None:
    write_photo(tmp_path / "obj_train_data" / "a.jpg")
    (tmp_path / "train.txt").write_text("data/obj_train_data/a.jpg\n")
    for path in (tmp_path, tmp_path / "train.txt"):
        with pytest.raises(AnnotationError, match=r"train.txt' lists photos, as YOLO's .*'names'"):
            list_photos(path, None, no_report)


def test_a_map_of_numbers_in_a_jpeg_file_is_a_problem(tmp_path: Path) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[8:24, 8:24] = 1
    mask[8:24, 24:40] = 2
    mask_folder(tmp_path, mask)
    assert len(next(iter(list_photos(tmp_path, None, no_report).photos)).instances) == 2
    (tmp_path / "masks/a.png").rename(tmp_path / "masks/a.JPG")
    [photo] = list_photos(tmp_path, None, no_report).photos
    assert not photo.instances and "JPEG changes numbers" in photo.problems[0]
