"""Data sets to draw from: classes, selections, and what is wrong, in each layout."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ovsam.data.dataset import DataSet, all_annotations, read_data_set
from ovsam.errors import AnnotationError
from ovsam.formats.annotations import Category
from ovsam.images.read import read_photo
from photo_folder import HEIGHT, WIDTH, rectangle, write_folder, write_photo


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("photos"))


def annotation(number: int, photo: int, category: int) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": photo,
        "category_id": category,
        "bbox": [10, 10, 20, 20],
        "segmentation": [[10, 10, 30, 10, 30, 30, 10, 30]],
    }


def lvis(folder: Path) -> Path:
    """Photo 1: a cat, oxen that are not all marked, no mug. Photo 2: a mug (rare), no cat."""
    image = {"height": HEIGHT, "width": WIDTH}
    address = "http://images.cocodataset.org/train2017/"
    content = {
        "images": [
            {
                **image,
                "id": 1,
                "coco_url": f"{address}1.jpg",
                "neg_category_ids": [30],
                "not_exhaustive_category_ids": [20],
            },
            {
                **image,
                "id": 2,
                "coco_url": f"{address}2.jpg",
                "neg_category_ids": [10],
                "not_exhaustive_category_ids": [30],
            },
        ],
        "categories": [
            {"id": 10, "name": "cat", "synonyms": ["cat", "Pussy_cat"], "frequency": "f"},
            {"id": 20, "name": "ox", "synonyms": ["ox"], "frequency": "c"},
            {"id": 30, "name": "coffee_mug", "synonyms": [], "frequency": "r"},
        ],
        "annotations": [annotation(1, 1, 10), annotation(2, 1, 20), annotation(3, 2, 30)],
    }
    path = folder / "lvis_v1.json"
    path.write_text(json.dumps(content))
    return path


def test_lvis(tmp_path: Path) -> None:
    data_set = read_data_set(lvis(tmp_path))
    assert data_set.name == "lvis_v1"
    assert data_set.categories == (
        Category("cat", ("cat", "pussy cat"), "f"),
        Category("ox", ("ox",), "c"),
        Category("coffee_mug", ("coffee mug",), "r"),
    )
    assert data_set.classes == ("cat", "ox", "coffee_mug")
    assert [data_set.class_index(name) for name in ("", "cat", "coffee_mug")] == [-1, 0, 2]
    first, second = data_set[0], data_set[1]
    assert first.negative_classes == ("coffee_mug",)
    assert first.not_exhaustive_classes == ("ox",)
    assert [instance.category for instance in first.instances] == ["cat", "ox"]
    assert second.negative_classes == ("cat",)
    assert [data_set.listed_classes(i) for i in (0, 1)] == [{"cat", "ox"}, {"coffee_mug"}]


def test_lvis_without_its_rare_classes(tmp_path: Path) -> None:
    data_set = read_data_set(lvis(tmp_path)).without_rare()
    assert data_set.classes == ("cat", "ox")
    assert data_set.synonyms == (("cat", "pussy cat"), ("ox",))
    assert data_set.class_index("coffee_mug") == -1
    first, second = data_set[0], data_set[1]
    assert [instance.category for instance in first.instances] == ["cat", "ox"]
    assert first.negative_classes == ()
    assert (second.instances, second.not_exhaustive_classes) == ((), ())
    marked = data_set.where(lambda photo: bool(photo.instances))
    assert [photo.path.name for photo in marked.photos] == ["1.jpg"]


def test_coco_says_nothing_of_absent_classes(root: Path) -> None:
    path = root / "clothing/instances.json"
    data_set = read_data_set(path, root / "clothing/photos", name="clothing")
    assert (data_set.name, len(data_set), data_set.problems) == ("clothing", 1, ())
    assert data_set[0].negative_classes is None
    person = data_set.with_classes(["person"])
    assert (person.classes, person.class_index("person")) == (("person",), 0)
    assert [instance.category for instance in person[0].instances] == ["person"]
    assert person[0].negative_classes is None
    for names in (["persons"], []):
        with pytest.raises(AnnotationError, match="has no class"):
            data_set.with_classes(names)


def test_photos_in_sub_folders_that_are_kept_or_not(tmp_path: Path) -> None:
    """V3Det names `images/Q100/a.jpg`, Objects365 `images/v1/patch0/b.jpg` for `patch0/b.jpg`."""
    names = ("images/Q100/a.jpg", "images/v1/patch0/b.jpg", "elsewhere/c.jpg")
    for name in ("images/Q100/a.jpg", "patch0/b.jpg", "c.jpg"):
        write_photo(tmp_path / name)
    images = [
        {"id": i, "file_name": name, "height": HEIGHT, "width": WIDTH}
        for i, name in enumerate(names)
    ]
    categories = [{"id": i, "name": name} for i, name in enumerate(("Cup/Mug", "Wild Bird"))]
    content = {"images": images, "categories": categories, "annotations": [annotation(1, 0, 1)]}
    (tmp_path / "v3det.json").write_text(json.dumps(content))
    data_set = read_data_set(tmp_path / "v3det.json")
    assert data_set.synonyms == (("cup/mug",), ("wild bird",))
    assert data_set.class_index(data_set[0].instances[0].category) == 1
    for photo in data_set.photos:
        assert read_photo(photo.open()).shape == (HEIGHT, WIDTH, 3)


def test_categories_of_one_name_are_one_class(tmp_path: Path) -> None:
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": HEIGHT, "width": WIDTH}],
        "categories": [{"id": i, "name": name} for i, name in enumerate(("cat", "ox", "cat"))],
        "annotations": [annotation(1, 1, 2), annotation(2, 1, 0)],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    data_set = read_data_set(tmp_path / "a.json")
    assert data_set.classes == ("cat", "ox")
    assert data_set.class_index(data_set[0].instances[0].category) == 0


def test_what_is_wrong_in_a_coco_file_is_skipped_and_told(tmp_path: Path) -> None:
    path = lvis(tmp_path)
    content = json.loads(path.read_text())
    content["annotations"][0]["bbox"] = [1, 2, 3]
    content["categories"].append({"id": 40, "name": "_ "})
    content["images"][1]["neg_category_ids"] = [99]
    path.write_text(json.dumps(content))
    data_set = read_data_set(path)
    assert [len(photo.instances) for photo in data_set.photos] == [1]
    name, negatives, box, photo = data_set.problems
    assert "has a name that is none" in name
    assert "a list of listed categories as 'neg_category_ids'" in negatives
    assert "must have a bbox of four numbers" in box
    assert "is of photo 2, which is not listed" in photo


# SA-1B


def test_sa1b_reads_each_photo_when_it_is_asked_for(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "bsds500", tmp_path / "regions")
    everything = read_data_set(tmp_path / "regions")
    training = read_data_set(tmp_path / "regions/train.txt", name="SA-1B")
    assert (len(everything), len(training), training.name) == (2, 1, "SA-1B")
    [region] = training[0].instances
    assert region.box_xyxy == (0, 0, 90, 30)
    assert training.class_index(region.category) == -1
    assert training[0].path == tmp_path / "regions/sa_000000/sa_1.jpg"
    (tmp_path / "regions/sa_000000/sa_1.json").write_text("{}")
    spoilt = training[0]
    assert spoilt.instances == ()
    [problem] = spoilt.problems
    assert "has no list of objects 'annotations'" in problem
    assert training.problems == ()


def test_a_wrong_region_is_left_out(tmp_path: Path) -> None:
    write_photo(tmp_path / "sa_1.png")
    regions = [{"id": 1, "bbox": [0, 0, 5, 5]}, {"id": 2, "bbox": [0, 0, -5, 5]}]
    content = {"image": {"height": HEIGHT, "width": WIDTH}, "annotations": regions}
    (tmp_path / "sa_1.json").write_text(json.dumps(content))
    [photo] = read_data_set(tmp_path).photos
    assert (photo.path.name, photo.size_hw) == ("sa_1.png", (HEIGHT, WIDTH))
    assert [instance.id for instance in photo.instances] == [1]
    assert len(photo.problems) == 1


def test_a_data_set_travels_to_other_processes(root: Path) -> None:
    for path in ("bsds500", "ecssd", "imagenet_sample", "clothing/instances.json"):
        data_set = read_data_set(root / path)
        copy: DataSet = pickle.loads(pickle.dumps(data_set))
        assert copy[0].path == data_set[0].path
        boxes = [instance.box_xyxy for instance in copy[0].instances]
        assert boxes == [instance.box_xyxy for instance in data_set[0].instances]


# Masks


def test_masks_of_left_out_photos_are_not_read(root: Path) -> None:
    """Those of 0901 and 1000 are spoilt."""
    data_set = read_data_set(root / "ecssd")
    assert (len(data_set), data_set.problems) == (4, ())
    problems_of_photos = [photo.problems for photo in data_set.photos]
    assert [len(problems) for problems in problems_of_photos] == [0, 0, 1, 1]
    training = data_set.where(lambda photo: int(photo.path.stem) <= 900)
    assert [photo.path.stem for photo in training.photos] == ["0001", "0900"]
    [found] = training[1].instances
    assert found.box_xyxy == (20, 10, 70, 50)
    expected = rectangle(20, 10, 70, 50, size_hw=(HEIGHT, WIDTH))
    assert np.array_equal(found.mask((HEIGHT, WIDTH)), expected)
    with pytest.raises(AnnotationError, match="No photo of data set 'ecssd' is left"):
        data_set.where(lambda _: False)


# Classes


def test_class_folders_and_what_they_are_called(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "imagenet_sample", tmp_path / "net")
    plain = read_data_set(tmp_path / "net")
    assert (plain.classes, plain.synonyms) == (("n01", "n02"), (("n01",), ("n02",)))
    (tmp_path / "net/words.txt").write_text("n02\tdog, domestic dog\nn09\tnothing\n")
    named = read_data_set(tmp_path / "net")
    assert named.synonyms == (("n01",), ("dog", "domestic dog"))
    assert [named.class_index(photo.label or "") for photo in named.photos] == [0, 1]
    assert named.listed_classes(1) == {"n02"}
    write_photo(tmp_path / "net/_/1.jpg")
    [problem] = read_data_set(tmp_path / "net").problems
    assert "has a name that is none" in problem
    dogs = named.with_classes(["n02"])
    assert [photo.label for photo in dogs.photos] == ["n02"]
    assert dogs.synonyms == (("dog", "domestic dog"),)


def test_how_many_annotations_there_are(root: Path, tmp_path: Path) -> None:
    """Objects and labels, with those that are left out; not where each photo has a file of them."""
    marked = read_data_set(lvis(tmp_path), tmp_path)
    assert marked.annotations == 3
    assert replace(marked, problems=("One is wrong.",)).annotations == 4
    named = read_data_set(root / "imagenet_sample")
    assert named.annotations == len(named)
    regions = read_data_set(root / "bsds500/train.txt")
    assert regions.annotations is all_annotations([marked, regions]) is None
    assert all_annotations([marked, named]) == 3 + len(named)


def test_classes_that_a_photo_tells_of(tmp_path: Path) -> None:
    """Not of oxen on the first photo, nor of mugs on the second: not all of them are marked."""
    data_set = read_data_set(lvis(tmp_path), tmp_path, name="LVIS")
    classes = data_set.classes
    verified = [data_set.verified_classes(photo) for photo in data_set.photos]
    names = [[classes[i] for i in numbers or ()] for numbers in verified]
    assert names == [["cat", "coffee_mug"], ["cat"]]
    assert data_set.verified_classes(replace(data_set[0], negative_classes=None)) is None


def test_folders_whose_names_have_blanks_are_listed(root: Path, tmp_path: Path) -> None:
    for name in ("one two", "three", "four"):
        shutil.copytree(root / "bsds500/sa_000000", tmp_path / name)
    (tmp_path / "train.txt").write_text(" one two \nthree four\n\n")
    assert len(read_data_set(tmp_path / "train.txt")) == 3


def test_a_blank_mask_of_another_size_is_a_problem(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for stem, wide in (("a", 30), ("b", 31)):
        Image.new("RGB", (30, 20)).save(tmp_path / f"images/{stem}.png")
        Image.new("L", (wide, 20)).save(tmp_path / f"masks/{stem}.png")
    photos = read_data_set(tmp_path).photos
    assert photos[0].problems == ()
    [problem] = photos[1].problems
    assert "b.png' is 31 x 20 pixels and blank, its photo is 30 x 20" in problem


# Nothing that can be used


def test_what_cannot_be_used_at_all(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("sa_000007")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.json").write_text('{"images": [], "annotations": [], "categories": []}')
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe")
    for name, message in {
        "none": "There is no data set at",
        "empty": "none of the known layouts",
        "empty.json": "lists no photo that can be used",
        "list.txt": "cannot be read",
        "train.txt": "lists no photo .* First: The listed folder .*sa_000007' is missing",
    }.items():
        with pytest.raises(AnnotationError, match=message):
            read_data_set(tmp_path / name)


# Real data


@pytest.mark.data
def test_the_layouts_on_real_data(photos_root: Path) -> None:
    regions = read_data_set(photos_root / "bsds500/train.txt")
    assert (len(regions), len(regions[7].instances) > 10, regions[7].problems) == (300, True, ())
    salient = read_data_set(photos_root / "ecssd")
    assert len(salient) == 1000
    pixels = np.asarray(Image.open(photos_root / "ecssd/masks/0003.png").convert("L")) > 127
    assert salient[2].instances[0].area == pixels.sum()
    classes = read_data_set(photos_root / "imagenet_sample")
    assert (len(classes), len(classes.classes)) == (1000, 1000)
    assert classes.class_index(classes[5].label or "") == 5
