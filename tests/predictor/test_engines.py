"""Which engine `load` chooses for a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import ovsam
from exported import exported_context
from ovsam.errors import OvsamError, UsageError, VocabularyError
from ovsam.extras import MissingPackageError
from ovsam.hub import SHIPPED, ModelFile
from ovsam.model.checkpoint import load_checkpoint, save_checkpoint
from ovsam.predictor import load as loading
from ovsam.predictor import load_torch
from ovsam.predictor.load import load, split_engine

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Instead of loading, engine and device are noted."""
    noted: list[tuple[str, str]] = []

    def on_onnx(model: Any, store: Any, names: Any, device: str, *rest: Any) -> None:  # noqa: ARG001
        noted.append(("onnx", device))

    def on_torch(model: Any, store: Any, names: Any, device: str, *rest: Any) -> None:  # noqa: ARG001
        noted.append(("torch", device))

    monkeypatch.setattr(loading, "_load_onnx", on_onnx)
    monkeypatch.setattr(load_torch, "load_torch", on_torch)
    return noted


def saved(tmp_path: Path, **fields: Any) -> Path:
    config, arrays = load_checkpoint(SHIPPED)
    arrays = {name: array for name, array in arrays.items() if not name.startswith("text.")}
    path = tmp_path / "mine.safetensors"
    save_checkpoint(path, arrays, replace(config, **fields))
    return path


@pytest.mark.parametrize(
    ("name", "options", "engine"),
    [
        ("lite", {}, "onnx"),
        ("lite", {"device": "openvino"}, "onnx"),
        ("lite", {"device": "cuda"}, "torch"),
        ("lite", {"device": "cuda:1"}, "torch"),
        ("lite", {"device": "mps"}, "torch"),
        ("lite", {"device": "cuda", "backend": "onnx"}, "onnx"),
        ("lite@onnx", {"device": "cuda"}, "onnx"),
        ("lite@torch", {}, "torch"),
        ("lite", {"backend": "torch"}, "torch"),
        ("lite@torch", {"backend": "torch"}, "torch"),
        ("lite-feature-crop", {}, "torch"),
        ("lite-image-crop", {}, "torch"),
    ],
)
def test_the_choice(
    name: str, options: dict[str, Any], engine: str, chosen: list[tuple[str, str]]
) -> None:
    load(name, **options)
    assert chosen == [(engine, options.get("device", "cpu"))]


def test_a_checkpoint_of_one_s_own(tmp_path: Path, chosen: list[tuple[str, str]]) -> None:
    """`lite` that was trained further runs as `lite` does; what has another shape does not."""
    load(saved(tmp_path, seen_classes=("cat",)))
    load(saved(tmp_path, image_size=256, zoom=None))
    assert [engine for engine, _ in chosen] == ["onnx", "torch"]
    with pytest.raises(
        UsageError, match=r"has no graphs for ONNX Runtime yet: make them with 'ovs"
    ):
        load(tmp_path / "mine.safetensors", backend="onnx")
    assert len(chosen) == 2


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "lite@onnx",
            {"backend": "torch"},
            "'lite@onnx' names another engine than backend='torch'",
        ),
        ("lite", {"backend": "tensorflow"}, "backend must be 'onnx' or 'torch', got 'tensorflow'"),
        ("lite-image-crop", {"backend": "onnx"}, "'lite-image-crop' runs on torch alone"),
        ("lite@torch", {"device": "openvino"}, "device must be 'cpu', 'cuda' or 'mps'"),
        ("lite", {"device": "abacus"}, "device must be one of cpu, cuda"),
    ],
)
def test_choices_that_cannot_be(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OvsamError) as caught:
        load(name, **options)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_the_engine_behind_a_name() -> None:
    assert split_engine("a/b@torch") == ("a/b", "torch")
    assert split_engine("me@onnx@home") == ("me@onnx@home", None)


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ovsam.extras.find_spec", lambda name: None if name == "torch" else object()
    )
    with pytest.raises(MissingPackageError, match=r"^'lite' needs torch, .* pip install .*\[torch"):
        load("lite@torch")
    assert load("lite").model_name == "lite"


def test_an_exported_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Answers on its own engine; knows the names that it took along, and no others."""
    folder = exported_context(tmp_path_factory)
    with pytest.raises(UsageError, match=r"was exported for ONNX Runtime: leave backend out"):
        load(folder, backend="torch")
    with pytest.raises(
        VocabularyError, match=r"without its text model, and without the names 'cat'"
    ):
        predictor = load(folder, vocabulary="cat")
        predictor.prepare()
    predictor = load(folder)
    assert (predictor.model_name, predictor.device) == ("tiny-context", "cpu")
    photo = predictor.encode(ovsam.read_photo(EXAMPLES / "chelsea.png"))
    [found] = predictor.segment(photo, ovsam.Prompt(box_xyxy=[0, 0, 395, 300]))
    assert found.painted().masks.shape == (1, 300, 451)


def test_what_a_file_stands_for_is_asked_once() -> None:
    assert loading._default_engine(ModelFile("lite", "", SHIPPED), "cpu") == "onnx"
    assert loading._default_engine(ModelFile("lite", "-feature-crop", SHIPPED), "cpu") == "torch"
