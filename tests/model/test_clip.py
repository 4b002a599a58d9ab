from __future__ import annotations

import numpy as np
import open_clip
import pytest
import torch
from open_clip.modified_resnet import AttentionPool2d, ModifiedResNet
from open_clip.timm_model import TimmModel

from ovsam.model.build import build, build_text_encoder
from ovsam.model.clip import (
    ClipConvNextEncoder,
    ClipImageEncoder,
    attention_pool,
    clip_text_encoder,
)
from ovsam.model.convert import KEY_MAP, rename
from ovsam.model.presets import MODELS, named_config
from small_model import OPEN_CLIP, SMALL, offer

BOX = torch.tensor([[0.0, 0.0, 64.0, 64.0]])
FIRST = torch.tensor([0])


def pixels() -> torch.Tensor:
    return torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_the_whole_image_as_region_is_clips_own_embedding_resnet() -> None:
    torch.manual_seed(0)
    visual = ModifiedResNet([1, 1, 1, 1], output_dim=8, heads=2, image_size=64, width=4)
    encoder = ClipImageEncoder(visual, pool_size=2)
    c2, c3, c4, c5 = encoder(pixels())
    assert [tuple(x.shape[1:]) for x in (c2, c3, c4)] == [(16, 16, 16), (32, 8, 8), (64, 4, 4)]
    embedding = encoder.embed_regions(c5, BOX, FIRST, torch.ones(1, 1, 16, 16))
    torch.testing.assert_close(embedding, visual(pixels()))


@pytest.mark.parametrize("side", [1, 2, 7])
@pytest.mark.parametrize("heads", [1, 2, 8])
@torch.no_grad()
def test_the_folded_pooling_is_clips_own(side: int, heads: int) -> None:
    torch.manual_seed(side)
    pooling = AttentionPool2d(side, 64, heads, output_dim=8)
    for parameter in pooling.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    for count in (1, 5):
        regions = torch.randn(count, 64, side, side)
        before = regions.clone()
        torch.testing.assert_close(
            attention_pool(pooling, regions), pooling(regions), rtol=1e-4, atol=1e-4
        )
        assert torch.equal(regions, before)


@torch.no_grad()
def test_the_whole_image_as_region_is_clips_own_embedding_convnext() -> None:
    torch.manual_seed(0)
    visual = TimmModel("convnext_atto", embed_dim=8, image_size=64, pool="", proj="mlp").eval()
    encoder = ClipConvNextEncoder(visual)
    maps = encoder(pixels())
    assert [x.shape[-1] for x in maps] == [16, 8, 4, 2]
    embedding = encoder.embed_regions(maps[3], BOX, FIRST, torch.ones(1, 1, 16, 16))
    torch.testing.assert_close(embedding, visual(pixels()))


@torch.no_grad()
def test_convnext_pools_under_each_mask() -> None:
    encoder = ClipConvNextEncoder(
        TimmModel("convnext_atto", embed_dim=8, image_size=64, pool="", proj="mlp")
    )
    c5 = torch.randn(2, 320, 2, 2)
    left = torch.full((1, 1, 16, 16), -1.0)
    left[..., :8] = 1.0
    nothing = torch.full((1, 1, 16, 16), -1.0)
    batch = torch.tensor([1, 0])
    both = encoder.embed_regions(c5, BOX.repeat(2, 1), batch, torch.cat([left, nothing]))
    mean = c5[1, :, :, 0].mean(1)[None, :, None, None]
    expected = encoder.visual.head(encoder.visual.trunk.forward_head(mean))
    torch.testing.assert_close(both[:1], expected)
    assert both[1].isfinite().all()


def test_encoders_stay_frozen_in_eval_mode() -> None:
    visual = ModifiedResNet([1, 1, 1, 1], output_dim=8, heads=2, image_size=64, width=4)
    encoder = ClipImageEncoder(visual, pool_size=2).train()
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


@torch.no_grad()
def test_text_embeddings_are_open_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch)
    torch.manual_seed(0)
    clip = open_clip.model.CLIP(**OPEN_CLIP).eval()
    with torch.device("meta"):
        encoder = clip_text_encoder(SMALL.encoder)
    renamed = {rename(n, KEY_MAP["clip"])[0]: t for n, t in clip.state_dict().items()}
    text = {n.removeprefix("text."): t for n, t in renamed.items() if n and n.startswith("text.")}
    encoder.load_state_dict(text, strict=True, assign=True)
    texts = ["a photo of a cat.", "Dog", "word " * 200, ""]
    expected = clip.encode_text(open_clip.tokenize(texts), normalize=True)
    embeddings = encoder.embed(texts)
    assert encoder.dim == 32 and embeddings.dtype == np.float32
    torch.testing.assert_close(torch.from_numpy(embeddings), expected)
    assert encoder.embed([]).shape == (0, 32)


def test_text_identity_follows_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch)
    encoder = clip_text_encoder(SMALL.encoder)
    before = encoder.identity
    assert before == encoder.identity
    torch.nn.init.normal_(encoder.tower.text_projection)
    assert encoder.identity != before


@pytest.mark.parametrize("name", [n for n, c in MODELS.items() if c.encoder.kind == "open_clip"])
def test_shapes_of_every_clip_model(name: str) -> None:
    """Trunk, head and text tower take a whole CLIP's tensors, and the channels are as stated."""
    config = named_config(name)
    settings = open_clip.get_model_config(config.encoder.architecture)
    with torch.device("meta"):
        model, text = build(config), build_text_encoder(config)
        clip = open_clip.model.CLIP(**settings)
        maps = model.encoder(torch.zeros(1, 3, 64, 64))
    assert tuple(x.shape[1] for x in maps) == config.encoder.channels
    assert text.dim == config.encoder.text_dim
    ours = {f"encoder.{n}": t.shape for n, t in model.encoder.state_dict().items()}
    ours |= {f"text.{n}": t.shape for n, t in text.state_dict().items()}
    theirs = {rename(n, KEY_MAP["clip"]): t.shape for n, t in clip.state_dict().items()}
    assert {n: s for (n, known), s in theirs.items() if n} == ours
    assert all(known for _, known in theirs)
