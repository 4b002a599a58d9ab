"""Code written for `segment_anything.SamPredictor`, and its answers from the same weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from segment_anything import SamPredictor as TheirSamPredictor
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import Tensor, nn

from ovsam import sam
from ovsam.config import DecoderConfig
from ovsam.errors import OvsamError, PhotoError, PromptError
from ovsam.sam import SamPredictor, sam_model_registry
from tiny_model import ONE_TOKEN, TINY, balance, tiny_model, tiny_predictor

DIM, SIZE = TINY.embed_dim, TINY.image_size
SAM_CONFIG = replace(TINY, zoom=None, decoder=DecoderConfig(mlp_dim=32, iou_dim=32))
GENERATOR = torch.Generator().manual_seed(6)
EMBEDDING = torch.randn(1, DIM, SIZE // 16, SIZE // 16, generator=GENERATOR)


class Fixed(nn.Module):
    """An image encoder or adapter that always gives the same embedding."""

    img_size = SIZE

    def forward(self, _: Any) -> Tensor:
        return EMBEDDING


def photo(height: int = 90, width: int = 130) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


def spread(module: nn.Module) -> None:
    """Random weights without zeros."""
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=GENERATOR)
            if parameter.ndim > 1:
                parameter.copy_(1.5 * noise / parameter[0].numel() ** 0.5)
            else:
                parameter.add_(0.1 * noise)


@pytest.fixture(scope="module")
def theirs() -> TheirSamPredictor:
    side = SIZE // 16
    with torch.random.fork_rng():
        torch.manual_seed(0)
        prompt_encoder = PromptEncoder(DIM, (side, side), (SIZE, SIZE), 16)
        decoder = MaskDecoder(
            transformer_dim=DIM,
            transformer=TwoWayTransformer(depth=2, embedding_dim=DIM, num_heads=8, mlp_dim=32),
            num_multimask_outputs=3,
            iou_head_hidden_dim=32,
        )
    model = Sam(Fixed(), prompt_encoder, decoder)
    spread(model)
    with torch.no_grad():
        balance(decoder)
        model.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix.mul_(8)
        last = decoder.iou_prediction_head.layers[-1]
        last.weight.mul_(0.03)
        last.bias.copy_(torch.tensor([0.5, 0.3, 0.7, 0.55]))
    return TheirSamPredictor(model.eval())


@pytest.fixture(scope="module")
def same(theirs: TheirSamPredictor) -> SamPredictor:
    """Ours with their weights and their embedding."""
    model = tiny_model(SAM_CONFIG)
    model.prompt_encoder.load_state_dict(theirs.model.prompt_encoder.state_dict())
    model.mask_decoder.load_state_dict(theirs.model.mask_decoder.state_dict())
    model.adapter = Fixed()  # type: ignore[assignment]
    return SamPredictor(tiny_predictor(model=model))


@pytest.fixture
def ours() -> SamPredictor:
    return SamPredictor(tiny_predictor())


COARSE = np.random.default_rng(3).normal(0, 5, (1, 32, 32)).astype(np.float32)
PROMPTS: dict[str, dict[str, Any]] = {
    "point": {"point_coords": np.array([[40, 50]]), "point_labels": np.array([1])},
    "corner": {"point_coords": np.array([[0, 0]]), "point_labels": np.array([1])},
    "points": {
        "point_coords": np.array([[40.0, 50.5], [100, 20], [7, 80]]),
        "point_labels": np.array([1, 0, 1]),
    },
    "box": {"box": np.array([10, 20, 90, 80])},
    "box in a row": {"box": np.array([[10, 20, 90, 80]])},
    "box and point": {
        "point_coords": np.array([[40, 50]]),
        "point_labels": np.array([0]),
        "box": np.array([10, 20, 90, 80]),
    },
    "mask": {"mask_input": COARSE},
    "point and mask": {
        "point_coords": np.array([[40, 50]]),
        "point_labels": np.array([1]),
        "mask_input": COARSE,
    },
}


# Their answers


@pytest.mark.parametrize("multimask", [False, True], ids=["single", "multimask"])
@pytest.mark.parametrize("size_hw", [(90, 130), (300, 200), (128, 128)], ids=str)
@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_the_answers_of_segment_anything(
    same: SamPredictor,
    theirs: TheirSamPredictor,
    prompt: dict[str, Any],
    size_hw: tuple[int, int],
    multimask: bool,
) -> None:
    for predictor in (same, theirs):
        predictor.set_image(photo(*size_hw))
    masks, scores, logits = same.predict(**prompt, multimask_output=multimask)
    expected = theirs.predict(**prompt, multimask_output=multimask)
    order = np.argsort(-expected[1])  # ours come best first
    assert masks.shape == expected[0].shape
    np.testing.assert_allclose(scores, expected[1][order], atol=1e-4)
    np.testing.assert_allclose(logits, expected[2][order], atol=1e-3, rtol=1e-3)
    assert 0.02 < masks.mean() < 0.98
    assert (masks != expected[0][order]).mean() < 1e-3


def test_half_a_pixel_matters(same: SamPredictor, theirs: TheirSamPredictor) -> None:
    """The comparison above would notice coordinates that are off by half a pixel."""
    for predictor in (same, theirs):
        predictor.set_image(photo())
    _, _, logits = same.predict(np.array([[40.5, 50.5]]), np.array([1]))
    _, scores, expected = theirs.predict(np.array([[40, 50]]), np.array([1]))
    assert np.abs(logits - expected[np.argsort(-scores)]).max() > 0.01


def test_a_former_prediction_as_mask(same: SamPredictor, theirs: TheirSamPredictor) -> None:
    low: list[NDArray[np.float32]] = []
    for predictor in (same, theirs):
        predictor.set_image(photo())
        point, label = np.array([[40, 50]]), np.array([1])
        _, scores, logits = predictor.predict(point, label)
        best = logits[scores.argmax()][None]
        _, _, again = predictor.predict(point, label, mask_input=best, multimask_output=False)
        low.append(again)
    np.testing.assert_allclose(low[0], low[1], atol=2e-3, rtol=1e-3)


# Their code


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_all_kinds_of_prompts_zoomed(ours: SamPredictor, prompt: dict[str, Any]) -> None:
    ours.set_image(photo())
    masks, scores, logits = ours.predict(**prompt)
    assert masks.dtype == np.bool_
    assert masks.shape == (3, 90, 130)
    assert (scores.shape, logits.shape) == ((3,), (3, 32, 32))
    masks, scores, logits = ours.predict(**prompt, multimask_output=False)
    assert (masks.shape, scores.shape, logits.shape) == ((1, 90, 130), (1,), (1, 32, 32))
    assert len(ours.labels) == 1
    masks[...] = False  # theirs may be written to


def test_bgr_is_rgb_backwards(ours: SamPredictor) -> None:
    rgb, box = photo(), np.array([10, 20, 90, 80])
    logits = []
    for image, image_format in ((rgb, "RGB"), (rgb[..., ::-1], "BGR"), (rgb, "BGR")):
        ours.set_image(image, image_format)
        logits.append(ours.predict(box=box)[2])
    np.testing.assert_array_equal(logits[0], logits[1])
    assert np.abs(logits[0] - logits[2]).max() > 0.1


def test_state(ours: SamPredictor) -> None:
    assert not ours.is_image_set
    ours.set_image(photo())
    assert ours.is_image_set
    assert ours.original_size == (90, 130)
    assert ours.get_image_embedding().shape == (1, DIM, SIZE // 16, SIZE // 16)
    ours.predict(box=np.array([10, 20, 90, 80]))
    ours.set_image(photo(50, 60))
    with pytest.raises(PromptError, match="before predict"):
        _ = ours.labels  # of the photo before
    ours.reset_image()
    assert not ours.is_image_set
    with pytest.raises(PromptError, match="An image must be set"):
        ours.predict(box=np.array([10, 20, 90, 80]))


def test_clicks_on_the_last_pixels_of_a_large_photo(ours: SamPredictor) -> None:
    """Half a pixel of the model is several of the photo, and must not push a click out of it."""
    ours.set_image(photo(400, 700))
    last = np.array([[699, 399]])
    assert ours.predict(last, np.array([1]))[0].shape == (3, 400, 700)
    for outside in ([[701, 5]], [[5, 401]], [[-30, 5]]):
        with pytest.raises(PromptError, match="outside the photo"):
            ours.predict(np.array(outside), np.array([1]))


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ({}, "needs a point, a box or a mask"),
        ({"point_coords": np.array([[1, 2]])}, "point_labels must be given"),
        ({"point_coords": np.array([1, 2]), "point_labels": np.array([1])}, "Wrap a single point"),
        ({"point_coords": np.array([[1, 2, 3]]), "point_labels": np.array([1])}, r"\(1, 3\)"),
        ({"box": np.array([90, 20, 10, 80])}, "Swap the corners"),
        ({"box": np.array([[1, 2, 3, 4], [5, 6, 7, 8]])}, r"got \(8,\)"),
        ({"mask_input": np.zeros((1, 64, 64))}, r"\(32, 32\) for tiny, got \(64, 64\)"),
        ({"box": np.array([1, 2, 3, 4]), "return_logits": True}, "not offered"),
    ],
    ids=["nothing", "no labels", "flat point", "3-D point", "box", "boxes", "mask", "logits"],
)
def test_errors(ours: SamPredictor, prompt: dict[str, Any], message: str) -> None:
    ours.set_image(photo())
    with pytest.raises(PromptError, match=message):
        ours.predict(**prompt)


def test_errors_of_the_image(ours: SamPredictor) -> None:
    with pytest.raises(OvsamError, match="image_format must be 'RGB' or 'BGR', got 'RBG'"):
        ours.set_image(photo(), "RBG")
    with pytest.raises(PhotoError, match="float64"):
        ours.set_image(np.zeros((4, 4, 3)))  # type: ignore[arg-type]


def test_a_released_checkpoint_says_that_it_has_one_mask() -> None:
    predictor = SamPredictor(tiny_predictor(ONE_TOKEN))
    predictor.set_image(photo())
    with pytest.raises(PromptError, match="no multimask output"):
        predictor.predict(box=np.array([10, 20, 90, 80]))
    masks, scores, _ = predictor.predict(box=np.array([10, 20, 90, 80]), multimask_output=False)
    assert masks.shape == (1, 90, 130)
    assert np.isnan(scores).all()


def test_the_registry_loads_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[tuple[str, str]] = []

    def load(name: str, device: str) -> Any:
        loaded.append((str(name), device))
        return tiny_predictor()

    monkeypatch.setattr(sam, "load", load)
    assert not loaded
    model = sam_model_registry["vit_h"](checkpoint="my.safetensors")
    model.to(device=torch.device("cpu")).eval()
    assert not loaded  # the weights are read once, when they are needed
    SamPredictor(model)
    SamPredictor(model)
    for name in ("default", "lite", "rn50x16-coco", "rn50x16-lvis"):
        SamPredictor(sam_model_registry[name]())
    assert loaded == [
        ("my.safetensors", "cpu"),
        ("lite", "cpu"),
        ("lite", "cpu"),
        ("rn50x16-coco", "cpu"),
        ("rn50x16-lvis", "cpu"),
    ]
