"""What others wrote into a folder of graphs, or a checkpoint for those that ship."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ovsam.config import ModelConfig
from ovsam.errors import CheckpointError
from ovsam.hub import SHIPPED
from ovsam.model import onnx_files
from ovsam.model.checkpoint import load_checkpoint, read_config, save_checkpoint
from ovsam.model.onnx_files import (
    FORMAT,
    GRAPHS,
    INDEX_FILE,
    SHIPPED_GRAPHS,
    GraphFile,
    GraphName,
    Index,
    checkpoint_on_onnx,
    exported_model,
    fits_shipped_graphs,
    is_exported,
)
from ovsam.model.presets import MODELS
from ovsam.model.safetensors_file import write_safetensors
from ovsam.model.text_vectors import TEXT_NAMES, TEXT_VECTORS

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What `ovsam export` might have written: graphs are read when they are run."""
    files: dict[GraphName, GraphFile] = {}
    for name in GRAPHS:
        content = f"the {name}".encode()
        (tmp_path / f"{name}.onnx").write_bytes(content)
        files[name] = GraphFile(f"{name}.onnx", hashlib.sha256(content).hexdigest(), {})
    index = Index(FORMAT, MODELS["lite"], "fingerprint", "float32", files, "text")
    (tmp_path / "model.json").write_bytes(INDEX_FILE.dump_json(index))
    return tmp_path


def change(folder: Path, apply: Change) -> None:
    path = folder / "model.json"
    content = json.loads(path.read_text())
    apply(content)
    path.write_text(json.dumps(content))


def test_a_whole_folder_is_read(folder: Path) -> None:
    assert is_exported(folder) and not is_exported(folder / "model.json")
    model = exported_model(folder)
    assert (model.config, model.fingerprint, model.text) == (MODELS["lite"], "fingerprint", "text")
    assert {name: graph.content for name, graph in model.graphs.items()} == {
        name: f"the {name}".encode() for name in GRAPHS
    }
    assert model.text_vectors == {}


def test_names_beside_the_graphs_are_read(folder: Path) -> None:
    vectors = np.eye(2, 384, dtype=np.float16)
    write_safetensors(
        folder / "names.safetensors", {TEXT_VECTORS: vectors}, {TEXT_NAMES: '["cat", "dog"]'}
    )
    found = exported_model(folder).text_vectors
    assert list(found) == ["cat", "dog"] and found["dog"].argmax() == 1
    write_safetensors(
        folder / "names.safetensors", {TEXT_VECTORS: vectors}, {TEXT_NAMES: '["cat"]'}
    )
    with pytest.raises(CheckpointError, match=r"text vectors in '.*' must have shape \(1, 384\)"):
        exported_model(folder)


def set_graph(name: str, **fields: Any) -> Change:
    return lambda content: content["graphs"][name].update(fields)


def without(content: dict[str, Any]) -> None:
    del content["graphs"]["decoder"]


@pytest.mark.parametrize(
    ("apply", "message"),
    [
        (lambda c: c.update(format="ovsam-onnx-9"), "is not what 'ovsam export' of this version"),
        (lambda c: c.update(graphs=3), "is not what 'ovsam export' of this version"),
        (lambda c: c["config"].update(image_size=-1), "is not what 'ovsam export' of this version"),
        (lambda c: c.pop("text"), "is not what 'ovsam export' of this version"),
        (lambda c: c["graphs"].update(other=c["graphs"]["encoder"]), "is not what 'ovsam export'"),
        (set_graph("encoder", sha256="0" * 64), "encoder.onnx' is not the file that model.json"),
        (set_graph("encoder", file="../encoder.onnx"), "A graph's file must lie in"),
        (set_graph("encoder", file="/etc/hostname"), "A graph's file must lie in"),
        (set_graph("encoder", file="gone.onnx"), "gone.onnx' cannot be read: No such file"),
        (set_graph("encoder", file=".."), "cannot be read"),
        (without, "lacks the graph decoder"),
    ],
)
def test_what_does_not_fit_is_refused(folder: Path, apply: Change, message: str) -> None:
    change(folder, apply)
    assert_refused(lambda: exported_model(folder), message)


def assert_refused(read: Callable[[], object], message: str) -> None:
    """In one sentence or two, one line."""
    with pytest.raises(CheckpointError) as caught:
        read()
    said = str(caught.value)
    assert message in said and "\n" not in said and len(said) < 500
    assert said.endswith(".")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"null"])
def test_an_index_that_is_none(folder: Path, content: bytes) -> None:
    (folder / "model.json").write_bytes(content)
    assert_refused(lambda: exported_model(folder), "is not what 'ovsam export' of this version")


def test_an_index_that_cannot_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_files, "INDEX_BYTES", 100)
    assert_refused(lambda: exported_model(folder), "it is no index")
    (folder / "model.json").unlink()
    assert not is_exported(folder)
    assert_refused(lambda: exported_model(folder), "cannot be read: No such file")


def test_a_graph_that_is_another_s_or_far_too_large(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "regions.onnx").write_bytes((folder / "encoder.onnx").read_bytes())
    assert_refused(lambda: exported_model(folder), "regions.onnx' is not the file that model.json")
    monkeypatch.setattr(onnx_files, "GRAPH_BYTES", 3)
    assert_refused(lambda: exported_model(folder), "it is no graph")


def test_lite_in_the_graphs_that_ship() -> None:
    model = checkpoint_on_onnx(SHIPPED)
    config, arrays = load_checkpoint(SHIPPED)
    assert model.config == config and "cat" in model.text_vectors
    assert list(model.graphs) == list(GRAPHS)
    for name, graph in model.graphs.items():
        assert graph.content == (SHIPPED_GRAPHS / f"{name}.onnx").read_bytes()
        for key, array in graph.weights.items():
            assert array.dtype == np.float32
            np.testing.assert_array_equal(array, arrays[key])


@pytest.mark.parametrize(
    ("fields", "fits"),
    [
        ({"name": "mine"}, False),
        ({"logit_scale": 30.0, "fusion_beta": 0.7, "seen_classes": ("cat",), "zoom": None}, True),
        ({"image_size": 256}, False),
        ({"embed_dim": 64}, False),
    ],
)
def test_only_what_the_graphs_do_not_compute_may_differ(fields: dict[str, Any], fits: bool) -> None:
    config = replace(MODELS["lite"], **{"zoom": None, **fields})
    assert fits_shipped_graphs(config) is fits


@pytest.fixture(scope="module")
def lite() -> tuple[ModelConfig, dict[str, NDArray[Any]]]:
    config, arrays = load_checkpoint(SHIPPED)
    return config, {k: v for k, v in arrays.items() if not k.startswith("text.")}


def saved(
    tmp_path: Path, config: ModelConfig, arrays: dict[str, NDArray[Any]], names: str = "[]"
) -> Path:
    save_checkpoint(tmp_path / "mine.safetensors", arrays, config, {TEXT_NAMES: names})
    return tmp_path / "mine.safetensors"


def test_lite_that_was_trained_further(
    lite: tuple[ModelConfig, dict[str, NDArray[Any]]], tmp_path: Path
) -> None:
    """Its own weights, and a fingerprint of its own."""
    config, arrays = lite
    changed = {
        **arrays,
        "mask_decoder.mask_tokens.weight": arrays["mask_decoder.mask_tokens.weight"] + 1,
    }
    path = saved(tmp_path, replace(config, seen_classes=("cat",)), changed)
    assert fits_shipped_graphs(read_config(path))
    model = checkpoint_on_onnx(path)
    found = model.graphs["decoder"].weights["mask_decoder.mask_tokens.weight"]
    np.testing.assert_array_equal(found, changed["mask_decoder.mask_tokens.weight"])
    assert model.config.seen_classes == ("cat",) and model.text_vectors == {}
    plain = checkpoint_on_onnx(saved(tmp_path, config, arrays))
    vectors = {TEXT_VECTORS: np.eye(1, 384, dtype=np.float32)}
    named = checkpoint_on_onnx(saved(tmp_path, config, {**arrays, **vectors}, '["cat"]'))
    assert list(named.text_vectors) == ["cat"]
    assert model.fingerprint != plain.fingerprint == named.fingerprint, "names are no weights"


@pytest.mark.parametrize("damage", ["shape", "missing"])
def test_weights_of_another_shape(
    damage: str, lite: tuple[ModelConfig, dict[str, NDArray[Any]]], tmp_path: Path
) -> None:
    config, arrays = lite
    name = "adapter.level_encoding.weight"
    changed = {key: array for key, array in arrays.items() if key != name}
    if damage == "shape":
        changed[name] = arrays[name][:-1]
    path = saved(tmp_path, config, changed)
    wanted = "1 missing: " if damage == "missing" else "1 of another shape: "
    assert_refused(lambda: checkpoint_on_onnx(path), f"{wanted}{name}")
