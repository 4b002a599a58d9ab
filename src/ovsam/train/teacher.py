"""Teachers of distillation: frozen networks that give embeddings of photos, SAM's or our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ovsam.config import current_name
from ovsam.errors import CheckpointError, TrainingError, UnknownModelError
from ovsam.extras import missing
from ovsam.hub import NAMES, fetch_model
from ovsam.images.frame import Frame
from ovsam.model.adapter import Adapter
from ovsam.model.checkpoint import fingerprints
from ovsam.model.device import check_device
from ovsam.model.features import ImageEncoder, freeze
from ovsam.model.pixels import to_pixels
from ovsam.model.presets import split_baseline
from ovsam.model.restore import restore
from ovsam.model.state_dict import check_finite
from ovsam.model.tensors import as_arrays, fill
from ovsam.model.weights_file import read_tensors

if TYPE_CHECKING:
    from timm.models.vision_transformer_sam import VisionTransformerSAM

STRIDE = 16
SAMS = {
    "sam-b": "samvit_base_patch16",
    "sam-l": "samvit_large_patch16",
    "sam-h": "samvit_huge_patch16",
}
"""timm's names of SAM's image encoders, whose weights it fetches from the hub."""

_SAM_PREFIX = "image_encoder."  # of the image encoder in the official files
_SAM_FILES = "https://github.com/facebookresearch/segment-anything#model-checkpoints"
_SAM_MEAN = (123.675, 116.28, 103.53)
_SAM_STD = (58.395, 57.12, 57.375)
_SAM_WINDOW = 14


class Teacher(nn.Module):
    """A frozen network; it never trains and gives no gradients.

    Args:
        network: normalised pixels `(B, 3, S, S)` -> embedding `(B, C, S / 16, S / 16)`.
        name: what a person calls it.
        channels: C.
        image_size: S, to which a photo's longest side is brought, in pixels.
        pixel_mean: of the red, green and blue values 0..255.
        pixel_std: their standard deviation.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        name: str,
        channels: int,
        image_size: int,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
    ) -> None:
        super().__init__()
        self.network = network
        self.name, self.image_size = name, image_size
        self.pixel_mean, self.pixel_std = tuple(pixel_mean), tuple(pixel_std)
        self.feature_shape = (channels, image_size // STRIDE, image_size // STRIDE)
        named = {f"network.{key}": tensor for key, tensor in network.state_dict().items()}
        self.fingerprint = fingerprints(as_arrays(named))["network"]
        """BLAKE2b of the weights."""
        freeze(self)
        self.train(False)

    def train(self, mode: bool = True) -> Teacher:  # noqa: ARG002 - nn.Module's signature
        """Stay in eval mode."""
        return super().train(False)

    def pixels(self, photo: NDArray[np.uint8]) -> Tensor:
        """A photo `(H, W, 3)` RGB -> `(1, 3, S, S)`, resized, normalised and padded as SAM does."""
        frame = Frame.whole_photo((photo.shape[0], photo.shape[1]), self.image_size)
        return to_pixels(frame.cut(photo), frame.input_hw, self.pixel_mean, self.pixel_std)

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised, padded pixels `(B, 3, S, S)` -> `(B, C, S / 16, S / 16)`."""
        embedding: Tensor = self.network(pixels)
        return embedding


def load_teacher(source: str, image_size: int | None = None, device: str = "cpu") -> Teacher:
    """A teacher by name or from a file.

    Args:
        source: "sam-b", "sam-l" or "sam-h" (fetched from the hub at first), SAM's
            official `.pth`, one of our models by name ("lite"), or an ovsam checkpoint.
        image_size: the photo's longest side as the teacher sees it, in pixels; None = its own.
            SAM has one size only.
        device: "cpu", "cuda", "mps".

    Raises:
        CheckpointError: no such teacher or file, a file that does not fit (every tensor that is
            missing or unexpected is named), or the hub cannot be reached.
        TrainingError: the teacher cannot see photos at this size.
        OvsamError: there is no such device; see `check_device`.
    """
    check_device(device)
    source = current_name(source)
    if source in SAMS:
        teacher = _sam(source, _pretrained(source))
    elif Path(source).suffix in (".pth", ".pt", ".bin"):
        teacher = _sam(Path(source).stem, _from_file(Path(source)))
    else:
        return _own(source, image_size).to(device)
    if image_size not in (None, teacher.image_size):
        raise TrainingError(
            f"The teacher '{source}' sees photos at {teacher.image_size} pixels, not at "
            f"{image_size}: leave the size out."
        )
    return teacher.to(device)


class _OwnEncoder(nn.Module):
    """What of our model gives the embedding."""

    def __init__(self, encoder: ImageEncoder, adapter: Adapter) -> None:
        super().__init__()
        self.encoder, self.adapter = encoder, adapter

    def forward(self, pixels: Tensor) -> Tensor:
        embedding: Tensor = self.adapter(self.encoder(pixels))
        return embedding


def _own(source: str, image_size: int | None) -> Teacher:
    try:
        found = fetch_model(source)
    except UnknownModelError as error:
        split_baseline(source)  # has a sentence of its own for an oracle's ending
        raise UnknownModelError(
            f"Unknown teacher '{source}'. Choose {', '.join((*SAMS, *NAMES))}, or give the path of "
            "SAM's .pth or of an ovsam checkpoint."
        ) from error
    model = restore(found.path, found.baseline).model
    config = model.config
    if model.adapter is None:
        raise TrainingError(
            f"'{source}' is a baseline with SAM's own encoder: give SAM itself as the teacher."
        )
    size = config.image_size if image_size is None else image_size
    if size < 32 or size % 32:
        raise TrainingError(
            f"The teacher '{source}' sees photos at a multiple of 32 pixels, got {size}: "
            f"its own size is {config.image_size}."
        )
    return Teacher(
        _OwnEncoder(model.encoder, model.adapter),
        name=config.name,
        channels=config.embed_dim,
        image_size=size,
        pixel_mean=config.encoder.pixel_mean,
        pixel_std=config.encoder.pixel_std,
    )


class _Sam(nn.Module):
    """timm's encoder without its pooling."""

    def __init__(self, vit: VisionTransformerSAM) -> None:
        super().__init__()
        self.vit = vit

    def forward(self, pixels: Tensor) -> Tensor:
        embedding: Tensor = self.vit.forward_features(pixels)  # type: ignore[no-untyped-call]
        return embedding


def _sam(name: str, vit: VisionTransformerSAM) -> Teacher:
    assert vit.pos_embed is not None
    return Teacher(
        _Sam(vit),
        name=name,
        channels=vit.num_features,
        image_size=vit.pos_embed.shape[1] * STRIDE,
        pixel_mean=_SAM_MEAN,
        pixel_std=_SAM_STD,
    )


def _pretrained(name: str) -> VisionTransformerSAM:
    timm = _timm()
    try:
        vit: VisionTransformerSAM = timm.create_model(
            SAMS[name], pretrained=True, num_classes=0, norm_layer=_norm()
        )
    except (OSError, RuntimeError) as error:  # what the hub's client raises: no network, no file
        raise CheckpointError(
            f"The weights of '{name}' cannot be fetched from the hub: download SAM's official .pth "
            f"on another machine ({_SAM_FILES}) and give its path as the teacher."
        ) from error
    return vit


def _from_file(path: Path) -> VisionTransformerSAM:
    """The image encoder in SAM's official format, its sizes read off the file."""
    _timm()
    from timm.models.vision_transformer_sam import VisionTransformerSAM, checkpoint_filter_fn

    tensors = read_tensors(path)
    state = {key: tensor for key, tensor in tensors.items() if key.startswith(_SAM_PREFIX)}
    arguments = _sam_sizes({k.removeprefix(_SAM_PREFIX): v.shape for k, v in state.items()}, path)
    with torch.device("meta"):
        vit = VisionTransformerSAM(num_classes=0, use_rel_pos=True, norm_layer=_norm(), **arguments)
    renamed = checkpoint_filter_fn(state, vit)  # type: ignore[no-untyped-call]
    fill(vit, {key: tensor.float() for key, tensor in renamed.items()}, path)
    check_finite(as_arrays(state), path)
    return vit


def _sam_sizes(shapes: Mapping[str, Sequence[int]], path: Path) -> dict[str, Any]:
    depth = len({key.split(".")[1] for key in shapes if key.startswith("blocks.")})
    try:
        _, grid, _, dim = shapes["pos_embed"]
        relative = [shapes[f"blocks.{i}.attn.rel_pos_h"] for i in range(depth)]
        # A block has a position code for each of the 2 n - 1 distances between n tokens.
        sides = [(length + 1) // 2 for length, _ in relative]
        return {
            "img_size": grid * STRIDE,
            "embed_dim": dim,
            "depth": depth,
            "num_heads": dim // relative[0][1],
            "global_attn_indexes": tuple(i for i, side in enumerate(sides) if side == grid),
            "window_size": min((side for side in sides if side != grid), default=_SAM_WINDOW),
            "mlp_ratio": shapes["blocks.0.mlp.lin1.weight"][0] // dim,
            "neck_chans": shapes["neck.0.weight"][0],
        }
    except (LookupError, ValueError, ArithmeticError) as error:
        raise CheckpointError(
            f"'{path}' does not hold SAM's image encoder ({_SAM_PREFIX}pos_embed, blocks, neck): "
            f"give an official SAM ViT-B, L or H ({_SAM_FILES})."
        ) from error


def _norm() -> Any:  # timm names a narrower type than it takes
    return partial(nn.LayerNorm, eps=1e-6)  # SAM's; timm's encoder comes with 1e-5


def _timm() -> ModuleType:
    try:
        import timm
    except ImportError as error:
        raise missing("SAM as a teacher", "timm") from error
    return timm
