"""Numpy in and out, by the model's own steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ovsam.model.pixels import to_pixels
from ovsam.model.prompt_batch import PromptBatch
from ovsam.model.torch_bank import PrototypesOnDevice
from ovsam.predictor.backend import Backend
from ovsam.predictor.torch_backend import TorchBackend
from ovsam.text.bank import Bank
from ovsam.text.prototypes import ClassPrototypes
from predictor.scenes import blobs
from tiny_model import ONE_TOKEN, TINY, random_bank, tiny_model

SIZE = (64, 64)
CONTENTS = [blobs(seed, (64, 48)) for seed in range(3)]
BOXES = np.array([[4.0, 6, 40, 50], [10, 10, 30, 60], [0, 0, 48, 64], [5, 5, 9, 9], [8, 0, 40, 30]])
INDEX = np.array([0, 2, 1, 1, 0])


def prototypes() -> ClassPrototypes:
    torch.manual_seed(0)
    bank = random_bank(4)
    return ClassPrototypes(
        Bank(tuple(group.numpy() for group in bank.groups), bank.class_order.numpy()),
        seen=np.array([True, False, False, True]),
        answerable=np.array([True, True, False, True]),
    )


@torch.no_grad()
def test_its_steps_are_the_models() -> None:
    model = tiny_model()
    backend: Backend = TorchBackend(model)
    features: Any = backend.encode(CONTENTS, SIZE)
    mean, std = TINY.encoder.pixel_mean, TINY.encoder.pixel_std
    pixels = torch.cat([to_pixels(content, SIZE, mean, std) for content in CONTENTS])
    expected = model.encode(pixels.to(memory_format=torch.channels_last))
    torch.testing.assert_close(features.embedding, expected.embedding, rtol=1e-4, atol=1e-4)

    found, predicted_iou = backend.decode(features, PromptBatch(boxes_xyxy=BOXES), INDEX)
    assert found.shape == (5, 4, 16, 16) and found.dtype == np.float32
    assert predicted_iou.shape == (5, 4) and predicted_iou.dtype == np.float32
    for i, k in enumerate(INDEX):  # more prompts than are decoded together
        batch = PromptBatch(boxes_xyxy=torch.from_numpy(BOXES[i : i + 1]))
        masks, scores = model.decode(features, batch, torch.tensor([k]))
        assert scores is not None
        np.testing.assert_allclose(found[i], masks[0], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(predicted_iou[i], scores[0], rtol=1e-3, atol=1e-3)

    scores_of = backend.score(
        features, BOXES, found[:, 0], INDEX, prototypes(), features, np.ones((5, 2))
    )
    labelled = model.label(
        features,
        torch.from_numpy(BOXES).float(),
        torch.from_numpy(found[:, :1]),
        PrototypesOnDevice(torch.device("cpu")).of(prototypes()),
        torch.from_numpy(INDEX),
    )
    assert scores_of.shape == (5, 5)
    np.testing.assert_allclose(scores_of, labelled.log_softmax(-1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.exp(scores_of).sum(1), 1, rtol=1e-5)
    assert np.isneginf(scores_of[:, 2]).all(), "a class that may not be the answer"


def test_what_nobody_asks_for_is_not_computed() -> None:
    backend = TorchBackend(tiny_model())
    masked = backend.encode(CONTENTS[:1], SIZE, named=False)
    assert masked.embedding is not None and not masked.fpn_maps
    named = backend.encode(CONTENTS[:1], SIZE, masked=False)
    assert named.fpn_maps and named.embedding is None


def test_a_model_that_does_not_predict_iou() -> None:
    backend = TorchBackend(tiny_model(ONE_TOKEN))
    features = backend.encode(CONTENTS[:1], SIZE)
    found, predicted_iou = backend.decode(
        features, PromptBatch(boxes_xyxy=BOXES[:1]), np.zeros(1, np.int64)
    )
    assert found.shape == (1, 1, 16, 16)
    assert np.isnan(predicted_iou).all() and predicted_iou.shape == (1, 1)


def test_a_fingerprint_is_of_the_weights() -> None:
    one, same, other = (TorchBackend(tiny_model(seed=seed)) for seed in (1, 1, 2))
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert one.device == "cpu"
    with torch.no_grad():
        same._model.mask_decoder.mask_tokens.weight[0, 0] += 1
    assert TorchBackend(same._model).fingerprint != one.fingerprint


def test_it_never_trains() -> None:
    model = tiny_model().train()
    TorchBackend(model)
    assert not model.training


@pytest.mark.parametrize("count", [1, 4, 9])
def test_points_are_of_their_pictures(count: int) -> None:
    """In any number at once; the middle of a pixel is the middle of a pixel."""
    model = tiny_model()
    backend = TorchBackend(model)
    features = backend.encode(CONTENTS, SIZE)
    points = np.random.default_rng(0).uniform(0, 48, (count, 1, 2))
    index = np.arange(count) % 3
    prompts = PromptBatch(points_xy=points, point_labels=np.ones((count, 1), np.int64))
    found, _ = backend.decode(features, prompts, index)
    with torch.no_grad():
        for i in range(count):
            sparse, dense = model.prompt_encoder(
                torch.from_numpy(points[i : i + 1] - 0.5).float(),
                torch.ones(1, 1, dtype=torch.long),
                None,
                None,
                SIZE,
            )
            alone, _ = model.decode_tokens(features, sparse, dense, torch.tensor([index[i]]))
            np.testing.assert_allclose(found[i], alone[0], rtol=1e-3, atol=1e-3)
