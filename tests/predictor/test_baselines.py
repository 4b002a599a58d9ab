"""The paper's baselines as scorers: the same masks, named by the frozen encoder alone."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import ovsam
from ovsam.config import BaselineConfig, CalibrationConfig, CalibrationFit, ModelConfig
from ovsam.errors import CheckpointError
from ovsam.geometry import mask_to_box_xyxy
from ovsam.hub import SHIPPED
from ovsam.model.ovsam import OVSAM
from ovsam.model.pixels import to_pixels
from ovsam.model.presets import as_baseline, named_config
from ovsam.predictor.predictor import Predictor
from ovsam.structures import Names, Prediction, Prompt
from predictor.scenes import blobs
from tiny_model import TINY, HashedText, TinyEncoder, tiny_model, tiny_predictor

BOX = np.array([40.0, 50, 104, 114])  # 64 x 64 pixels
NAMES = ["cat", "dog", "coffee mug", "tree", "lamp"]
CUTS = ("image", "features")
Cuts = Literal["image", "features"]


def baseline(cuts: Cuts) -> ModelConfig:
    """Cuts of the photo are 64 x 64 pixels."""
    encoder = replace(TINY.encoder, pool_size=2)
    return replace(
        TINY,
        name=f"tiny-{cuts}",
        encoder=encoder,
        baseline=BaselineConfig(cuts=cuts),
        fusion_alpha=1.0,
        fusion_beta=1.0,
    )


def model_of(cuts: Cuts) -> OVSAM:
    """With the tiny model's own weights."""
    model = OVSAM(baseline(cuts), TinyEncoder(TINY.encoder)).eval()
    state = {k: v for k, v in tiny_model().state_dict().items() if not k.startswith("region_head.")}
    model.load_state_dict(state)
    return model


def scores_of(embedding: Tensor) -> dict[str, float]:
    """By Eq. 1 of the paper: a softmax over 20 times the cosines and 0 for the background."""
    cosines = F.normalize(embedding, dim=-1) @ torch.from_numpy(HashedText().embed(NAMES)).T
    scores = torch.cat([20 * cosines[0], torch.zeros(1)]).softmax(0)
    return dict(zip(NAMES, scores.tolist(), strict=False))


def scores_by_name(prediction: Prediction | Names, mask: int = 0) -> dict[str, float]:
    return {label.name: label.score for label in prediction.labels[mask]}


def predictor_of(cuts: Cuts) -> Predictor:
    return tiny_predictor(model=model_of(cuts))


@pytest.mark.parametrize("zoom", [False, True])
def test_feature_crop_pools_the_whole_photo_s_features(zoom: bool) -> None:
    """150 x 200 pixels are seen at 96 x 128, so the box is at 0.64 of its place there."""
    predictor, encoder = predictor_of("features"), model_of("features").encoder
    photo = predictor.encode(blobs(0))
    [found] = predictor.predict(photo, Prompt(box_xyxy=BOX), zoom=zoom)
    box = torch.from_numpy(0.64 * BOX).float()[None]
    mask = torch.zeros(1, 1, 32, 32)
    expected = scores_of(encoder.embed_regions(photo.features.c5, box, torch.zeros(1), mask))
    assert scores_by_name(found) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("zoom", [False, True])
def test_image_crop_names_what_the_encoder_sees_of_the_object_alone(zoom: bool) -> None:
    predictor, encoder = predictor_of("image"), model_of("image").encoder
    pixels = blobs(0)
    [found] = predictor.predict(predictor.encode(pixels), Prompt(box_xyxy=BOX), zoom=zoom)
    mean, std = TINY.encoder.pixel_mean, TINY.encoder.pixel_std
    crop = to_pixels(pixels[50:114, 40:104], (64, 64), mean, std)
    whole = torch.tensor([[0.0, 0, 64, 64]])
    c5 = encoder(crop)[3]
    embedding = encoder.embed_regions(c5, whole, torch.zeros(1), torch.zeros(1, 1, 16, 16))
    assert scores_by_name(found) == pytest.approx(scores_of(embedding), abs=1e-3)


@pytest.mark.parametrize("cuts", CUTS)
@pytest.mark.parametrize("zoom", [False, True])
def test_masks_are_the_model_s_own(cuts: Cuts, zoom: bool) -> None:
    prompts = [Prompt(box_xyxy=BOX), Prompt(points_xy=np.array([[60.0, 70]]))]
    ours, theirs = tiny_predictor(), predictor_of(cuts)
    mine, other = (p.predict(p.encode(blobs(0)), prompts, zoom=zoom) for p in (ours, theirs))
    for one, two in zip(mine, other, strict=True):
        assert np.array_equal(one.mask, two.mask)
        assert scores_by_name(one) != pytest.approx(scores_by_name(two), abs=1e-3)


@pytest.mark.parametrize("cuts", CUTS)
def test_each_of_three_masks_has_names_of_its_own(cuts: Cuts) -> None:
    """As if the box of its logits, 32 on each side of a square photo, had been given."""
    predictor = predictor_of(cuts)
    square = np.ascontiguousarray(blobs(3)[:120, :120])
    photo, prompt = predictor.encode(square), Prompt(points_xy=np.array([[60.0, 70]]))
    [found] = predictor.predict(photo, prompt, multimask=True, zoom=False)
    assert len(found.labels) == 3
    for k, logits in enumerate(found.low_res_logits):
        box = mask_to_box_xyxy(logits > 0) * 120 / 32
        [candidates] = predictor.segment(photo, prompt, zoom=False)
        [again] = predictor.name(photo, replace(candidates, box_xyxy=box))
        assert scores_by_name(found, k) == pytest.approx(scores_by_name(again), abs=1e-4)


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("zoom", [False, True])
@pytest.mark.parametrize("cuts", CUTS)
def test_a_box_is_its_part_within_the_photo(cuts: Cuts, zoom: bool, multimask: bool) -> None:
    predictor = predictor_of(cuts)
    photo = predictor.encode(blobs(0))
    inside, *outside = (
        predictor.predict(photo, Prompt(box_xyxy=box), zoom=zoom, multimask=multimask)[0]
        for box in ([120, 0, 200, 90], [120, -40, 2000, 90], [120, -1e7, 1e9, 90])
    )
    for found in outside:
        assert found.labels == inside.labels
        assert np.array_equal(found.masks, inside.masks)


@pytest.mark.parametrize("cuts", CUTS)
def test_many_prompts_at_once_equal_one_by_one(cuts: Cuts) -> None:
    predictor = predictor_of(cuts)
    photo = predictor.encode(blobs(0))
    prompts = [Prompt(box_xyxy=BOX + 2 * i) for i in range(11)]
    for prompt, found in zip(prompts, predictor.predict(photo, prompts), strict=True):
        [alone] = predictor.predict(photo, prompt)
        assert scores_by_name(found) == pytest.approx(scores_by_name(alone), abs=1e-4)


def test_feature_crop_encodes_the_photo_once() -> None:
    model = model_of("features")
    predictor, encoder = tiny_predictor(model=model), model.encoder
    assert isinstance(encoder, TinyEncoder)
    predictor.predict(predictor.encode(blobs(0)), Prompt(box_xyxy=BOX), zoom=False)
    assert encoder.calls == 1
    nothing = model.encode(torch.zeros(1, 3, 64, 64), named=False, masked=False)
    assert encoder.calls == 1, "nobody asks"
    assert nothing.embedding is None
    assert nothing.c5 is None


def test_by_name_and_by_path(tmp_path: Path) -> None:
    """A checkpoint's own weights; a file whose name only looks like a baseline's is itself."""
    file = tmp_path / "my-image-crop"
    shutil.copy(SHIPPED, file)
    assert ovsam.load("lite-feature-crop").config.baseline == BaselineConfig(cuts="features")
    assert ovsam.load(f"{SHIPPED}-image-crop").model_name == "lite-image-crop"
    assert ovsam.load(file).model_name == "lite"


def test_models_without_weights_say_how_to_get_them() -> None:
    for name in ("rn50", "rn50-single"):
        with pytest.raises(CheckpointError, match=r"do not come with ovsam.*'ovsam convert'"):
            ovsam.load(name)
    with pytest.raises(CheckpointError, match=r"nothing to name with: choose 'sam-h'"):
        named_config("sam-h-image-crop")


def test_a_baseline_has_no_baseline() -> None:
    with pytest.raises(CheckpointError, match="'lite-image-crop' is a baseline already"):
        as_baseline(named_config("lite-image-crop"), "-feature-crop")
    with pytest.raises(CheckpointError, match=r"Unknown model 'big-image-crop'.*-feature-crop"):
        named_config("big-image-crop")


def test_a_baseline_is_not_calibrated_as_the_model_is() -> None:
    """Its scores are others: no temperature and no threshold of theirs fits them."""
    config = replace(
        TINY,
        calibration=CalibrationConfig(
            fits=(CalibrationFit(temperature=2, threshold=0.4, classes=80),)
        ),
    )
    assert as_baseline(config, "-image-crop").calibration == CalibrationConfig()
