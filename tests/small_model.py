"""A model of the released kind that is built in milliseconds, and files as they are released."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ovsam.config import AdapterConfig, EncoderConfig, ModelConfig, SamConfig
from ovsam.model import build, presets
from ovsam.model.baselines.sam_encoder import SamEncoder
from ovsam.model.presets import RELEASED_DECODER
from released import SHAPES, seeded

NAME = "small"
SMALL = ModelConfig(
    name=NAME,
    image_size=256,
    encoder=EncoderConfig(
        kind="open_clip", architecture=NAME, channels=(16, 32, 64, 128), text_dim=32
    ),
    adapter=AdapterConfig(dim=64, heads=16),
    decoder=RELEASED_DECODER,
)
OPEN_CLIP: dict[str, Any] = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 384, "layers": [1, 1, 1, 1], "width": 4},
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 16,
        "heads": 2,
        "layers": 2,
    },
}


def offer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the model one of those that are known by name."""
    monkeypatch.setitem(presets.MODELS, NAME, SMALL)
    monkeypatch.setattr(build, "RESNETS", (NAME,))
    monkeypatch.setattr(open_clip, "get_model_config", {NAME: OPEN_CLIP}.__getitem__)


def clip_state() -> dict[str, Tensor]:
    """A whole CLIP under open_clip's names."""
    torch.manual_seed(0)
    state: dict[str, Tensor] = open_clip.model.CLIP(**OPEN_CLIP).state_dict()
    return state


def write_released(folder: Path) -> dict[str, Path]:
    """The four files that `ovsam convert` wants, by its options."""
    paths = {part: folder / f"{part}.pth" for part in ("sam2clip", "clip2sam", "sam")}
    paths["clip"] = folder / "clip.safetensors"
    torch.save({"state_dict": seeded(SHAPES["sam2clip"]), "meta": {"epoch": 24}}, paths["sam2clip"])
    torch.save(seeded(SHAPES["clip2sam"]), paths["clip2sam"])
    unused = {"image_encoder.pos_embed": torch.zeros(1, 2, 2, 4)}
    torch.save({**seeded(SHAPES["sam"], prefix="sam."), **unused}, paths["sam"])
    save_file({n: t.contiguous() for n, t in clip_state().items()}, paths["clip"])
    return paths


def write_sam_and_clip(
    folder: Path, monkeypatch: pytest.MonkeyPatch, image_size: int = SMALL.image_size
) -> tuple[dict[str, Path], SamEncoder]:
    """SAM's and CLIP's files, and SAM's encoder in them, which "sam-b" then stands for."""
    sam = SamConfig(dim=32, depth=2, heads=2, global_blocks=(1,))
    monkeypatch.setitem(presets.SAMS, "sam-b", sam)
    encoder = SamEncoder(sam, image_size // 16, 256)
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.1)
    released = write_released(folder)
    state = torch.load(released["sam"], weights_only=True)
    state.pop("image_encoder.pos_embed")
    ours = {f"image_encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    torch.save({**state, **ours}, folder / "whole_sam.pth")
    return {"sam": folder / "whole_sam.pth", "clip": released["clip"]}, encoder
