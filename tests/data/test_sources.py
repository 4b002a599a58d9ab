from __future__ import annotations

from pathlib import Path

import pytest

from ovsam.data.sources import read_class_folders, read_coco, read_mask_files, read_sa1b
from ovsam.errors import OvsamError
from ovsam.geometry import decode_rle
from photo_folder import HEIGHT, WIDTH, rectangle, write_folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("photos"))


def test_coco(root: Path) -> None:
    records, names = read_coco(
        root / "coco_sample/annotations/instances_train2017.json",
        root / "coco_sample/train2017",
        "coco",
        whole=lambda name: name == "bicycle",
    )
    assert names[:2] == ["person", "bicycle"]
    assert [record.path.name for record in records] == ["1.jpg", "2.jpg"]
    assert {record.vocabulary for record in records} == {"coco"}
    person, bicycle = records[0].instances  # without the crowd
    assert (person.class_index, person.whole, person.box_xyxy) == (0, False, (5, 10, 25, 50))
    assert (bicycle.class_index, bicycle.whole, bicycle.box_xyxy) == (1, True, (30, 10, 50, 50))
    assert bicycle.rle is not None
    expected = rectangle(30, 10, 50, 50, size_hw=(HEIGHT, WIDTH))
    assert (decode_rle(bicycle.rle) == expected).all()


def test_sa1b(root: Path) -> None:
    [record] = read_sa1b(root / "bsds500", root / "bsds500/train.txt")
    assert record.path == root / "bsds500/sa_000000/sa_1.jpg"
    [region] = record.instances
    assert (region.class_index, region.whole, region.box_xyxy) == (-1, False, (0, 0, 90, 30))


def test_mask_files(root: Path) -> None:
    kept = read_mask_files(
        root / "ecssd/images", root / "ecssd/masks", keep=lambda stem: stem == "0900"
    )
    [record] = kept
    [found] = record.instances
    assert record.path.name == "0900.jpg"
    assert (found.class_index, found.whole, found.box_xyxy) == (-1, True, (20, 10, 70, 50))
    with pytest.raises(OvsamError):  # the folder's other files are spoilt
        read_mask_files(root / "ecssd/images", root / "ecssd/masks", keep=lambda _: True)


def test_class_folders(root: Path) -> None:
    records = read_class_folders(root / "imagenet_sample", "imagenet1k")
    assert [record.path.parent.name for record in records] == ["n01", "n02"]
    for index, record in enumerate(records):
        [found] = record.instances
        assert (found.rle, found.class_index, found.whole) == (None, index, False)
        assert found.box_xyxy == (0, 0, WIDTH, HEIGHT)
