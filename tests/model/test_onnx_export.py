"""Graphs give what torch's modules give; what is in their files."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from exported import (
    CONTEXT,
    answers,
    context_model,
    exported_context,
    session,
    take_graphs_from,
)
from ovsam.config import BaselineConfig, ModelConfig
from ovsam.errors import CheckpointError
from ovsam.model import onnx_export
from ovsam.model.build import build
from ovsam.model.onnx_examples import graphs, sides
from ovsam.model.onnx_export import export, export_without_weights, onnx_model, write_graph
from ovsam.model.onnx_files import (
    GRAPHS,
    SHIPPED_GRAPHS,
    GraphName,
    exported_model,
    read_index,
)
from ovsam.model.onnx_graphs import maps_of
from ovsam.model.ovsam import OVSAM, Features
from ovsam.model.pixels import to_pixels
from ovsam.model.presets import MODELS, named_config
from ovsam.model.prompt_batch import PromptBatch
from ovsam.model.region import Surroundings
from ovsam.model.safetensors_file import SafetensorsFile
from ovsam.model.tensors import as_arrays
from ovsam.model.torch_bank import PrototypesOnDevice
from ovsam.predictor.onnx_backend import decoder_inputs
from ovsam.text.bank import Bank
from ovsam.text.prototypes import ClassPrototypes
from tiny_model import TEXT_DIM, TINY, names_of, tiny_model

Session: TypeAlias = onnxruntime.InferenceSession
SIDES = sides(CONTEXT)
PHOTOS = 3
INDEX = np.array([2, 0, 1, 1, 0])
RNG = np.random.default_rng


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported_context(tmp_path_factory)


@pytest.fixture(scope="module")
def sessions(folder: Path) -> dict[str, Session]:
    return {name: session((folder / f"{name}.onnx").read_bytes()) for name in GRAPHS}


@pytest.fixture(scope="module")
def model() -> OVSAM:
    return context_model()


def photos(count: int, side: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Squares, of which some are not photo all over, and what is."""
    pixels = RNG(side).integers(0, 256, (count, side, side, 3)).astype(np.uint8)
    content_hw = np.array([[side, side], [side * 3 // 4, side], [side, side // 2]])[:count]
    return pixels, content_hw


@torch.inference_mode()
def encoded(model: OVSAM, pixels: NDArray[np.uint8], content_hw: NDArray[np.int64]) -> Features:
    """By the model's own steps."""
    encoder, side = model.config.encoder, pixels.shape[1]
    squares = [
        to_pixels(photo[:h, :w], (side, side), encoder.pixel_mean, encoder.pixel_std)
        for photo, (h, w) in zip(pixels, content_hw, strict=True)
    ]
    return model.encode(torch.cat(squares), content_hw=torch.from_numpy(content_hw))


def features_of(model: OVSAM, side: int, count: int = PHOTOS) -> Features:
    return encoded(model, *photos(count, side))


def maps(features: Features) -> dict[str, NDArray[Any]]:
    return as_arrays(maps_of(features))


def test_the_sides_are_those_of_photos_zoom_and_clicks() -> None:
    assert SIDES == (32, 64, 128)
    assert sides(MODELS["lite"]) == (128, 256, 512)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("count", [1, PHOTOS])
def test_the_encoder(sessions: dict[str, Session], model: OVSAM, side: int, count: int) -> None:
    pixels, content_hw = photos(count, side)
    pixels[1:, :, side // 2 :] += 3  # also what is no photo, which must not matter
    found = answers(sessions["encoder"], {"pixels": pixels, "content_hw": content_hw})
    expected = maps(encoded(model, pixels, content_hw))
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, atol=1e-4, rtol=1e-4, err_msg=name)


def prompts(kind: str, count: int, side: int) -> PromptBatch[NDArray[Any]]:
    rng = RNG(count)
    points = rng.uniform(0, side, (count, 3, 2))
    low = rng.uniform(0, side / 2, (count, 2))
    boxes = np.concatenate([low, low + side / 3], 1)
    masks = rng.normal(0, 4, (count, side // 4, side // 4)).astype(np.float32)
    labels = np.array([[1, 0, 1]] * count)
    padded = labels.copy()
    padded[::2, 1:] = -1
    one: dict[str, dict[str, NDArray[Any]]] = {
        "point": {"points_xy": points[:, :1], "point_labels": labels[:, :1]},
        "points": {"points_xy": points, "point_labels": labels},
        "padded": {"points_xy": points, "point_labels": padded},
        "box": {"boxes_xyxy": boxes},
        "mask": {"mask_logits": masks},
    }
    return PromptBatch(**{k: v for part in kind.split(" and ") for k, v in one[part].items()})


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    "kind",
    [
        "point",
        "points",
        "padded",
        "box",
        "mask",
        "padded and box",
        "point and mask",
        "box and mask",
    ],
)
@pytest.mark.parametrize("count", [1, 5])
@torch.inference_mode()
def test_the_decoder(
    sessions: dict[str, Session], model: OVSAM, kind: str, side: int, count: int
) -> None:
    features, batch, index = features_of(model, side), prompts(kind, count, side), INDEX[:count]
    inputs = decoder_inputs(batch, CONTEXT, side)
    found = answers(sessions["decoder"], {**maps(features), **inputs, "index": index})
    masks, scores = model.decode(features, batch.map(torch.from_numpy), torch.from_numpy(index))
    assert scores is not None
    np.testing.assert_allclose(found["mask_logits"], masks, atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(found["predicted_iou"], scores, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_prompts_with_masks_and_without_go_together(
    sessions: dict[str, Session], model: OVSAM
) -> None:
    """In any order, two of them with one mask."""
    side, of = 64, np.array([2, 0, 1, 2, 0])
    features, batch = features_of(model, side), prompts("points and mask", 5, side)
    assert batch.mask_logits is not None
    given = batch.mask_logits[:2]
    inputs = decoder_inputs(prompts("points", 5, side), CONTEXT, side)
    inputs |= {"mask_input": given[:, None], "mask_of_prompt": of, "index": INDEX}
    found = answers(sessions["decoder"], {**maps(features), **inputs})
    for i, number in enumerate(of):
        alone = PromptBatch(
            batch.points_xy[i : i + 1] if batch.points_xy is not None else None,
            batch.point_labels[i : i + 1] if batch.point_labels is not None else None,
            mask_logits=given[number - 1 : number] if number else None,
        )
        masks, _ = model.decode(
            features, alone.map(torch.from_numpy), torch.from_numpy(INDEX[i : i + 1])
        )
        np.testing.assert_allclose(found["mask_logits"][i], masks[0], atol=1e-4, rtol=1e-4)


def vocabulary() -> tuple[ClassPrototypes, dict[str, NDArray[Any]]]:
    """Four classes of one to three names; the same as the graph takes them."""
    vectors = RNG(0).normal(size=(7, TEXT_DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    bank, seen = Bank.of(vectors, (3, 1, 2, 1)), np.array([True, False, False, True])
    names = [names_of(bank, number) for number in range(4)]
    assert [len(each) for each in names] == [3, 1, 2, 1]
    places = np.repeat(np.arange(4), [len(each) for each in names])
    shuffled = RNG(1).permutation(7)  # the names of a class need not stand together
    inputs = {
        "names": np.concatenate(names)[shuffled],
        "class_of_name": places[shuffled],
        "seen": seen,
    }
    return ClassPrototypes(bank, seen, np.ones(4, np.bool_)), inputs


def regions(side: int, count: int) -> dict[str, NDArray[Any]]:
    """Boxes from a few pixels to the whole square; the first mask covers nothing."""
    low = RNG(5).uniform(0, side / 4, (count, 2))
    boxes = np.concatenate([low, low + np.geomspace(side / 16, side / 2, count)[:, None]], 1)
    masks = RNG(6).uniform(-1, 4, (count, 1, side // 4, side // 4))
    masks[:, :, side // 16 :] = 2
    masks[0] = -9
    photo_hw = np.array([[2.0 * side, 3 * side]] * count)
    arrays = {"boxes_xyxy": boxes, "mask_logits": masks, "photo_hw": photo_hw}
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def check_regions(
    model: OVSAM, frozen: Session, head: Session, side: int, count: int
) -> dict[str, NDArray[Any]]:
    """Both graphs against `OVSAM.label`; gives what the graph of the head was given."""
    features, index = features_of(model, side), INDEX[:count]
    prototypes, names = vocabulary()
    inputs = {**maps(features), **regions(side, count), **names, "index": index}
    around = None
    if features.scenes is not None:
        inputs["scenes"] = features.scenes[:1].numpy()
        scenes = features.scenes[:1].expand(count, -1)
        around = Surroundings(scenes, torch.from_numpy(inputs["photo_hw"]))
    own = answers(frozen, inputs)
    assert own["covered"].tolist() == [False] + [True] * (count - 1)
    given = {**inputs, "frozen": own["embedding"], "covered": own["covered"]}
    found = answers(head, given)
    expected = model.label(
        features,
        torch.from_numpy(inputs["boxes_xyxy"]),
        torch.from_numpy(inputs["mask_logits"]),
        PrototypesOnDevice(torch.device("cpu")).of(prototypes),
        torch.from_numpy(index),
        around,
    )
    np.testing.assert_allclose(found["log_scores"], expected.log_softmax(-1), atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(found["embedding"], axis=1), 1, rtol=1e-5)
    return given


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("count", [1, 5])
@torch.inference_mode()
def test_the_names(sessions: dict[str, Session], model: OVSAM, side: int, count: int) -> None:
    check_regions(model, sessions["frozen"], sessions["regions"], side, count)


@torch.inference_mode()
def test_names_without_the_frozen_encoder_are_the_head_s_alone(
    sessions: dict[str, Session], model: OVSAM
) -> None:
    given = check_regions(model, sessions["frozen"], sessions["regions"], 64, 5)
    given |= {"frozen": np.zeros_like(given["frozen"]), "covered": np.zeros(5, np.bool_)}
    found = answers(sessions["regions"], given)
    products = CONTEXT.logit_scale * found["embedding"] @ given["names"].T
    best = [products[:, given["class_of_name"] == number].max(1) for number in range(4)]
    logits = np.stack([*best, np.zeros(5)], 1)
    expected = torch.from_numpy(logits).log_softmax(-1)
    np.testing.assert_allclose(found["log_scores"], expected, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_the_pyramid_head(tmp_path: Path) -> None:
    """RoIAlign on the level of each box, all levels in one batch."""
    model, made = tiny_model(TINY), graphs(tiny_model(TINY))
    contents = {}
    for name in ("frozen", "regions"):
        write_graph(onnx_model(made[name]), tmp_path / name)
        contents[name] = session((tmp_path / name).read_bytes())
    head: Any = model.region_head
    boxes = torch.from_numpy(regions(128, 5)["boxes_xyxy"])
    assert set(head.levels_of(boxes).tolist()) == {0, 1}
    for side, count in ((128, 5), (128, 1), (64, 5)):
        check_regions(model, contents["frozen"], contents["regions"], side, count)


def test_half_precision_is_half_as_large_and_nearly_as_good(
    folder: Path,
    sessions: dict[str, Session],
    model: OVSAM,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    take_graphs_from(folder, monkeypatch)
    export(model, tmp_path / "half", "float16", text="hashed")
    assert read_index(tmp_path / "half").precision == "float16"
    made = exported_model(tmp_path / "half")
    assert {name: made.graphs[name].content for name in GRAPHS} == {
        name: (tmp_path / "half" / f"{name}.onnx").read_bytes() for name in GRAPHS
    }
    for name in ("encoder", "decoder"):
        whole = (folder / f"{name}.onnx").stat().st_size
        weights = sum(a.nbytes for a in initialisers(folder / f"{name}.onnx").values())
        assert 0.45 * weights < whole - len(made.graphs[name].content) < 0.5 * weights
    half = {name: session(graph.content) for name, graph in made.graphs.items()}
    side = 64
    pixels, content_hw = photos(PHOTOS, side)
    inputs: dict[str, NDArray[Any]] = {"pixels": pixels, "content_hw": content_hw}
    assert_near(answers(half["encoder"], inputs), answers(sessions["encoder"], inputs))
    given = {**maps(features_of(model, side)), "index": INDEX}
    given |= decoder_inputs(prompts("padded and box", 5, side), CONTEXT, side)
    assert_near(answers(half["decoder"], given), answers(sessions["decoder"], given))
    given |= {**vocabulary()[1], **regions(side, 5), "covered": np.ones(5, np.bool_)}
    given |= {"frozen": RNG(3).normal(size=(5, TEXT_DIM)).astype(np.float32)}
    given["scenes"] = given["scenes"][:1]
    heads: tuple[GraphName, ...] = ("frozen", "regions")
    for name in heads:
        assert_near(answers(half[name], given), answers(sessions[name], given))


def assert_near(found: dict[str, NDArray[Any]], expected: dict[str, NDArray[Any]]) -> None:
    for name, array in expected.items():
        reach = np.abs(array).max()
        np.testing.assert_allclose(found[name], array, atol=0.01 * reach, err_msg=name)


def initialisers(path: Path) -> dict[str, NDArray[Any]]:
    """Those that are in a file."""
    found = ir.load(path).graph.initializers
    values = {name: value.const_value for name, value in found.items()}
    return {name: value.numpy() for name, value in values.items() if value is not None}


def test_a_folder_says_what_is_in_it(folder: Path, model: OVSAM) -> None:
    index = read_index(folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*(f"{name}.onnx" for name in GRAPHS), "model.json"]
    )
    assert (index.config, index.text, index.precision) == (CONTEXT, "hashed", "float32")
    for graph in index.graphs.values():
        content = (folder / graph.file).read_bytes()
        assert graph.sha256 == hashlib.sha256(content).hexdigest() and not graph.weights
        metadata = ir.load(folder / graph.file).metadata_props
        assert metadata == {"ovsam.fingerprint": index.fingerprint}
    state = as_arrays(model.state_dict())
    for name in GRAPHS:
        for key, array in initialisers(folder / f"{name}.onnx").items():
            if array.size > 64:
                np.testing.assert_array_equal(array, state[key], err_msg=key)


def test_names_go_along(
    folder: Path, model: OVSAM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_graphs_from(folder, monkeypatch)
    vectors = {name: np.full(TEXT_DIM, number, np.float32) for number, name in enumerate("ab")}
    said: list[str] = []
    export(model, tmp_path / "f", text="CLIP's", text_vectors=vectors, progress=said.append)
    found = exported_model(tmp_path / "f")
    assert (found.text, said) == ("CLIP's", list(GRAPHS))
    assert {name: vector.tolist() for name, vector in found.text_vectors.items()} == {
        name: vector.tolist() for name, vector in vectors.items()
    }


def test_weights_may_come_from_elsewhere(
    folder: Path,
    sessions: dict[str, Session],
    model: OVSAM,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    take_graphs_from(folder, monkeypatch)
    export_without_weights(model, tmp_path, "hashed")
    state, index = as_arrays(model.state_dict()), read_index(tmp_path)
    side = 32
    pixels, content_hw = photos(PHOTOS, side)
    inputs: dict[str, NDArray[Any]] = {"pixels": pixels, "content_hw": content_hw}
    for graph in index.graphs.values():
        assert_external(tmp_path / graph.file, graph.weights)
        assert graph.weights == {key: state[key].shape for key in graph.weights}
    weights = {key: state[key] for key in index.graphs["encoder"].weights}
    encoder = session((tmp_path / "encoder.onnx").read_bytes(), weights)
    expected = answers(sessions["encoder"], inputs)
    for name, array in answers(encoder, inputs).items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-6)


def assert_external(path: Path, weights: dict[str, tuple[int, ...]]) -> None:
    """The file holds no weight, and names those of the index as they are named there."""
    values = {name: each.const_value for name, each in ir.load(path).graph.initializers.items()}
    outside = {k: v for k, v in values.items() if isinstance(v, ir.ExternalTensor)}
    assert weights
    assert {name: tuple(value.shape.numpy()) for name, value in outside.items()} == weights
    inside = [value for name, value in values.items() if value is not None and name not in outside]
    for array in (value.numpy() for value in inside if value.dtype == ir.DataType.FLOAT):
        assert array.size <= 20 or np.ptp(array) == 0, "constants of the graph itself"


@pytest.mark.parametrize("there", ["file", "folder", "link"])
def test_what_is_there_is_kept(there: str, model: OVSAM, tmp_path: Path) -> None:
    target = tmp_path / "there"
    if there == "file":
        target.write_text("mine")
    elif there == "folder":
        target.mkdir()
    else:
        target.symlink_to("nowhere")
    with pytest.raises(
        CheckpointError, match=r"there' is there already: give a folder that is new"
    ):
        export(model, target, text="hashed")
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_is_left_half_written(
    error: BaseException,
    folder: Path,
    model: OVSAM,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    take_graphs_from(folder, monkeypatch)
    made: list[str] = []

    def fail(onnx: ir.Model, path: Path) -> Any:
        made.append(path.name)
        if len(made) == 3:
            raise error
        return write_graph(onnx, path)

    monkeypatch.setattr(onnx_export, "write_graph", fail)
    with pytest.raises((CheckpointError, KeyboardInterrupt)) as caught:
        export(model, tmp_path / "new", text="hashed")
    if isinstance(error, OSError):
        assert str(caught.value) == f"Cannot write '{tmp_path / 'new'}': No space left on device."
    assert len(made) == 3 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "config",
    [
        named_config("sam-b"),
        named_config("lite-feature-crop"),
        named_config("sam-b+rn50"),
        ModelConfig(
            name="b", image_size=64, encoder=TINY.encoder, baseline=BaselineConfig(cuts="image")
        ),
    ],
    ids=lambda config: config.name,
)
def test_models_that_have_no_graphs(config: ModelConfig) -> None:
    from ovsam.model.onnx_examples import check_exportable

    with pytest.raises(CheckpointError, match=r"^'.*' cannot be exported: .*such as lite.*\.$"):
        check_exportable(config)


def test_the_weights_of_lite_fit_the_graphs_that_ship() -> None:
    index = read_index(SHIPPED_GRAPHS)
    assert list(index.graphs) == list(GRAPHS)
    with SafetensorsFile(SHIPPED_GRAPHS.parent / "lite.safetensors") as file:
        shapes = file.header.shapes
    for name, graph in index.graphs.items():
        content = (SHIPPED_GRAPHS / graph.file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == graph.sha256
        assert_external(SHIPPED_GRAPHS / graph.file, graph.weights)
        assert graph.weights == {key: shapes.get(key) for key in graph.weights}, name
    used = {key for graph in index.graphs.values() for key in graph.weights}
    learned = {key for key in shapes if not key.startswith("text.")}
    assert len(learned - used) < 10, "all but what no prompt needs"


@cache
def lite() -> OVSAM:
    torch.manual_seed(0)
    return build(MODELS["lite"])


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (name != "frozen")) for name in GRAPHS]
)
def test_the_graphs_that_ship_are_those_of_the_code(name: GraphName) -> None:
    """If not: `python -m tools.lite_graphs` writes them anew."""
    fresh, shipped = onnx_model(graphs(lite())[name]), ir.load(SHIPPED_GRAPHS / f"{name}.onnx")

    def described(model: ir.Model) -> dict[str, Any]:
        graph = model.graph
        return {
            "operators": Counter((node.domain, node.op_type) for node in graph),
            "inputs": [(each.name, each.dtype, len(each.shape or ())) for each in graph.inputs],
            "outputs": [(each.name, each.dtype) for each in graph.outputs],
            "version": dict(model.opset_imports),
            "weights": {
                key: tuple(value.shape or ()) for key, value in graph.initializers.items()
            }.keys()
            & lite().state_dict().keys(),
        }

    assert described(fresh) == described(shipped)
    shapes = {key: tuple(tensor.shape) for key, tensor in lite().state_dict().items()}
    weights = read_index(SHIPPED_GRAPHS).graphs[name].weights
    assert weights == {key: shapes[key] for key in weights}


def test_the_index_that_ships_is_small_and_plain() -> None:
    content = json.loads((SHIPPED_GRAPHS / "model.json").read_text())
    assert content["fingerprint"] == "" and content["precision"] == "checkpoint"
