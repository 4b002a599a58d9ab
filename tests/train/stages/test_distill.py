"""Stage 1: photos with a teacher's embeddings, and an adapter that learns them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ovsam.data.dataset import DataSet, read_data_set
from ovsam.data.mixture import Mixture
from ovsam.errors import TrainingError
from ovsam.model.ovsam import OVSAM
from ovsam.train.loop import Engine
from ovsam.train.settings import EngineSettings, ScheduleSettings
from ovsam.train.stages.distill import DistillBatches, DistillStage, WholePhotos
from ovsam.train.teacher import Teacher
from photo_folder import HEIGHT, WIDTH
from tiny_model import TINY, tiny_model

SIZE = 64


class _Embedding(torch.nn.Module):
    def __init__(self, model: OVSAM) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        assert self.model.adapter is not None
        embedding: Tensor = self.model.adapter(self.model.encoder(pixels))
        return embedding


def teacher_of(model: OVSAM, channels: int = TINY.embed_dim) -> Teacher:
    return Teacher(
        _Embedding(model),
        name="tiny",
        channels=channels,
        image_size=SIZE,
        pixel_mean=TINY.encoder.pixel_mean,
        pixel_std=TINY.encoder.pixel_std,
    )


def batches(data_set: DataSet, size: int = 2, prompts: int = 3) -> DistillBatches:
    mixture = Mixture([data_set], [1.0], seed=0)
    root = data_set.photos.listed[0].path.parent
    return DistillBatches([(data_set, root)], mixture, SIZE, size, prompts, None)


def embedding_loss(stage: DistillStage, batch: WholePhotos) -> float:
    return stage.losses(batch)["embedding"].item()


# Batches


def test_a_whole_photo_with_points_and_boxes_of_its_objects(data_set: DataSet) -> None:
    batch = batches(data_set)[0]
    scale = SIZE / WIDTH
    assert batch.photos.shape == (2, SIZE, SIZE, 3)
    assert batch.content_hw.tolist() == [[round(HEIGHT * scale), SIZE]] * 2
    assert (batch.photos[:, round(HEIGHT * scale) :] == 0).all()
    assert sorted(batch.names) == sorted(str(i) + ".jpg" for i in (1, 2))
    assert batch.photo.tolist() == [0, 0, 1, 1]
    for box, point in zip(batch.boxes_xyxy.tolist(), batch.points_xy[:, 0].tolist(), strict=True):
        assert [round(side / scale) for side in box] in ([5, 10, 25, 50], [30, 10, 50, 50])
        assert box[0] < point[0] < box[2]
        assert box[1] < point[1] < box[3]


def test_of_a_box_the_part_in_the_photo_is_asked_for(data_set: DataSet) -> None:
    moved = [
        replace(
            data_set[i],
            instances=tuple(
                replace(one, box_xyxy=(-1e6, 10, 30, 1e6)) for one in data_set[i].instances
            ),
        )
        for i in range(len(data_set))
    ]
    drawn = batches(data_set)
    [(_, root)] = drawn.sources
    drawn.sources = [(moved, root)]  # type: ignore[list-item]
    high = round(HEIGHT * SIZE / WIDTH)
    for box in drawn[0].boxes_xyxy.tolist():
        assert box == pytest.approx([0, 10 * high / HEIGHT, 30 * SIZE / WIDTH, high], abs=0.01)


def test_it_depends_on_its_number_alone(data_set: DataSet) -> None:
    one, other = batches(data_set), batches(data_set)
    for number in (5, 3, 0):
        assert torch.equal(one[number].points_xy, other[number].points_xy)
        assert one[number].names == other[number].names
    sizes = [name for i in range(4) for name in batches(data_set, size=1)[i].names]
    assert sizes == [name for i in range(2) for name in batches(data_set, size=2)[i].names]


def test_a_photo_that_cannot_be_read_is_replaced_and_named(root: Path, tmp_path: Path) -> None:
    for name in ("1.jpg", "2.jpg"):
        content = (root / "coco_sample/train2017" / name).read_bytes()
        (tmp_path / name).write_bytes(content[:50] if name == "2.jpg" else content)
    spoilt = read_data_set(root / "coco_sample/annotations/instances_train2017.json", tmp_path)
    drawn = [batches(spoilt, size=1)[i] for i in range(6)]
    assert {batch.names for batch in drawn} == {("1.jpg",)}
    [one] = {one for batch in drawn for one in batch.skipped}
    assert "2.jpg" in one.name and not one.annotation
    assert "is not an image" in one.why or "cut short" in one.why


def test_masks_that_cannot_be_used_are_told_where_masks_are_asked_for(data_set: DataSet) -> None:
    spoilt = [
        replace(photo, instances=(replace(photo.instances[0], segmentation="x"), *rest))
        for photo in data_set.photos.listed
        for rest in [photo.instances[1:]]
    ]
    other = replace(data_set, photos=replace(data_set.photos, listed=spoilt))
    skipped = {one for i in range(4) for one in batches(other)[i].skipped}
    assert {(one.name, one.annotation) for one in skipped} == {("1.jpg", True), ("2.jpg", True)}
    assert all("A segmentation must be" in one.why for one in skipped)
    assert {len(batches(other, size=1)[i].boxes_xyxy) for i in range(4)} == {1}
    assert not any(batches(other, prompts=0)[i].skipped for i in range(4))


def test_a_photo_of_another_size_is_left_out_where_masks_are_asked_for(data_set: DataSet) -> None:
    first, second = data_set.photos.listed
    listed = [first, replace(second, size_hw=(9, 9))]
    other = replace(data_set, photos=replace(data_set.photos, listed=listed))
    [one] = {one for i in range(4) for one in batches(other)[i].skipped}
    assert (one.name, one.annotation) == (second.path.name, False)
    assert "its annotations say 9 x 9" in one.why
    assert not any(batches(other, prompts=0)[i].skipped for i in range(4))


# The stage


def test_a_student_that_is_its_teacher_has_nothing_to_learn(data_set: DataSet) -> None:
    model = tiny_model()
    stage = DistillStage(model, teacher_of(model), prompt_weight=1.0)
    losses = stage.losses(batches(data_set)[0])
    assert losses["embedding"].item() == pytest.approx(0, abs=1e-10)
    student = tiny_model()  # with the same decoder
    other_adapter = tiny_model(seed=5).adapter
    assert student.adapter is not None and other_adapter is not None
    student.adapter.load_state_dict(other_adapter.state_dict())
    other = DistillStage(
        student, teacher_of(model), prompt_weight=1.0, checkpoint_activations=False
    )
    worse = other.losses(batches(data_set)[0])
    assert worse["embedding"].item() > 0.1
    assert worse["mask"].item() > losses["mask"].item()


def test_the_loss_is_the_mean_of_the_photos(data_set: DataSet) -> None:
    stage = DistillStage(
        tiny_model(seed=5), teacher_of(tiny_model()), 1.0, checkpoint_activations=False
    )
    both = stage.losses(batches(data_set, size=2)[0])
    single = [stage.losses(batches(data_set, size=1)[i]) for i in range(2)]
    for name, value in both.items():
        mean = sum(losses[name].item() for losses in single) / 2
        assert value.item() == pytest.approx(mean, rel=1e-4)


def test_an_embedding_that_a_batch_brings_is_not_computed(data_set: DataSet) -> None:
    model = tiny_model()
    stage = DistillStage(tiny_model(seed=5), teacher_of(model), 0.0)
    batch = batches(data_set)[0]
    computed = embedding_loss(stage, batch)
    teacher = teacher_of(model)
    rows = []
    for index in range(2):
        height, width = batch.content_hw[index].tolist()
        content = batch.photos[index, :height, :width].numpy()
        # The teacher's own way from a photo that is as large as it wants it.
        assert (height, width) != (SIZE, SIZE)
        rows.append(teacher(teacher.pixels(np.ascontiguousarray(content))))
    brought = replace(batch, embedding=torch.cat(rows))
    alone = DistillStage(tiny_model(seed=5), None, 0.0)
    assert embedding_loss(alone, brought) == pytest.approx(computed, rel=1e-5)


def test_recomputing_gives_the_same_gradient(data_set: DataSet) -> None:
    gradients = []
    for checkpoint_activations in (False, True):
        stage = DistillStage(
            tiny_model(seed=5), teacher_of(tiny_model()), 1.0, checkpoint_activations
        )
        losses = stage.losses(batches(data_set)[0])
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        adapter = stage.model.adapter
        assert adapter is not None
        gradients.append([p.grad for p in adapter.parameters() if p.grad is not None])
    assert len(gradients[0]) > 10
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_the_adapter_alone_learns_to_be_its_teachers(data_set: DataSet, tmp_path: Path) -> None:
    student = tiny_model(seed=5)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    stage = DistillStage(student, teacher_of(tiny_model()), 0.0)
    drawn = batches(data_set)
    first = embedding_loss(stage, drawn[0])
    schedule = ScheduleSettings(peak=3e-3, warm_up=1)
    settings = EngineSettings(steps=40, precision="32-true", schedule=schedule, clip=5.0, workers=0)
    done = Engine(settings, tmp_path).fit(stage, drawn)
    assert embedding_loss(stage, drawn[0]) < 0.5 * first
    assert all(name.startswith("model.adapter.") for name in done.averaged)
    changed = {n for n, value in student.state_dict().items() if not torch.equal(value, before[n])}
    assert changed
    assert all(name.startswith("adapter.") for name in changed)


def test_a_pair_of_different_widths() -> None:
    with pytest.raises(
        TrainingError, match=r"'tiny' has an embedding of 256 channels and tiny.*32"
    ):
        DistillStage(
            tiny_model(), teacher_of(tiny_model(), channels=256), 0.0, checkpoint_activations=False
        )
