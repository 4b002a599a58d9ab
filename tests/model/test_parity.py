"""Every step of the authors' release, reproduced from `tests/reference` through the converter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from open_clip.modified_resnet import ModifiedResNet
from torch import Tensor

from ovsam.config import AdapterConfig, DecoderConfig, EncoderConfig, ModelConfig, RegionConfig
from ovsam.geometry import masks_to_boxes_xyxy
from ovsam.model.clip import ClipImageEncoder
from ovsam.model.convert import KEY_MAP, KEY_MAP_SAM_DECODER, assemble
from ovsam.model.ovsam import OVSAM, Features
from ovsam.model.presets import RELEASED_DECODER
from ovsam.model.prompt_batch import PromptBatch
from ovsam.model.region import class_logits
from ovsam.model.tensors import fill
from ovsam.model.torch_bank import TorchBank, TorchPrototypes
from released import SETTINGS, SHAPES, outputs, seeded

SIZE = 256
CONFIG = ModelConfig(
    name="small",
    image_size=SIZE,
    encoder=EncoderConfig(
        kind="open_clip", architecture="small", channels=(16, 32, 64, 128), text_dim=32
    ),
    adapter=AdapterConfig(dim=64, heads=16),
    decoder=RELEASED_DECODER,
    region=RegionConfig(roi_size=SETTINGS["roi_size"], finest_scale=SETTINGS["finest_scale"]),
    logit_scale=float(np.exp(SETTINGS["logit_scale"])),
    fusion_alpha=SETTINGS["alpha"],
    fusion_beta=SETTINGS["beta"],
)
EXPECTED = outputs()


def build_small(decoder: DecoderConfig, sam_decoder: bool) -> OVSAM:
    """The reduced model, its weights brought in as those of released files are."""
    visual = ModifiedResNet([1, 1, 1, 1], output_dim=32, heads=8, image_size=384, width=4)
    model = OVSAM(replace(CONFIG, decoder=decoder), ClipImageEncoder(visual, pool_size=12))
    clip = {f"visual.{name}": tensor for name, tensor in visual.state_dict().items()}
    pooling = seeded(SHAPES["clip_attnpool"])  # the trunk itself does not matter: C2..C5 are given
    clip |= {name.replace("clip.", "visual."): tensor for name, tensor in pooling.items()}
    sources = {
        "sam2clip": seeded(SHAPES["sam2clip"]),
        "clip2sam": seeded(SHAPES["clip2sam"]),
        "sam": seeded(SHAPES["sam"], prefix="sam."),
        "clip": clip,
    }
    table = KEY_MAP_SAM_DECODER if sam_decoder else KEY_MAP
    fill(model, assemble(sources, table, model.state_dict()), "the reference")
    return model.eval()


@pytest.fixture(scope="module")
def model() -> OVSAM:
    return build_small(RELEASED_DECODER, sam_decoder=False)


@pytest.fixture(scope="module")
def pyramid() -> list[Tensor]:
    shapes = {
        f"pyramid.c{i + 2}": (1, channels, SIZE // stride, SIZE // stride)
        for i, (channels, stride) in enumerate(
            zip(SETTINGS["channels"], SETTINGS["strides"], strict=True)
        )
    }
    return [tensor.abs() for tensor in seeded(shapes).values()]


@pytest.fixture(scope="module")
def features(model: OVSAM, pyramid: list[Tensor]) -> Features:
    with torch.no_grad():
        return model.features(pyramid, (SIZE, SIZE))


def prompt(kind: str) -> PromptBatch[Tensor]:
    if kind == "box":
        return PromptBatch(boxes_xyxy=torch.from_numpy(EXPECTED["boxes"]))
    points = torch.from_numpy(EXPECTED["points"]) + 0.5  # the reference names pixel centres
    return PromptBatch(points, torch.ones(points.shape[:2]))


@pytest.fixture(scope="module", params=["box", "point"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def mask_logits(model: OVSAM, features: Features, kind: str) -> Tensor:
    with torch.no_grad():
        return model.decode(features, prompt(kind))[0]


@pytest.fixture(scope="module")
def regions(kind: str, mask_logits: Tensor) -> Tensor:
    """The boxes of prompts, or else those of the masks, in model pixels."""
    boxes = prompt(kind).boxes_xyxy
    if boxes is None:
        boxes = 4 * torch.from_numpy(masks_to_boxes_xyxy(mask_logits[:, 0].numpy() > 0)).float()
    return boxes


def assert_close(ours: Tensor, name: str) -> None:
    """Equal to float32 rounding, relative to the size of the whole output."""
    expected: NDArray[np.float32] = EXPECTED[name]
    scale = float(np.abs(expected[np.abs(expected) < 999]).max())  # -1000 stands for "never"
    assert tuple(ours.shape) == expected.shape
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-4, atol=1e-5 * scale, err_msg=name)


def test_dense_positions(model: OVSAM) -> None:
    assert_close(model.prompt_encoder.dense_positions((16, 16)), "dense_pe")


def test_image_embedding(features: Features) -> None:
    assert features.embedding is not None
    assert_close(features.embedding, "image_embedding")


@pytest.mark.parametrize("level", [2, 3, 4, 5])
def test_feature_pyramid(features: Features, level: int) -> None:
    assert_close(features.fpn_maps[level - 2][:, :8], f"fpn.p{level}")


@torch.no_grad()
def test_prompt_tokens(model: OVSAM, kind: str) -> None:
    sparse, _ = model.encode_prompts(prompt(kind), (SIZE, SIZE))
    assert_close(sparse, f"{kind}.sparse")


def test_masks(mask_logits: Tensor, kind: str) -> None:
    assert_close(mask_logits, f"{kind}.low_res")


def test_regions(regions: Tensor, kind: str) -> None:
    np.testing.assert_array_equal(regions.numpy(), EXPECTED[f"{kind}.regions"])


def prototypes() -> TorchPrototypes:
    seen = torch.zeros(7, dtype=torch.bool)
    seen[SETTINGS["base"]] = True
    answerable = seen.clone()
    answerable[SETTINGS["novel"]] = True
    vectors = torch.from_numpy(EXPECTED["text_embeddings"])  # (C, P, D)
    bank = TorchBank((vectors.transpose(0, 1),), torch.arange(len(vectors)))
    return TorchPrototypes(bank, seen, answerable)


@torch.no_grad()
def test_region_logits(model: OVSAM, features: Features, kind: str, regions: Tensor) -> None:
    batch = torch.zeros(len(regions), dtype=torch.long)
    learned = model.embed_regions(features, regions, batch, None)
    logits = class_logits(learned, prototypes().bank, CONFIG.logit_scale)
    assert_close(logits[:, None], f"{kind}.region_logits")


@torch.no_grad()
def test_fused_scores_and_labels(
    model: OVSAM, features: Features, kind: str, regions: Tensor, mask_logits: Tensor
) -> None:
    fused = model.label(features, regions, mask_logits, prototypes())
    assert torch.isneginf(fused[:, 6]).all()  # class 6 may never be the answer
    assert_close(fused.nan_to_num(neginf=-1000.0)[:, None], f"{kind}.fused")
    np.testing.assert_array_equal(fused[:, :-1].argmax(1).numpy(), EXPECTED[f"{kind}.labels"])


@torch.no_grad()
def test_sams_own_decoder(pyramid: list[Tensor]) -> None:
    model = build_small(DecoderConfig(), sam_decoder=True)
    features = model.features(pyramid, (SIZE, SIZE))
    given = PromptBatch(
        points_xy=torch.tensor([[[64.5, 100.5], [30.5, 30.5]]]),  # the reference's have no half
        point_labels=torch.tensor([[1, 0]]),
        boxes_xyxy=torch.tensor([[12.0, 20.0, 120.0, 200.0]]),
        mask_logits=seeded({"mask_input": (1, 1, 64, 64)})["mask_input"][:, 0],
    )
    sparse, _ = model.encode_prompts(given, (SIZE, SIZE))
    mask_logits, predicted_iou = model.decode(features, given)
    assert predicted_iou is not None
    assert_close(sparse, "sam.point_box_mask.sparse")
    assert_close(mask_logits[:, 1:], "sam.point_box_mask.low_res")
    assert_close(predicted_iou[:, 1:], "sam.point_box_mask.iou")
