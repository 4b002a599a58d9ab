from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ovsam.config import EncoderConfig
from ovsam.errors import CheckpointError
from ovsam.model.build import build, build_text_encoder
from ovsam.model.checkpoint import save_checkpoint
from ovsam.model.presets import MODELS, named_config
from ovsam.model.restore import restore
from small_model import SMALL, offer


def test_an_unknown_name_lists_the_valid_ones() -> None:
    with pytest.raises(CheckpointError, match=r"Unknown model 'rn5'.*rn50x16, .*convnext-l"):
        named_config("rn5")


def test_names_are_those_of_the_configurations() -> None:
    assert all(name == config.name for name, config in MODELS.items())


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_a_twin_whose_adapter_sees_one_scale(name: str) -> None:
    twin = named_config(f"{name}-single")
    assert not twin.adapter.multi_scale
    adapter = replace(twin.adapter, multi_scale=True)
    assert replace(twin, name=name, adapter=adapter) == named_config(name)


@pytest.mark.parametrize(
    ("name", "millions"), [("rn50x16", 304), ("rn50", 165), ("rn50x64", 568), ("convnext-l", 321)]
)
def test_parameters_are_those_of_the_paper(name: str, millions: int) -> None:
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in build(named_config(name)).parameters())
    assert abs(count / 1e6 - millions) < 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "keras"}, "Unknown kind of encoder 'keras'"),
        ({"architecture": "hf-hub:someone/model"}, "Unknown open_clip architecture 'hf-hub"),
        ({"kind": "lite", "architecture": "hf-hub:someone/model"}, "Unknown lite architecture"),
    ],
)
def test_what_a_foreign_configuration_may_not_ask_for(change: dict[str, str], message: str) -> None:
    encoder: EncoderConfig = replace(named_config("rn50").encoder, **change)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=message):
        build(replace(named_config("rn50"), encoder=encoder))


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
    torch.testing.assert_close(restored_text.embed(["cat"]), text.embed(["cat"]))


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


LITE = replace(
    SMALL,
    name="tiny-lite",
    encoder=EncoderConfig(
        kind="lite",
        architecture="efficientnet_lite2",
        channels=(24, 48, 120, 1280),
        text_dim=8,
    ),
)


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
    save_checkpoint(path, {**build(LITE).state_dict(), **vectors}, LITE, {"text_names": names})
    if message is None:
        shipped = restore(path).text_vectors
        assert list(shipped) == (["cat", "dog"] if vectors else [])
        assert all(vector.shape == (8,) for vector in shipped.values())
    else:
        with pytest.raises(CheckpointError, match=message):
            restore(path)
