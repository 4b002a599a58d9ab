"""Weights that somebody else wrote: whatever they hold, they load or are refused in one line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file
from torch import Tensor

from fuzzing import examples
from ovsam.config import BaselineConfig, ModelConfig, RegionConfig, SamConfig
from ovsam.errors import CheckpointError
from ovsam.model import build as building
from ovsam.model import checkpoint as weights
from ovsam.model.build import MODELS, SHIPPED, restore
from ovsam.model.checkpoint import (
    HEADER_BYTES,
    fingerprints,
    load_checkpoint,
    read_config,
    read_metadata,
    save_checkpoint,
)
from ovsam.model.convert import read_tensors
from ovsam.model.ovsam import OVSAM
from ovsam.predictor.predictor import Predictor
from ovsam.structures import Prompt
from ovsam.text.cache import TextStore
from ovsam.text.encoder import PLAIN_TEMPLATES
from ovsam.vocabulary.load import load_vocabulary
from tiny_model import TEXT_DIM, TINY, HashedText, TinyEncoder, tiny_model

WHOLE = replace(
    TINY,
    adapter=replace(TINY.adapter, position_embedding=True),
    seen_classes=("cat", "dog"),
)
CONFIGS = {
    "whole": WHOLE,
    "token": replace(WHOLE, region=RegionConfig(kind="token+clip", fpn_dim=16)),
    "baseline": replace(WHOLE, baseline=BaselineConfig(cuts="features", context_tokens=2)),
    "sam": replace(WHOLE, sam=SamConfig(dim=32, depth=2, heads=4, global_blocks=(1,), window=4)),
}
ODD: list[Any] = [
    *(0, 1, -1, 3, 7, 32, 33, 64, 1000, 2**31, 2**63, -(2**63), 10**30),
    *(0.0, -0.5, 0.3, 1e-300, 1e30, 1e308, float("nan"), float("inf"), -float("inf")),
    *(None, True, False, "", "x", "lite", "a\nb", "\x00", "x" * 10_000, "../../etc"),
    *([], [0], [1, 1], [-1], [0, 1, 2, 3], [3, 2], [1e9] * 4, [[[]]], ["a"] * 999, [9] * 999),
    *({}, {"a": 1}, {"kind": "none"}, {"size": 0}),
]
JSON = TypeAdapter(ModelConfig)
CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.fixture(scope="module", autouse=True)
def tiny_encoders() -> Iterator[None]:
    """Checkpoints of the tiny model load like any other."""
    with pytest.MonkeyPatch.context() as patch:
        own = building._build_encoder
        patch.setattr(
            building,
            "_build_encoder",
            lambda config: TinyEncoder(config) if config.kind == "tiny" else own(config),
        )
        yield


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Sound checkpoints of the tiny model, with vectors of two names."""
    folder = tmp_path_factory.mktemp("sound")
    paths = {}
    for name, config in CONFIGS.items():
        torch.manual_seed(0)
        model = building.build(config) if name == "sam" else tiny_model(config)
        if config.baseline is not None:
            model = building.build(config)
        state = {**model.state_dict(), "text.vectors": torch.eye(TEXT_DIM)[:2]}
        said = {"text_names": '["cat", "dog"]', "licence": "MIT"}
        paths[name] = folder / f"{name}.safetensors"
        save_checkpoint(paths[name], state, config, said)
    return paths


def packed(header: object, body: bytes) -> bytes:
    """A safetensors file."""
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def unpacked(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Its header and its tensors."""
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def with_metadata(content: bytes, **metadata: str) -> bytes:
    header, body = unpacked(content)
    header["__metadata__"] |= metadata
    return packed(header, body)


def one_sentence(error: Exception) -> str:
    message = str(error)
    assert message.endswith(".") and message.isprintable(), message
    assert len(message) < 6000
    return message


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        restore(path)
    return one_sentence(caught.value)


def loads_or_is_refused(path: Path, tensors: dict[str, Tensor]) -> OVSAM | None:
    try:
        restored = restore(path)
    except CheckpointError as error:
        one_sentence(error)
        return None
    state = restored.model.state_dict()
    vectors = [torch.from_numpy(vector) for vector in restored.text_vectors.values()]
    if vectors:
        state["text.vectors"] = torch.stack(vectors)
    assert state.keys() <= tensors.keys()
    for name, tensor in state.items():
        assert torch.equal(tensor, tensors[name]), name
    return restored.model


def answers(model: OVSAM) -> None:
    """Whether it can be used: a box and a click on a photo."""
    names = load_vocabulary("cat, dog, lamp")
    predictor = Predictor(model, HashedText(), PLAIN_TEMPLATES, TextStore(None), names)
    photo = predictor.encode(np.full((40, 60, 3), 99, np.uint8))
    for prompt in (Prompt(box_xyxy=[5, 5, 30, 30]), Prompt(points_xy=[[20, 20]])):
        [found] = predictor.predict(photo, prompt)
        assert found.masks.shape[1:] == (40, 60)


# The configuration


def places(content: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every field of a configuration, and every element of its lists."""
    yield where
    pairs: Any = content.items() if isinstance(content, dict) else []
    if isinstance(content, list):
        pairs = enumerate(content)
    for key, value in pairs:
        yield from places(value, (*where, key))


def replaced(content: Any, where: tuple[Any, ...], value: Any) -> Any:
    if not where:
        return value
    copy = content.copy()
    copy[where[0]] = replaced(content[where[0]], where[1:], value)
    return copy


def as_json(config: ModelConfig) -> Any:
    return json.loads(JSON.dump_json(config))


FIELDS = [(name, place) for name, config in CONFIGS.items() for place in places(as_json(config))]


@pytest.mark.fuzz
@settings(max_examples=examples(150), derandomize=True, suppress_health_check=CHECKS)
@given(
    field=st.sampled_from(FIELDS),
    value=st.sampled_from(ODD),
    more=st.tuples(st.sampled_from(FIELDS), st.sampled_from(ODD)) | st.none(),
)
def test_whatever_a_field_holds(
    field: tuple[str, tuple[Any, ...]],
    value: Any,
    more: tuple[tuple[str, tuple[Any, ...]], Any] | None,
    files: dict[str, Path],
    tmp_path: Path,
) -> None:
    """What loads has the tensors of the file and can be used."""
    name, place = field
    config = replaced(as_json(CONFIGS[name]), place, value)
    if more is not None and more[0][0] == name and more[0][1][:1] != place[:1] and place:
        config = replaced(config, more[0][1], more[1])
    path = tmp_path / "odd.safetensors"
    path.write_bytes(with_metadata(files[name].read_bytes(), config=json.dumps(config)))
    model = loads_or_is_refused(path, load_file(files[name]))
    if model is not None and name in ("whole", "token") and model.config.image_size <= 256:
        answers(model)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("image_size",), 0, "image_size: Input should be greater than or equal to 32"),
        (("image_size",), -1, "image_size: Input should be a multiple of 32"),
        (("image_size",), 1e30, "image_size: "),
        (("image_size",), -32, "image_size: Input should be greater than or equal to 32"),
        (("image_size",), 2**31, "image_size: Input should be less than or equal to 4096"),
        (("image_size",), 256, "adapter.pos_embed (1, 8, 8, 32) instead of (1, 16, 16, 32)"),
        (("name",), "a\nb", "name: it must be printable, in one line"),
        (("encoder", "text_dim"), -1, "encoder.text_dim: Input should be greater than or equal"),
        (("encoder", "text_dim"), 0, "encoder: channels and text_dim must be greater than 0"),
        (("encoder", "pool_size"), 0, "encoder.pool_size: Input should be greater than or equal"),
        (("encoder", "pool_size"), 1000, "encoder.pool_size: Input should be less than or equal"),
        (("encoder", "pixel_std", 1), 0, "encoder.pixel_std.1: Input should be greater than"),
        (("encoder", "pixel_mean", 0), float("nan"), "encoder.pixel_mean.0: Input should be a fi"),
        (("encoder", "kind"), "none", "encoder: channels and text_dim must be 0 where kind is no"),
        (("encoder", "kind"), "keras", "Unknown kind of encoder 'keras'"),
        (("adapter", "heads"), 5, "adapter: dim must be a multiple of heads, got 32 and 5"),
        (("adapter", "window"), 0, "adapter.window: Input should be greater than or equal to 1"),
        (("adapter", "depth"), 10**9, "adapter.depth: Input should be less than or equal to 128"),
        (("adapter", "depth"), 128, "missing: "),
        (("adapter", "dim"), 16384, "adapter.pos_embed (1, 8, 8, 32) instead of (1, 8, 8, 16384)"),
        (("adapter", "global_blocks"), [2], "adapter: global_blocks must be different numbers"),
        (("adapter", "global_blocks"), [1, 1], "adapter: global_blocks must be different numbers"),
        (("embed_dim",), 40, "embed_dim: Input should be a multiple of 16"),
        (("decoder", "mask_tokens"), 3, "decoder.mask_tokens: Input should be 1 or 4"),
        (("region", "levels"), [2, 2], "region: levels must be different and ascend"),
        (("region", "levels"), [4], "region.levels.0: Input should be less than or equal to 3"),
        (("region", "levels"), [], "region.levels: Tuple should have at least 1 item"),
        (("zoom", "size"), 100, "zoom.size: Input should be a multiple of 32"),
        (("zoom", "click_size"), 4096, "config: zoom.size and zoom.click_size must be at most im"),
        (("zoom", "contexts"), [0.0], "zoom.contexts.0: Input should be greater than"),
        (("zoom", "contexts"), [], "zoom.contexts: Tuple should have at least 1 item"),
        (("fusion_alpha",), 1.5, "fusion_alpha: Input should be less than or equal to 1"),
        (("logit_scale",), float("inf"), "logit_scale: Input should be a finite number"),
        (("seen_classes",), [1] * 100_000, "seen_classes.0: Input should be a valid string"),
        (("calibration", "temperature"), 0, "calibration.temperature: Input should be greater"),
        ((), {"a" * 500 + str(i): 1 for i in range(5000)}, "5,003 things are wrong with it"),
        ((), {**as_json(WHOLE), "a\nb" * 99: 1}, r"'a\nba\nba"),
    ],
)
def test_a_field_out_of_its_bounds(
    place: tuple[Any, ...], value: Any, message: str, files: dict[str, Path], tmp_path: Path
) -> None:
    config = replaced(as_json(WHOLE), place, value)
    path = tmp_path / "odd.safetensors"
    path.write_bytes(with_metadata(files["whole"].read_bytes(), config=json.dumps(config)))
    assert message in refused(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": (24, 48, 121, 1280)}, "has channels (24, 48, 120, 1280), the configuration"),
        ({"architecture": "efficientnet_lite0"}, "efficientnet_lite0' has channels (24, 40, 112"),
        ({"text_dim": 383}, "must have shape (254, 383), got (254, 384)"),
    ],
)
def test_what_the_trunk_does_not_give(change: Any, message: str, tmp_path: Path) -> None:
    config = replace(MODELS["lite"], encoder=replace(MODELS["lite"].encoder, **change))
    path = tmp_path / "lite.safetensors"
    text = JSON.dump_json(config).decode()
    path.write_bytes(with_metadata(SHIPPED.read_bytes(), config=text))
    assert message in refused(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text_dim": 64}, "'RN50-quickgelu' has text_dim 1024, the configuration says 64."),
        ({"pool_size": 8}, "'RN50-quickgelu' has pool_size 7, the configuration says 8."),
    ],
)
def test_what_a_clip_does_not_give(change: Any, message: str) -> None:
    config = replace(MODELS["rn50"], encoder=replace(MODELS["rn50"].encoder, **change))
    with pytest.raises(CheckpointError, match=re.escape(message)):
        building.expected_state(config)


# The metadata


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format": "x" * 5000}, "its format is 'xxx"),
        ({"config": "[" * 100_000}, "The configuration"),
        ({"config": "1" * 5_000_000}, "it has 5,000,000 characters, 4,194,304 at most"),
        ({"config": "1" * 100_000}, "The configuration"),
        ({"parts": "[" * 100_000}, "no fingerprints"),
        ({"parts": '{"a\\nb": [1]}'}, "do not belong together"),
        ({"text_names": "[" * 100_000}, "does not say which names"),
        ({"text_names": '"ab"'}, "does not say which names"),
        ({"text_names": "[1, 2]"}, "does not say which names"),
        ({"text_names": "[]"}, "must have shape (0, 8), got (2, 8)"),
        ({"text_names": '["a"]'}, "must have shape (1, 8), got (2, 8)"),
    ],
    ids=str,
)
def test_metadata_of_any_kind(
    metadata: dict[str, str], message: str, files: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "odd.safetensors"
    path.write_bytes(with_metadata(files["whole"].read_bytes(), **metadata))
    assert message in refused(path)


# The tensors


def saved_with(files: dict[str, Path], path: Path, tensors: dict[str, Tensor]) -> None:
    """A checkpoint whose fingerprints are right, whatever its tensors."""
    state = {**load_file(files["whole"]), **tensors}
    parts = json.dumps(fingerprints(state))
    save_file(state, path, {**read_metadata(files["whole"]), "parts": parts})


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"adapter.neck.1.weight": torch.full((32,), torch.nan)}, "not finite: adapter.neck.1.wei"),
        ({"adapter.neck.1.weight": torch.full((32,), -torch.inf)}, "not finite: adapter.neck.1."),
        ({"text.vectors": torch.full((2, 8), torch.nan)}, "not finite: text.vectors"),
        ({"adapter.neck.1.weight": torch.ones(32, dtype=torch.int64)}, "adapter.neck.1.weight int"),
        ({"adapter.neck.1.weight": torch.ones(32, dtype=torch.int32)}, "no weights: adapter.neck"),
        ({"adapter.neck.1.weight": torch.ones(32, dtype=torch.complex64)}, "no weights: adapter."),
        ({"adapter.neck.1.weight": torch.ones(32, dtype=torch.bool)}, "no weights: adapter.neck"),
        ({"adapter.neck.1.weight": torch.ones(32, dtype=torch.float64)}, "weight 'F64'; expected"),
        ({"adapter.neck.1.weight": torch.ones(31)}, "adapter.neck.1.weight (31,) instead of (32,)"),
        ({"adapter.neck.1.weight": torch.ones(0, 2**40)}, "instead of (32,)"),
        ({"text.vectors": torch.eye(8)[:2, :7].clone()}, "must have shape (2, 8), got (2, 7)"),
        ({"text.vectors": torch.tensor(1.0)}, "must have shape (2, 8), got ()"),
        ({"text.more": torch.zeros(2, 8)}, "must have shape (2, 8)"),
        ({"a\nb" * 999: torch.zeros(1)}, r"unexpected: 'a\nba"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_tensors_that_are_no_weights(
    tensors: dict[str, Tensor], message: str, files: dict[str, Path], tmp_path: Path
) -> None:
    saved_with(files, tmp_path / "odd.safetensors", tensors)
    assert message in refused(tmp_path / "odd.safetensors")


def test_bfloat16_is_as_good_as_any(files: dict[str, Path], tmp_path: Path) -> None:
    name = "adapter.neck.1.weight"
    saved_with(files, tmp_path / "half.safetensors", {name: torch.full((32,), 0.3).bfloat16()})
    weight = restore(tmp_path / "half.safetensors").model.state_dict()[name]
    assert weight.dtype == torch.float32
    assert torch.equal(weight, torch.full((32,), 0.3).bfloat16().float())


# The file


def edited(content: bytes, cuts: list[tuple[float, int, bytes]], header: int) -> bytes:
    """Some bytes replaced, taken away or added; a place below 0 counts within the header."""
    for place, length, new in cuts:
        start = int((place + 1) * header) if place < 0 else int(place * len(content))
        content = content[:start] + new + content[start + length :]
    return content


CUT = st.tuples(st.floats(-1, 1), st.sampled_from([0, 1, 1, 2, 8, 10**9]), st.binary(max_size=3))


@pytest.mark.fuzz
@settings(max_examples=examples(150), derandomize=True, suppress_health_check=CHECKS)
@given(cuts=st.lists(CUT, min_size=1, max_size=3), name=st.sampled_from(["whole", "token"]))
def test_whatever_happens_to_the_bytes(
    cuts: list[tuple[float, int, bytes]], name: str, files: dict[str, Path], tmp_path: Path
) -> None:
    content = files[name].read_bytes()
    path = tmp_path / "odd.safetensors"
    path.write_bytes(edited(content, cuts, 8 + int.from_bytes(content[:8], "little")))
    loads_or_is_refused(path, load_file(files[name]))


@pytest.mark.fuzz
@settings(max_examples=examples(100), derandomize=True, suppress_health_check=CHECKS)
@given(cuts=st.lists(CUT, min_size=1, max_size=3), zipped=st.booleans())
def test_whatever_happens_to_the_bytes_of_what_torch_saved(
    cuts: list[tuple[float, int, bytes]], zipped: bool, tmp_path: Path
) -> None:
    """The zip format has checksums of its own that are not looked at: values may differ."""
    path = tmp_path / "odd.pth"
    tensors = {"a.weight": torch.arange(12.0).reshape(3, 4), "a.bias": torch.ones(3).half()}
    torch.save({"state_dict": tensors}, path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(edited(content, cuts, len(content) // 2))
    try:
        found = read_tensors(path)
    except CheckpointError as error:
        one_sentence(error)
    else:
        assert all(tensor.numel() < 1000 for tensor in found.values())


def empty(_: Path, path: Path) -> None:
    path.touch()


def folder(_: Path, path: Path) -> None:
    path.mkdir()


def loop(_: Path, path: Path) -> None:
    path.symlink_to(path)


def dangling(_: Path, path: Path) -> None:
    path.symlink_to(path.with_name("nothing"))


def pipe(_: Path, path: Path) -> None:
    os.mkfifo(path)


def pickled(_: Path, path: Path) -> None:
    torch.save({"a": torch.zeros(3)}, path, _use_new_zipfile_serialization=False)


def zipped(_: Path, path: Path) -> None:
    torch.save({"a": torch.zeros(3)}, path)


def web_page(_: Path, path: Path) -> None:
    path.write_bytes(b"<!DOCTYPE html><html><body>404: Not Found</body></html>")


def huge_header(_: Path, path: Path) -> None:
    with path.open("wb") as file:  # takes no space
        file.write((HEADER_BYTES + 1).to_bytes(8, "little"))
        file.truncate(2 * HEADER_BYTES)


def endless_header(_: Path, path: Path) -> None:
    path.write_bytes((2**63 - 1).to_bytes(8, "little") + b"{}")


def deep_header(_: Path, path: Path) -> None:
    path.write_bytes((200_000).to_bytes(8, "little") + b"[" * 200_000)


def promised(sound: Path, path: Path) -> None:
    """More than there is."""
    header, body = unpacked(sound.read_bytes())
    size = len(body)
    row = {"dtype": "F32", "shape": [2**30], "data_offsets": [size, size + 2**32]}
    path.write_bytes(packed({**header, "adapter.more": row}, body))


def sparse(sound: Path, path: Path, gib: int = 7) -> None:
    """As much as it promises, though nothing of it is on the disk."""
    header, body = unpacked(sound.read_bytes())
    size, more = len(body), gib * 2**30
    row = {"dtype": "F32", "shape": [more // 4], "data_offsets": [size, size + more]}
    content = packed({**header, "adapter.more": row}, body)
    with path.open("wb") as file:
        file.write(content)
        file.truncate(len(content) + more)


def larger_than_any(sound: Path, path: Path) -> None:
    sparse(sound, path, gib=64)


def overflowing(sound: Path, path: Path) -> None:
    header, body = unpacked(sound.read_bytes())
    row = {"dtype": "F32", "shape": [2**32, 2**32, 2**32], "data_offsets": [0, 4]}
    path.write_bytes(packed({**header, "adapter.more": row}, body))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (empty, "damaged or not a safetensors file"),
        (folder, "is not a file"),
        (loop, "There is no checkpoint"),
        (dangling, "There is no checkpoint"),
        (pipe, "is not a file"),
        (pickled, "damaged or not a safetensors file"),
        (zipped, "damaged or not a safetensors file"),
        (web_page, "damaged or not a safetensors file"),
        (huge_header, "its header has 8,388,609 bytes, 8,388,608 at most"),
        (endless_header, "its header has 9,223,372,036,854,775,807 bytes"),
        (deep_header, "damaged or not a safetensors file"),
        (promised, "damaged or not a safetensors file"),
        (sparse, "1 unexpected: adapter.more (1879048192,)"),
        (larger_than_any, "bytes, 8,589,934,592 at most"),
        (overflowing, "damaged or not a safetensors file"),
    ],
)
def test_what_is_no_checkpoint(
    make: Callable[[Path, Path], None], message: str, files: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "odd.safetensors"
    make(files["whole"], path)
    assert message in refused(path)


def test_a_path_of_any_length(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        restore(tmp_path / ("a" * 5000))


def test_a_model_does_not_change_with_its_file(files: dict[str, Path], tmp_path: Path) -> None:
    """A file that is written anew in place, as `cp` does, or cut short."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(files["whole"].read_bytes())
    model = restore(path).model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    path.write_bytes(b"\xff" * path.stat().st_size)
    path.write_bytes(b"")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_a_file_that_is_cut_while_it_is_read(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(files["whole"].read_bytes())
    own = weights._tensors

    def cut(*arguments: Any) -> dict[str, Tensor]:
        os.truncate(path, path.stat().st_size // 2)
        return own(*arguments)

    monkeypatch.setattr(weights, "_tensors", cut)
    with pytest.raises(CheckpointError, match="ends before its tensor"):
        load_checkpoint(path)


def test_the_configuration_alone(files: dict[str, Path], tmp_path: Path) -> None:
    assert read_config(files["whole"]) == WHOLE
    (tmp_path / "empty.safetensors").touch()
    with pytest.raises(CheckpointError, match="damaged"):
        read_config(tmp_path / "empty.safetensors")


# What torch saved


def test_a_zip_that_would_unpack_to_more_than_it_is(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", b"\0" * 10**7)
    with pytest.raises(CheckpointError, match="is a packed archive"):
        read_tensors(tmp_path / "bomb.pth")


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize(
    "made",
    [
        lambda: torch.zeros(2, dtype=torch.complex64),
        lambda: torch.zeros(2).to(torch.float8_e4m3fn),  # torch cannot say whether it is finite
        lambda: torch.zeros(2, dtype=torch.uint16),
        lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(1)]),  # has no shape
        lambda: torch.zeros(2).to_sparse(),
    ],
    ids=["complex", "float8", "uint16", "nested", "sparse"],
)
def test_a_tensor_that_no_weights_are(made: Callable[[], Tensor], tmp_path: Path) -> None:
    torch.save({"a": made(), "b": torch.zeros(2)}, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=r"no weights, or larger than itself: a\.$"):
        read_tensors(tmp_path / "odd.pth")


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_tensor_larger_than_its_file(is_zip: bool, tmp_path: Path) -> None:
    path = tmp_path / "huge.pth"
    huge = torch.zeros(1).expand(2**40)
    torch.save({"a": huge}, path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(CheckpointError, match="or larger than itself: a"):
        read_tensors(path)


def test_a_broken_member_of_a_zip(tmp_path: Path) -> None:
    """Its directory stands at the end; each part of it in turn is spoilt."""
    path = tmp_path / "spoilt.pth"
    torch.save({"a": torch.zeros(3)}, path)
    content = path.read_bytes()
    at = content.rindex(b"PK\x05\x06")
    for start in range(at, len(content)):
        path.unlink()
        path.write_bytes(content[:start] + b"\xff" + content[start + 1 :])
        try:
            assert torch.equal(read_tensors(path)["a"], torch.zeros(3))
        except CheckpointError as error:
            one_sentence(error)


# Memory

_GROWTH = """
import resource, sys
from ovsam.errors import CheckpointError
from ovsam.model.build import SHIPPED, restore
from ovsam.model.convert import read_tensors
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
restore(SHIPPED)
before = peak()
for path in sys.argv[1:]:
    try:
        restore(path) if path.endswith(".safetensors") else read_tensors(path)
    except CheckpointError as error:
        pass
    else:
        raise AssertionError(path)
print(peak() - before)
"""


def test_what_is_refused_takes_no_memory(tmp_path: Path) -> None:
    """Beside what a sound model takes, in MiB."""
    paths = []
    content = SHIPPED.read_bytes()
    lite = as_json(MODELS["lite"])
    for number, (place, value) in enumerate(
        [
            (("image_size",), 4096),
            (("adapter", "dim"), 16320),
            (("adapter", "depth"), 128),
            (("embed_dim",), 16384),
            (("decoder", "mlp_dim"), 16384),
            (("seen_classes",), [1] * 1_000_000),
            ((), {str(i): i for i in range(200_000)}),
        ]
    ):
        paths.append(tmp_path / f"{number}.safetensors")
        config = json.dumps(replaced(lite, place, value))
        paths[-1].write_bytes(with_metadata(content, config=config))
    makers = (huge_header, endless_header, deep_header, promised, sparse, larger_than_any)
    for make in makers:
        paths.append(tmp_path / f"{make.__name__}.safetensors")
        make(SHIPPED, paths[-1])
    paths.append(tmp_path / "view.pth")
    torch.save({"a": torch.zeros(1).expand(2**40)}, paths[-1])
    command = [sys.executable, "-c", _GROWTH, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 400
