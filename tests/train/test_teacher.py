"""Teachers: SAM's against `segment_anything`, ours against the model, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import nn

from ovsam.errors import CheckpointError, OvsamError
from ovsam.model import build
from ovsam.model.checkpoint import save_checkpoint
from ovsam.train.teacher import Teacher, load_teacher
from tiny_model import TINY, TinyEncoder, tiny_model
from tiny_sam import sam_encoder, write_sam


@pytest.fixture
def tiny_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny model as a checkpoint, its encoder among those that are known."""
    monkeypatch.setattr(build, "_build_encoder", TinyEncoder)
    save_checkpoint(tmp_path / "tiny.safetensors", tiny_model(), TINY)
    return tmp_path / "tiny.safetensors"


@pytest.mark.parametrize("global_blocks", [(1,), (0, 2), (0, 1, 2)])
def test_sam_is_segment_anything_s(tmp_path: Path, global_blocks: tuple[int, ...]) -> None:
    reference = sam_encoder(global_blocks)
    with torch.no_grad():  # so little spread that the norms' epsilon matters
        reference.patch_embed.proj.weight.mul_(1e-3)
        reference.patch_embed.proj.bias.mul_(1e-3)
        reference.pos_embed.mul_(1e-3)
        pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
        expected = reference(pixels)
    teacher = load_teacher(str(write_sam(tmp_path / "vit.pth", reference)))
    found = teacher(pixels)
    assert found.shape == (2, *teacher.feature_shape) == (2, 8, 4, 4)
    assert (teacher.name, teacher.image_size) == ("vit", 64)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_pixels_are_sam_s(tmp_path: Path) -> None:
    """A photo of one colour, twice as wide as high: normalised, then padded below."""
    teacher = load_teacher(str(write_sam(tmp_path / "vit.pth", sam_encoder())))
    photo = np.full((50, 100, 3), (123, 200, 0), np.uint8)
    pixels = teacher.pixels(photo)
    assert pixels.shape == (1, 3, 64, 64)
    colour = [(123 - 123.675) / 58.395, (200 - 116.28) / 57.12, -103.53 / 57.375]
    torch.testing.assert_close(
        pixels[0, :, :32], torch.tensor(colour)[:, None, None].expand(3, 32, 64)
    )
    assert (pixels[0, :, 32:] == 0).all()


def test_ours_is_the_model_s_embedding(tiny_file: Path) -> None:
    model = tiny_model()
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    teacher = load_teacher(str(tiny_file), 64)
    assert (teacher.name, teacher.image_size, teacher.feature_shape) == ("tiny", 64, (32, 4, 4))
    with torch.no_grad():
        embedding = model.encode(pixels).embedding
    assert embedding is not None
    assert torch.equal(teacher(pixels), embedding)
    assert load_teacher(str(tiny_file)).image_size == TINY.image_size


def test_a_teacher_stays_frozen(tiny_file: Path) -> None:
    teacher = load_teacher(str(tiny_file), 64).train()
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    pixels = torch.zeros(1, 3, 64, 64, requires_grad=True)
    assert not teacher(pixels).requires_grad


def test_the_fingerprint_is_of_the_weights() -> None:
    def fingerprint(weight: float, size: int = 64) -> str:
        network = nn.Conv2d(3, 4, 16, 16)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.fill_(weight)
        return Teacher(
            network,
            name=str(size),
            channels=4,
            image_size=size,
            pixel_mean=(0, 0, 0),
            pixel_std=(1, 1, 1),
        ).fingerprint

    assert fingerprint(1.0) == fingerprint(1.0, 128) != fingerprint(1.0001)


def test_lite_ships() -> None:
    teacher = load_teacher("lite", 64)
    assert teacher.feature_shape == (128, 4, 4)
    assert teacher.pixel_mean == (127.0, 127.0, 127.0)


def test_sam_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """timm is asked for the right encoder; its weights give the file's fingerprint."""
    reference = sam_encoder()
    from_file = load_teacher(str(write_sam(tmp_path / "vit.pth", reference)))
    calls = []

    def create_model(name: str, **options: object) -> nn.Module:
        calls.append((name, options["pretrained"], options["num_classes"]))
        return from_file.network.vit  # type: ignore[return-value]

    monkeypatch.setattr(timm, "create_model", create_model)
    teacher = load_teacher("sam-l")
    assert calls == [("samvit_large_patch16", True, 0)]
    assert (teacher.name, teacher.fingerprint) == ("sam-l", from_file.fingerprint)


def test_no_hub_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def create_model(*_: object, **__: object) -> nn.Module:
        raise FileNotFoundError("no route")

    monkeypatch.setattr(timm, "create_model", create_model)
    with pytest.raises(CheckpointError, match=r"'sam-h' cannot be fetched .* official \.pth"):
        load_teacher("sam-h")


def test_every_tensor_that_does_not_fit_is_named(tmp_path: Path) -> None:
    encoder = sam_encoder()
    state = {f"image_encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    del state["image_encoder.blocks.1.norm2.bias"]
    state["image_encoder.blocks.0.extra"] = torch.zeros(5)
    state["image_encoder.neck.2.weight"] = torch.zeros(8, 8, 1, 1)
    torch.save(state, tmp_path / "vit.pth")
    with pytest.raises(CheckpointError) as caught:
        load_teacher(str(tmp_path / "vit.pth"))
    for part in (
        "1 missing: blocks.1.norm2.bias (16,)",
        "1 unexpected: blocks.0.extra (5,)",
        "neck.2.weight (8, 8, 1, 1) instead of (8, 8, 3, 3)",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("source", "size", "message"),
    [
        ("nonesuch", None, "Unknown teacher 'nonesuch'. Choose sam-b, "),
        ("lite-oracle", None, "Leave '-oracle' out and run 'ovsam evaluate' with --oracle-names"),
        ("missing.pth", None, "There is no file 'missing.pth'"),
        ("missing.safetensors", None, "There is no checkpoint at 'missing.safetensors'"),
        ("empty.pth", None, "'empty.pth' is damaged"),
        ("other.pth", None, "'other.pth' does not hold SAM's image encoder"),
        ("vit.pth", 128, "sees photos at 64 pixels, not at 128"),
        ("lite", 100, "at a multiple of 32 pixels, got 100: its own size is 512"),
        ("lite", 0, "at a multiple of 32 pixels, got 0"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, size: int | None, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_sam(Path("vit.pth"), sam_encoder())
    Path("empty.pth").write_bytes(b"")
    torch.save({"weight": torch.zeros(3)}, "other.pth")
    with pytest.raises(OvsamError, match=re.escape(message)):
        load_teacher(source, size)


def test_an_unknown_device_is_one_sentence(tmp_path: Path) -> None:
    path = write_sam(tmp_path / "vit.pth", sam_encoder())
    with pytest.raises(OvsamError, match=r"^device must be 'cpu', .* got 'meta'\.$"):
        load_teacher(str(path), device="meta")
