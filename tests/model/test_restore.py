from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from foreign_files import as_json, with_metadata
from ovsam.config import EncoderConfig, ModelConfig, SamConfig
from ovsam.errors import CheckpointError
from ovsam.model.build import build, build_text_encoder
from ovsam.model.checkpoint import save_checkpoint
from ovsam.model.restore import restore
from small_model import SMALL, offer
from tiny_model import TINY


def test_restore_gives_back_what_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch)
    model, text = build(SMALL), build_text_encoder(SMALL)
    state = {**model.state_dict(), **{f"text.{n}": t for n, t in text.state_dict().items()}}
    save_checkpoint(tmp_path / "small.safetensors", state, SMALL)
    everything = restore(tmp_path / "small.safetensors")
    restored, restored_text = everything.model, everything.text_tower
    assert restored.config == SMALL and restored_text is not None
    assert not any(parameter.requires_grad for parameter in restored.encoder.parameters())
    for name, tensor in restored.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    np.testing.assert_allclose(restored_text.embed(["cat"]), text.embed(["cat"]), rtol=1e-5)


def test_restore_names_what_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch)
    state = build(SMALL).state_dict()
    state |= {f"text.{n}": t for n, t in build_text_encoder(SMALL).state_dict().items()}
    del state["mask_decoder.label_token.weight"]
    state["mask_decoder.iou_token.weight"] = torch.zeros(1, 256)
    state["adapter.level_encoding.weight"] = torch.zeros(4, 63)
    save_checkpoint(tmp_path / "small.safetensors", state, SMALL)
    with pytest.raises(CheckpointError) as caught:
        restore(tmp_path / "small.safetensors")
    assert "1 missing: mask_decoder.label_token.weight (1, 256)" in str(caught.value)
    assert "1 unexpected: mask_decoder.iou_token.weight (1, 256)" in str(caught.value)
    assert "adapter.level_encoding.weight (4, 63) instead of (4, 64)" in str(caught.value)


@pytest.mark.usefixtures("sound")
@pytest.mark.parametrize(
    ("names", "vectors", "message"),
    [
        ('["cat", "dog"]', {"text.vectors": torch.eye(8)[:2]}, None),
        ("[]", {}, None),
        ('["cat"]', {"text.vectors": torch.eye(8)[:2]}, r"shape \(1, 8\), got \(2, 8\)"),
        ("{}", {"text.vectors": torch.eye(8)[:2]}, "does not say which names"),
        ('["cat"]', {"text.other": torch.eye(8)[:1]}, "does not say which names"),
    ],
)
def test_text_vectors_that_ship_with_lite(
    tmp_path: Path, names: str, vectors: dict[str, torch.Tensor], message: str | None
) -> None:
    path = tmp_path / "lite.safetensors"
    save_checkpoint(path, {**build(TINY).state_dict(), **vectors}, TINY, {"text_names": names})
    if message is None:
        shipped = restore(path).text_vectors
        assert list(shipped) == (["cat", "dog"] if vectors else [])
        assert all(vector.shape == (8,) for vector in shipped.values())
    else:
        with pytest.raises(CheckpointError, match=message):
            restore(path)


ALONE = ModelConfig(
    name="sam-alone",
    image_size=64,
    encoder=EncoderConfig(kind="none", architecture="none", channels=(0, 0, 0, 0), text_dim=0),
    sam=SamConfig(dim=32, depth=1, heads=2, global_blocks=()),
    region=None,
)


@pytest.mark.usefixtures("sound")
@pytest.mark.parametrize("config", [ALONE, replace(TINY, region=None)], ids=["SAM", "tiny"])
def test_masks_alone_as_earlier_versions_saved_them(config: ModelConfig, tmp_path: Path) -> None:
    """As a baseline that an oracle names; the tensors are the same."""
    state = build(config).state_dict()
    path = tmp_path / "older.safetensors"
    save_checkpoint(path, state, config)
    older = {
        **as_json(config),
        "name": f"{config.name}-oracle",
        "baseline": {"cuts": "nothing", "context_tokens": 0, "conv_adapter": None},
        "region": as_json(SMALL)["region"],
    }
    path.write_bytes(with_metadata(path.read_bytes(), config=json.dumps(older)))
    restored = restore(path)
    assert (restored.model.config, restored.model.region_head) == (config, None)
    assert restored.text_tower is None and not restored.text_vectors
    for name, tensor in restored.model.state_dict().items():
        assert torch.equal(tensor, state[name]), name
