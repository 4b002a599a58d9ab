"""Photos encoded together are those encoded one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ovsam
from ovsam.errors import PhotoError
from ovsam.predictor.predictor import Predictor
from ovsam.predictor.views import PHOTOS_AT_ONCE, EncodedImage
from ovsam.structures import Prompt
from predictor.scenes import assert_same, blobs
from tiny_model import TinyEncoder, tiny_predictor

EXAMPLES = Path(__file__).parents[2] / "examples"
SIZES = [(150, 200), (200, 150), (64, 64), (150, 200)]


def assert_same_photo(predictor: Predictor, one: EncodedImage, other: EncodedImage) -> None:
    """Masks, names and both, with zoom and without, have the same answers."""
    assert np.array_equal(one.photo, other.photo) and one.frame == other.frame
    height, width = one.size_hw
    prompts = [
        Prompt(box_xyxy=np.array([0.2 * width, 0.1 * height, 0.8 * width, 0.9 * height])),
        Prompt(points_xy=np.array([[0.4 * width, 0.5 * height]])),
    ]
    for zoom in (False, True):
        ours, theirs = (predictor.segment(e, prompts, zoom=zoom) for e in (one, other))
        for mine, yours in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(mine.mask_logits, yours.mask_logits, atol=1e-5, rtol=1e-5)
            assert np.array_equal(mine.mask, yours.mask)
        named = predictor.name(one, ours, zoom=zoom), predictor.name(other, theirs, zoom=zoom)
        for first, second in zip(*named, strict=True):
            assert [label.name for label in first.labels[0]] == [
                label.name for label in second.labels[0]
            ]
        both = (predictor.predict(e, prompts, zoom=zoom) for e in (one, other))
        for found, expected in zip(*both, strict=True):
            assert_same(found, expected)


def test_each_photo_is_as_if_encoded_alone(predictor: Predictor) -> None:
    images = [blobs(seed, size) for seed, size in enumerate(SIZES)]
    together = predictor.encode_batch(images)
    assert len(together) == len(images)
    for image, encoded in zip(images, together, strict=True):
        assert_same_photo(predictor, encoded, predictor.encode(image))


def test_photos_of_lite() -> None:
    lite = ovsam.load("lite")
    images = [ovsam.read_photo(EXAMPLES / f"{name}.png") for name in ("chelsea", "coffee")]
    for image, encoded in zip(images, lite.encode_batch(images), strict=True):
        assert_same_photo(lite, encoded, lite.encode(image))


def test_a_photo_holds_no_features_of_the_others(predictor: Predictor) -> None:
    alone = predictor.encode(blobs(0))
    for encoded in predictor.encode_batch([blobs(0), blobs(1), blobs(2)]):
        assert encoded.nbytes == alone.nbytes
        for name in ("c5", "embedding"):
            tensor: Any = getattr(encoded.features, name)
            assert tensor.untyped_storage().nbytes() == tensor.nbytes


def test_the_encoder_sees_a_few_at_once() -> None:
    predictor = tiny_predictor()
    encoder: Any = predictor._backend._model.encoder  # type: ignore[attr-defined]
    assert isinstance(encoder, TinyEncoder)
    images = [blobs(seed, (20, 30)) for seed in range(PHOTOS_AT_ONCE + 1)]
    together = predictor.encode_batch(images)
    assert (len(together), encoder.calls) == (len(images), 2)
    box = Prompt(box_xyxy=[5, 5, 25, 15])
    [last], [expected] = (
        predictor.predict(e, box) for e in (together[-1], predictor.encode(images[-1]))
    )
    assert_same(last, expected)
    assert predictor.encode_batch([]) == []


def test_what_is_no_photo_is_refused_before_any_is_encoded() -> None:
    predictor = tiny_predictor()
    encoder: Any = predictor._backend._model.encoder  # type: ignore[attr-defined]
    with pytest.raises(PhotoError, match=r"A photo must be an RGB array .* got \(150, 200\)"):
        predictor.encode_batch([blobs(0), blobs(1)[..., 0]])
    assert encoder.calls == 0
