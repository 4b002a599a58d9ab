"""Learned tokens before a class's name (CoOp): those of a template are that template."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ovsam.model.baselines.coop import ContextEncoder, CoOpTokens, InContext
from ovsam.model.build import build_text_encoder
from ovsam.model.clip import ClipTextEncoder
from ovsam.model.minilm_torch import TorchMiniLM
from small_model import SMALL, offer

TEMPLATE = "a photo of a"


@pytest.fixture
def clip(monkeypatch: pytest.MonkeyPatch) -> ClipTextEncoder:
    offer(monkeypatch)
    torch.manual_seed(0)
    tower = build_text_encoder(SMALL)
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return tower


def clip_tokens(clip: ClipTextEncoder) -> torch.Tensor:
    ids = clip._tokenize([TEMPLATE])[0, 1:5]
    tokens: torch.Tensor = clip.tower.token_embedding.weight[ids].detach()
    return tokens


def minilm_tokens(minilm: TorchMiniLM) -> torch.Tensor:
    ids = minilm.tokenizer.encode(TEMPLATE).ids[1:-1]
    return torch.from_numpy(minilm.words(np.array(ids)))


def test_clip_s_own_tokens_are_the_template(clip: ClipTextEncoder) -> None:
    texts = ["cat", "a very long name of a thing", "dog"]
    found = InContext(clip, clip_tokens(clip)).embed(texts)
    expected = clip.embed([f"{TEMPLATE} {text}." for text in texts])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert not clip.tower.token_embedding._forward_hooks


def test_minilm_s_own_tokens_are_the_template() -> None:
    """With gradients through torch as without in numpy; also of a text that is cut off."""
    minilm, texts = TorchMiniLM(), ["cat", "a very long name of a thing", "dog", "word " * 300]
    found = InContext(minilm, minilm_tokens(minilm)).embed(texts)
    expected = minilm.embed([f"{TEMPLATE} {text}" for text in texts])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_the_tokens_alone_learn(clip: ClipTextEncoder) -> None:
    """Also where the text model was used for inference before."""
    minilm = TorchMiniLM()
    minilm.embed(["cat"])
    encoders: list[tuple[ContextEncoder, int]] = [(clip, 16), (minilm, 384)]
    for encoder, width in encoders:
        context = CoOpTokens(4, width)
        F.normalize(encoder.embed_in_context(["cat", "dog"], context.tokens), dim=-1)[
            :, 0
        ].sum().backward()  # type: ignore[no-untyped-call]
        assert context.tokens.grad is not None
        assert (context.tokens.grad.abs().sum(1) > 0).all()
    assert all(parameter.grad is None for parameter in clip.parameters())


def test_clip_embeds_a_long_vocabulary_batch_by_batch(
    clip: ClipTextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forward and, since nothing is kept for it, backward; vectors and gradients are the same."""
    texts, seen = ["cat", "dog", "coffee mug", "tree", "lamp"], []
    clip.tower.register_forward_pre_hook(lambda _module, inputs: seen.append(len(inputs[0])))

    def embedded() -> tuple[torch.Tensor, torch.Tensor]:
        context = clip_tokens(clip).clone().requires_grad_()
        vectors = clip.embed_in_context(texts, context)
        [gradient] = torch.autograd.grad(vectors.square().sum(), context)
        return vectors.detach(), gradient

    at_once = embedded()
    assert seen == [5, 5]
    seen.clear()
    monkeypatch.setattr("ovsam.model.clip.TEXT_BATCH", 2)
    torch.testing.assert_close(embedded(), at_once)
    assert sorted(seen) == [1, 1, 2, 2, 2, 2]


def test_other_tokens_are_another_text_model(clip: ClipTextEncoder) -> None:
    """Embeddings are kept on disk by the model's identity."""
    one, other = (InContext(clip, torch.full((4, 16), value)) for value in (0.0, 0.1))
    assert len({clip.identity, one.identity, other.identity}) == 3
    assert one.identity == InContext(clip, torch.zeros(4, 16)).identity
    assert one.embed([]).shape == (0, 32)


def test_clip_reads_all_but_what_is_too_long(clip: ClipTextEncoder) -> None:
    read = clip.read(["猫", "狗", "🐱", "résumé", "resume", "a " * 75, "a " * 76, "a " * 99 + "b"])
    assert all(reading.is_read for reading in read)
    assert [reading.is_whole for reading in read] == [True] * 6 + [False] * 2
    assert len({reading.tokens for reading in read}) == 6
