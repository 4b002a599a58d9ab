"""Micro-batches of stage 2: which photos, which prompts, and what is left out."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ovsam.data.dataset import DataSet
from ovsam.data.scene_batches import SceneBatch
from ovsam.errors import TrainingError
from scenes import batches, written_data_sets


@pytest.fixture(scope="module")
def data_sets(tmp_path_factory: pytest.TempPathFactory) -> list[DataSet]:
    return written_data_sets(tmp_path_factory.mktemp("photos"))


def test_prompts_mean_objects_of_their_own_crop(data_sets: list[DataSet]) -> None:
    for i in range(4):
        batch = batches(data_sets)[i]
        assert batch.image.tolist() == [0] * 6 + [1] * 6
        assert batch.prompts.boxes_xyxy.shape == (12, 4)
        firsts = [batch.prompts.object_index[batch.image == k].min() for k in range(2)]
        assert firsts[0] == 0
        assert batch.prompts.object_index[:6].max() < firsts[1]
        assert len(batch.masks) == len(batch.class_index) == len(batch.has_mask)
        assert (batch.class_index >= 0).all()


def test_it_depends_on_its_number_alone(data_sets: list[DataSet]) -> None:
    one, other = batches(data_sets), batches(data_sets)
    _ = other[2]
    for field in fields(SceneBatch):
        mine, theirs = getattr(one[5], field.name), getattr(other[5], field.name)
        if isinstance(mine, Tensor):
            assert torch.equal(mine, theirs)
    single = batches(data_sets, size=1)
    assert one[5].names == single[10].names + single[11].names


def test_a_photo_that_cannot_be_read_is_replaced_and_named(
    data_sets: list[DataSet], tmp_path: Path
) -> None:
    coco = data_sets[0]
    spoilt = tmp_path / "spoilt.jpg"
    spoilt.write_bytes(b"no photo")
    listed = [coco.photos.listed[0], replace(coco.photos.listed[1], path=spoilt)]
    broken = replace(coco, photos=replace(coco.photos, listed=listed))
    drawn = [batches([broken], size=1)[i] for i in range(6)]
    [one] = {one for batch in drawn for one in batch.skipped}
    assert (one.name, one.annotation) == (str(spoilt), False)
    assert "is not an image" in one.why
    assert str(spoilt) not in {name for batch in drawn for name in batch.names}
    nothing = replace(coco, photos=replace(coco.photos, listed=listed[1:]))
    with pytest.raises(TrainingError, match=r"100 photos in a row.*spoilt\.jpg"):
        _ = batches([nothing])[0]


def test_an_annotation_that_cannot_be_used_is_left_out_and_its_photo_stays(
    data_sets: list[DataSet],
) -> None:
    coco = data_sets[0]
    photo = coco.photos.listed[0]
    spoilt = (replace(photo.instances[0], segmentation="x"), *photo.instances[1:])
    listed = [replace(photo, instances=spoilt)]
    broken = replace(coco, photos=replace(coco.photos, listed=listed))
    drawn = [batches([broken], size=1)[i] for i in range(6)]
    [one] = {one for batch in drawn for one in batch.skipped}
    assert (one.name, one.annotation) == (photo.name, True)
    assert {name for batch in drawn for name in batch.names} == {photo.name}
    assert all(len(batch.masks) == len(spoilt) - 1 for batch in drawn)
