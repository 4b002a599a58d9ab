"""Code written for `segment_anything.SamPredictor`, and its answers from the same weights."""

from __future__ import annotations

import inspect
import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from segment_anything import SamPredictor as TheirSamPredictor
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from segment_anything.utils.transforms import ResizeLongestSide as TheirResize
from torch import Tensor, nn

from fuzzing import examples
from ovsam import sam
from ovsam.config import DecoderConfig
from ovsam.errors import OvsamError, PhotoError, PromptError
from ovsam.sam import ResizeLongestSide, SamPredictor, sam_model_registry
from ovsam.structures import Prompt
from tiny_model import ONE_TOKEN, TINY, HashedText, balance, tiny_model, tiny_predictor

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
    return SamPredictor(tiny_predictor(model=model, clean=False))


@pytest.fixture(scope="module")
def wide() -> SamPredictor:
    """One that has a photo."""
    predictor = SamPredictor(tiny_predictor())
    predictor.set_image(photo())
    return predictor


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
    "a point that is none": {
        "point_coords": np.array([[40, 50], [0, 0], [100, 20]]),
        "point_labels": np.array([1, -1, 0]),
    },
    "box and points that are none": {
        "point_coords": np.array([[0, 0], [0, 0]]),
        "point_labels": np.array([-1, -1]),
        "box": np.array([10, 20, 90, 80]),
    },
    "tensors": {
        "point_coords": torch.tensor([[40, 50]]),
        "point_labels": torch.tensor([1]),
        "box": torch.tensor([10.0, 20, 90, 80], dtype=torch.float16),
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
    arrays = {k: np.asarray(value) for k, value in prompt.items()}
    expected = theirs.predict(**arrays, multimask_output=multimask)
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


@pytest.mark.parametrize("logits", [False, True], ids=["masks", "logits"])
@pytest.mark.parametrize("multimask", [False, True], ids=["single", "multimask"])
@pytest.mark.parametrize("prompt", ["points", "boxes", "boxes and points", "masks", "none"])
def test_the_torch_answers_of_segment_anything(
    same: SamPredictor, theirs: TheirSamPredictor, prompt: str, multimask: bool, logits: bool
) -> None:
    """Two objects at once, in the pixels of the model."""
    size_hw = (90, 130)
    for predictor in (same, theirs):
        predictor.set_image(photo(*size_hw))
    points = torch.tensor([[[40.0, 50], [100, 20]], [[7, 80], [0, 0]]])
    labels = torch.tensor([[1, 0], [1, -1]])
    boxes = torch.tensor([[10.0, 20, 90, 80], [50, 5, 120, 60]])
    coarse = torch.from_numpy(np.stack([COARSE, -COARSE]))
    given: dict[str, Any] = {"point_coords": None, "point_labels": None}
    if "points" in prompt:
        given["point_coords"] = theirs.transform.apply_coords_torch(points, size_hw)
        given["point_labels"] = labels
    if "boxes" in prompt:
        given["boxes"] = theirs.transform.apply_boxes_torch(boxes, size_hw)
    if prompt == "masks":
        given |= {"boxes": boxes, "mask_input": coarse}
    if prompt == "none":
        given["boxes"] = torch.zeros(0, 4)
        masks, scores, low_res = same.predict_torch(**given, multimask_output=multimask)
        count = 3 if multimask else 1
        assert masks.shape == (0, count, *size_hw)
        assert (scores.shape, low_res.shape) == ((0, count), (0, count, 32, 32))
        return
    given |= {"multimask_output": multimask, "return_logits": logits}
    found, expected = same.predict_torch(**given), theirs.predict_torch(**given)
    order = expected[1].argsort(1, descending=True)  # ours come best first
    for ours, other in zip(found, expected, strict=True):
        assert (ours.shape, ours.dtype) == (other.shape, other.dtype)
        sorted_ = torch.stack([rows[at] for rows, at in zip(other, order, strict=True)])
        if ours.dtype == torch.bool:
            assert (ours != sorted_).float().mean() < 1e-3
        else:
            torch.testing.assert_close(ours, sorted_, atol=2e-3, rtol=1e-3)


def test_logits_at_the_photos_size(same: SamPredictor, theirs: TheirSamPredictor) -> None:
    for predictor in (same, theirs):
        predictor.set_image(photo())
    box = np.array([10, 20, 90, 80])
    logits, _, _ = same.predict(box=box, multimask_output=False, return_logits=True)
    expected, _, _ = theirs.predict(box=box, multimask_output=False, return_logits=True)
    assert logits.dtype == expected.dtype == np.float32
    np.testing.assert_allclose(logits, expected, atol=1e-3, rtol=1e-3)


def test_a_photo_that_was_resized_before(same: SamPredictor, theirs: TheirSamPredictor) -> None:
    """The tensor that SAM's `set_image` makes of a photo, by our transform."""
    image = photo(300, 200)
    resized = same.transform.apply_image(image)
    assert resized.shape == theirs.transform.apply_image(image).shape == (128, 85, 3)
    tensor = torch.as_tensor(resized).permute(2, 0, 1)[None]
    box, found = np.array([10, 20, 90, 80]), []
    for predictor in (same, theirs):
        predictor.set_torch_image(tensor, image.shape[:2])
        assert predictor.original_size == (300, 200)
        assert predictor.input_size == (128, 85)
        found.append(predictor.predict(box=box, multimask_output=False))
    for ours, other in zip(*found, strict=True):
        assert ours.shape == other.shape
    np.testing.assert_allclose(found[0][2], found[1][2], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("size_hw", [(90, 130), (300, 200), (1, 1000), (128, 128)], ids=str)
def test_their_transform(size_hw: tuple[int, int]) -> None:
    ours, other = ResizeLongestSide(128), TheirResize(128)
    coords, boxes = np.array([[3, 5], [60.5, 70]]), np.array([[1, 2, 30, 40], [5, 6, 7, 8]])
    for name, value in (("coords", coords), ("boxes", boxes)):
        arrays = [getattr(each, f"apply_{name}")(value, size_hw) for each in (ours, other)]
        if size_hw != (1, 1000):  # of which theirs leaves no row
            np.testing.assert_allclose(*arrays)
        assert arrays[0].dtype == arrays[1].dtype == np.float64
        tensor = torch.as_tensor(value)
        tensors = [getattr(each, f"apply_{name}_torch")(tensor, size_hw) for each in (ours, other)]
        assert tensors[0].dtype == tensors[1].dtype == torch.float32
        if size_hw != (1, 1000):
            torch.testing.assert_close(*tensors)
    height, width = ours.get_preprocess_shape(*size_hw, 128)
    assert (max(height, 1), width) == (height, width)
    assert ours.apply_image(photo(*size_hw)).shape == (height, width, 3)
    pixels = torch.as_tensor(photo(*size_hw)).permute(2, 0, 1)[None].float()
    assert ours.apply_image_torch(pixels).shape == (1, 3, height, width)


def test_their_names_and_the_order_of_what_is_given() -> None:
    for name in ("set_image", "set_torch_image", "predict", "predict_torch", "reset_image"):
        ours, other = (
            [
                (parameter.name, parameter.default)
                for parameter in inspect.signature(getattr(each, name)).parameters.values()
            ]
            for each in (SamPredictor, TheirSamPredictor)
        )
        assert ours == other
    assert list(inspect.signature(SamPredictor).parameters) == ["sam_model"]
    for method in [name for name in vars(TheirResize) if not name.startswith("_")]:
        assert hasattr(ResizeLongestSide, method)


# Their code


def test_what_comes_with_a_model(ours: SamPredictor) -> None:
    ours.set_image(photo())
    assert ours.model.image_encoder.img_size == SIZE
    assert ours.model.mask_threshold == 0
    assert ours.model.image_format == "RGB"
    assert ours.model.device == ours.device == torch.device("cpu")
    assert ours.input_size == (89, 128)
    assert ours.features is not None and ours.features.shape == (1, DIM, SIZE // 16, SIZE // 16)
    ours.reset_image()
    assert ours.features is None
    with pytest.raises(AttributeError, match="has no SamAutomaticMaskGenerator, only SamPredictor"):
        _ = sam.SamAutomaticMaskGenerator
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = sam.nonsense


def test_several_objects_at_once(ours: SamPredictor) -> None:
    """As SAM 2 takes them; each as if it were alone."""
    ours.set_image(photo())
    boxes = np.array([[10, 20, 90, 80], [50, 5, 120, 60], [-9, -9, 200, 200]])
    points, labels = np.array([[[40, 50]], [[100, 20]], [[7, 80]]]), np.array([[1], [0], [1]])
    coarse = np.stack([COARSE, -COARSE, COARSE])
    several: list[dict[str, Any]] = [
        {"box": boxes},
        {"point_coords": points, "point_labels": labels},
        {"point_coords": points, "point_labels": labels, "box": boxes, "mask_input": coarse},
    ]
    for arguments in several:
        masks, scores, low_res = ours.predict(**arguments)
        assert masks.shape == (3, 3, 90, 130)
        assert masks.dtype == np.bool_
        assert (scores.shape, low_res.shape) == ((3, 3), (3, 3, 32, 32))
        names = ours.labels
        assert len(names) == 3
        for i in range(3):
            alone: dict[str, Any] = {name: value[i : i + 1] for name, value in arguments.items()}
            one, score, _ = ours.predict(**alone)
            assert one.shape == (3, 90, 130)
            assert (one != masks[i]).mean() < 1e-3
            np.testing.assert_allclose(score, scores[i], atol=1e-3)
            assert [row[0].name for row in ours.labels] == [row[0].name for row in names[i]]
    masks, scores, _ = ours.predict(box=np.zeros((0, 4)), multimask_output=False)
    assert (masks.shape, scores.shape) == ((0, 1, 90, 130), (0, 1))


def test_points_that_are_none_are_no_matter_where_the_model_zooms(ours: SamPredictor) -> None:
    ours.set_image(photo())
    alone = ours.predict(np.array([[40, 50]]), np.array([1]))
    padded = ours.predict(np.array([[40, 50], [-1, -1]]), np.array([1, -1]))
    for one, other in zip(alone, padded, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_mask_of_sams_size_is_brought_to_the_models(ours: SamPredictor) -> None:
    ours.set_image(photo())
    enlarged = np.repeat(np.repeat(COARSE, 8, 1), 8, 2)
    assert enlarged.shape == (1, 256, 256)
    for one, other in zip(
        ours.predict(mask_input=COARSE), ours.predict(mask_input=enlarged), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-3, rtol=1e-3)


def test_torch_answers_where_the_model_zooms(ours: SamPredictor) -> None:
    ours.set_image(photo())
    points = np.array([[40, 50], [100, 20]])
    expected = ours.predict(points, np.array([1, 0]), np.array([10, 20, 90, 80]))
    found = ours.predict_torch(
        ours.transform.apply_coords_torch(torch.tensor(points)[None], (90, 130)),
        torch.tensor([[1, 0]]),
        ours.transform.apply_boxes_torch(torch.tensor([[10, 20, 90, 80]]), (90, 130)),
    )
    # Coordinates of 32 bits: the squares are cut a millionth of a pixel off.
    assert (found[0][0].numpy() != expected[0]).mean() < 0.01
    np.testing.assert_allclose(found[2][0].numpy(), expected[2], atol=0.2)
    with pytest.raises(PromptError, match=r"boxes of 2 dimensions, .* got shape \(4,\)"):
        ours.predict_torch(None, None, torch.tensor([1, 2, 3, 4]))


def test_logits_where_the_model_zooms(ours: SamPredictor) -> None:
    ours.set_image(photo())
    masks, _, _ = ours.predict(box=np.array([10, 20, 90, 80]))
    logits, _, _ = ours.predict(box=np.array([10, 20, 90, 80]), return_logits=True)
    assert logits.dtype == np.float32
    np.testing.assert_array_equal(logits > ours.model.mask_threshold, masks)


@pytest.mark.parametrize("size_hw", [(40, 60), (1200, 1600)], ids=str)
def test_a_click_moves_by_half_a_pixel_of_the_photo_where_the_model_zooms(
    size_hw: tuple[int, int],
) -> None:
    predictor = tiny_predictor()
    image = photo(*size_hw)
    ours = SamPredictor(predictor)
    ours.set_image(image)
    height, width = size_hw
    corner = [width - 1, height - 1]
    for point in ([0, 0], [width // 2, height // 3], corner, [width, height]):
        masks, _, low_res = ours.predict(np.array([point]), np.array([1]), multimask_output=False)
        moved = np.minimum(np.array(point) + 0.5, [width, height])
        [expected] = predictor.predict(predictor.encode(image), Prompt([moved]))
        np.testing.assert_array_equal(masks, expected.masks)
        np.testing.assert_array_equal(low_res, expected.low_res_logits)


def test_a_photo_of_one_pixel(ours: SamPredictor) -> None:
    ours.set_image(photo(1, 1))
    for prompt in ({"point_coords": [[0, 0]], "point_labels": [1]}, {"box": [0, 0, 1, 1]}):
        assert ours.predict(**prompt)[0].shape == (3, 1, 1)


def test_a_message_names_the_point_that_was_given(ours: SamPredictor) -> None:
    ours.set_image(photo(400, 700))
    for zoom in (True, False):
        ours.model.predictor.zoom = zoom
        for point in ([-8, 10], [-1, 10], [5, 401.5], [701, 3]):
            with pytest.raises(PromptError) as caught:
                ours.predict(np.array([[1, 1], point]), np.array([1, 1]))
            assert str(caught.value).startswith(f"Point ({point[0]}, {point[1]}) is outside")
        assert ours.predict(np.array([[-0.5, 399.5]]), np.array([1]))[0].shape == (3, 400, 700)


def test_shares_of_the_photo_are_warned_of(
    ours: SamPredictor, caplog: pytest.LogCaptureFixture
) -> None:
    ours.set_image(photo())
    with caplog.at_level(logging.WARNING):
        ours.predict(np.array([[0, 0]]), np.array([1]))  # the first pixel
        ours.predict(np.array([[1, 0], [-1, -1]]), np.array([1, -1]))
        assert not caplog.records
        ours.predict(np.array([[0.3, 0.75]]), np.array([1]))
    [said] = [record.getMessage() for record in caplog.records]
    assert said.startswith("The coordinates 0.3, 0.75 lie between 0 and 1")


def test_pillow_images(ours: SamPredictor) -> None:
    image, box = photo(), np.array([10, 20, 90, 80])
    logits = []
    for shown, image_format in (
        (image, "RGB"),
        (Image.fromarray(image), "RGB"),
        (Image.fromarray(image).convert("RGBA"), "RGB"),
        (Image.fromarray(np.ascontiguousarray(image[..., ::-1])), "BGR"),
    ):
        ours.set_image(shown, image_format)
        logits.append(ours.predict(box=box)[2])
    for other in logits[1:]:
        np.testing.assert_array_equal(logits[0], other)


def test_a_resized_photo_where_the_model_zooms(ours: SamPredictor) -> None:
    """At the size of the model nothing is lost, and the answer is that of the photo."""
    image, box = photo(128, 100), np.array([10, 20, 90, 80])
    ours.set_image(image)
    expected = ours.predict(box=box)
    ours.set_torch_image(torch.as_tensor(image).permute(2, 0, 1)[None].float(), (128, 100))
    for one, other in zip(ours.predict(box=box), expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("shape", "value", "size", "message"),
    [
        ((1, 3, 128, 99), 0, (128, 100), r"shape \(3, 128, 100\) for tiny, got \(3, 128, 99\)"),
        ((2, 3, 128, 100), 0, (128, 100), r"one photo of shape \(1, 3, h, w\), got \(2, 3"),
        ((3, 128, 100), 0, (128, 100), r"one photo of shape \(1, 3, h, w\), got \(3, 128"),
        ((1, 3, 128, 128), 0, (10**6, 10**6), r"1 to 134,217,728 pixels, got 1000000 x 1000000"),
        ((1, 3, 128, 128), 0, (0, 0), r"1 to 134,217,728 pixels, got 0 x 0"),
        ((1, 3, 128, 128), -1.0, (9, 9), r"between 0 and 255: do not normalise them"),
        ((1, 3, 128, 128), np.nan, (9, 9), r"between 0 and 255"),
    ],
)
def test_a_resized_photo_that_is_none(
    ours: SamPredictor,
    shape: tuple[int, ...],
    value: float,
    size: tuple[int, int],
    message: str,
) -> None:
    with pytest.raises(PhotoError, match=message):
        ours.set_torch_image(torch.full(shape, value), size)


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


def test_names_are_looked_for_when_they_are_asked_for() -> None:
    text = HashedText()
    predictor = tiny_predictor(text=text)
    ours = SamPredictor(predictor)
    ours.set_image(photo())
    box = np.array([10, 20, 90, 80])
    ours.predict(box=box)
    assert not text.asked
    labels = ours.labels
    [expected] = predictor.predict(predictor.encode(photo()), Prompt(box_xyxy=box), multimask=True)
    for one, other in zip(labels, expected.labels, strict=True):
        assert [name for name, _ in one] == [name for name, _ in other]
    assert ours.labels is labels
    ours.predict(box=np.array([40, 5, 60, 30]))
    assert ours.labels != labels, "of the last predict"


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
        ({"box": np.array([1, 2, 3])}, r"box_xyxy must have shape \(4,\).*got \(3,\)"),
        (
            {
                "point_coords": [[1, 2]],
                "point_labels": [1],
                "box": [[1, 2, 3, 4], [5, 6, 7, 8]],
            },
            "must be for as many prompts each, got 1 and 2",
        ),
        ({"point_coords": [[1, 2], [3]], "point_labels": [1, 1]}, "Give arrays of numbers"),
        ({"point_coords": [["1", "2"]], "point_labels": [1]}, "must be an array of numbers"),
        ({"point_coords": [[1, 2]], "point_labels": ["1"]}, "point_labels must be an array"),
        ({"point_coords": [[1, 2]], "point_labels": [2]}, "point_labels must be 1 .* got \\[2\\]"),
        ({"point_coords": [[1, 2]], "point_labels": [-1]}, "needs a point, a box or a mask"),
        ({"point_coords": [[1, 10**400]], "point_labels": [1]}, "must be an array of numbers"),
        ({"point_coords": 5, "point_labels": 1}, "Wrap a single point"),
        ({"mask_input": np.zeros((1, 64, 64))}, r"\(32, 32\) for tiny, got \(64, 64\)"),
    ],
)
def test_errors(ours: SamPredictor, prompt: dict[str, Any], message: str) -> None:
    ours.set_image(photo())
    with pytest.raises(PromptError, match=message):
        ours.predict(**prompt)


KINDS = st.sampled_from(["f4", "f8", "i8", "u1", "b1", "c8", "U3", "O", "M8[s]", "f2"])
SHAPES = st.sampled_from(
    [(), (0,), (2,), (4,), (1, 2), (3, 2), (1, 4), (2, 4), (0, 4), (1, 3, 2), (2, 3, 2), (2, 2, 2)]
)
PLAIN = st.floats(0, 90, width=32) | st.floats(width=32) | st.integers(-1, 1).map(float)


@st.composite
def odd_arrays(draw: st.DrawFn, shapes: st.SearchStrategy[tuple[int, ...]] = SHAPES) -> Any:
    """Numbers of many types and shapes, sometimes as a tensor or a list."""
    shape, kind = draw(shapes), draw(KINDS)
    flat = draw(st.lists(PLAIN, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    with np.errstate(all="ignore"):
        numbers = np.array(flat, np.float32).reshape(shape)
        finite = np.where(np.isfinite(numbers), numbers, 1)
        array = numbers if kind[0] in "fc" else np.clip(finite, 0, 99)
        whole = array.astype("i8") if kind == "M8[s]" else array
        array = np.asarray(whole.astype(kind))
    form = draw(st.sampled_from(["array", "list", "tensor"]))
    if form == "tensor" and kind not in ("U3", "O", "M8[s]"):
        return torch.from_numpy(array)
    return array.tolist() if form == "list" else array


@pytest.mark.fuzz
@settings(max_examples=examples(100), deadline=None)
@given(
    points=st.none() | odd_arrays(),
    labels=st.none() | odd_arrays(st.sampled_from([(), (1,), (3,), (1, 3), (2, 3), (2, 2)])),
    box=st.none() | odd_arrays(),
    mask=st.none() | st.just(COARSE) | odd_arrays(st.sampled_from([(1, 1), (2, 1, 1, 1)])),
    multimask=st.booleans(),
    logits=st.booleans(),
)
def test_whatever_is_given_is_answered_or_refused(
    wide: SamPredictor, points: Any, labels: Any, box: Any, mask: Any, multimask: bool, logits: bool
) -> None:
    try:
        masks, scores, low_res = wide.predict(points, labels, box, mask, multimask, logits)
    except OvsamError as error:
        assert "\n" not in str(error)
        return
    assert masks.shape[-3:] == (3 if multimask else 1, 90, 130)
    assert masks.dtype == (np.float32 if logits else np.bool_)
    assert masks.shape[:-2] == scores.shape == low_res.shape[:-2]
    assert np.isfinite(low_res).all()


def test_errors_of_the_image(ours: SamPredictor) -> None:
    with pytest.raises(OvsamError, match="image_format must be 'RGB' or 'BGR', got 'RBG'"):
        ours.set_image(photo(), "RBG")
    with pytest.raises(PhotoError, match="float64"):
        ours.set_image(np.zeros((4, 4, 3)))  # type: ignore[arg-type]
    with pytest.raises(PhotoError, match=r"\(\) and"):
        ours.set_image("photo.png", "BGR")  # type: ignore[arg-type]
    with pytest.raises(PhotoError, match="Pillow image of mode 'I;16'"):
        ours.set_image(Image.new("I;16", (4, 4)))
    with pytest.raises(OvsamError, match=r"SamPredictor takes what .* got 'vit_b'"):
        SamPredictor("vit_b")  # type: ignore[arg-type]


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

    def load(name: str, device: str, clean: bool) -> Any:
        assert not clean, "SAM gives masks as they are"
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
