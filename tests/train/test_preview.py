"""Pictures of what a model predicts while it learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ovsam.data.dataset import DataSet, read_data_set
from ovsam.errors import AnnotationError
from ovsam.model.ovsam import Features
from ovsam.model.prompt_batch import PromptBatch
from ovsam.train.loop import Engine
from ovsam.train.preview import Preview
from tiny_model import random_bank, tiny_model
from train.toy_stage import ToyBatches, ToyStage, toy_settings


def test_annotations_above_predicted_below(data_set: DataSet) -> None:
    torch.manual_seed(0)
    preview = Preview(data_set, random_bank(len(data_set.classes)))
    one, other = (preview.draw(tiny_model(seed=seed)) for seed in (12, 5))
    assert one.shape == other.shape
    half = one.shape[0] // 2
    assert (one[:half] == other[:half]).all()
    assert (one[half:] != other[half:]).any()
    assert (preview.draw(tiny_model(seed=12)) == one).all()
    unnamed = Preview(data_set, None).draw(tiny_model(seed=12))
    assert (unnamed[half:] != one[half:]).any(), "the captions name what was predicted"


def test_a_mask_that_is_the_truth_is_drawn_like_it(
    data_set: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    preview = Preview(data_set, None)
    model = tiny_model()
    truth = [instance.mask((60, 90)) for instance in preview.photos[0].instances]

    def decode(_: Features, prompts: PromptBatch[Tensor]) -> tuple[Tensor, None]:
        # 90 x 60 pixels are seen at 128: each cell of the quarter holds 2.8 pixels.
        assert prompts.boxes_xyxy is not None
        boxes = prompts.boxes_xyxy / 4
        logits = torch.full((len(boxes), 1, 32, 32), -9.0)
        for i, (x0, y0, x1, y1) in enumerate(boxes.round().int().tolist()):
            logits[i, 0, y0:y1, x0:x1] = 9.0
        return logits, None

    monkeypatch.setattr(model, "decode", decode)
    predicted = preview._predicted(model, preview.photos[0], preview.pixels[0])
    for instance, mask in zip(predicted, truth, strict=True):
        found = instance.mask((60, 90))
        assert (found & mask).sum() / (found | mask).sum() > 0.85


def test_a_box_is_its_part_within_the_photo(data_set: DataSet) -> None:
    preview, model = Preview(data_set, None), tiny_model()
    predicted = []
    for out in (0.0, 5.0, 1e6):
        listed = preview.photos[0]
        boxes = (replace(one, box_xyxy=(-out, 10, 30, 60 + out)) for one in listed.instances)
        moved = replace(listed, instances=tuple(boxes))
        with torch.no_grad():
            predicted.append(preview._predicted(model, moved, preview.pixels[0]))
    assert [one.segmentation for one in predicted[0]] == [one.segmentation for one in predicted[1]]
    assert [one.segmentation for one in predicted[0]] == [one.segmentation for one in predicted[2]]


def test_photos_without_masks_have_no_preview(root: Path) -> None:
    with pytest.raises(AnnotationError, match="there is nothing to draw"):
        Preview(read_data_set(root / "imagenet_sample"), None)


def test_every_checkpoint_draws_the_averaged_weights(tmp_path: Path) -> None:
    seen: list[torch.Tensor] = []

    def draw(stage: object) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        assert isinstance(stage, ToyStage)
        seen.append(stage.hidden.weight.detach().clone())
        return np.full((8, 8, 3), len(seen), np.uint8)

    stage = ToyStage()
    settings = replace(toy_settings(), save_every=4)
    done = Engine(settings, tmp_path).fit(stage, ToyBatches(), draw)
    assert torch.equal(seen[-1], done.averaged["hidden.weight"])
    assert not torch.equal(seen[-1], stage.hidden.weight)
    pictures = sorted((tmp_path / "pictures").iterdir())
    assert [picture.name for picture in pictures] == ["00000004.png", "00000008.png"]
    assert np.asarray(Image.open(pictures[1])).max() == 2
