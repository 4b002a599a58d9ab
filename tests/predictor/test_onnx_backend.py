"""`lite` answers the same on both engines."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

import ovsam
from ovsam.errors import CheckpointError, OvsamError, UsageError
from ovsam.hub import SHIPPED
from ovsam.model.onnx_files import OnnxGraph, OnnxModel, checkpoint_on_onnx
from ovsam.model.prompt_batch import PromptBatch
from ovsam.predictor.load import load
from ovsam.predictor.onnx_backend import OnnxBackend
from ovsam.predictor.predictor import Predictor
from ovsam.predictor.providers import providers
from ovsam.predictor.views import EncodedImage
from ovsam.structures import Names, Prediction, Prompt
from ovsam.text.bank import Bank
from ovsam.text.prototypes import ClassPrototypes

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
PHOTOS = {name: ovsam.read_photo(EXAMPLES / f"{name}.png") for name in ("chelsea", "coffee")}
BOXES = {"chelsea": [0.0, 0, 395, 300], "coffee": [172.0, 15, 418, 312]}
CLICKS = {"chelsea": [180.0, 150], "coffee": [300.0, 120]}

Both = tuple[tuple[Predictor, EncodedImage], tuple[Predictor, EncodedImage]]


@pytest.fixture(scope="module")
def onnx() -> Predictor:
    return load("lite")


@pytest.fixture(scope="module")
def predictors(onnx: Predictor) -> tuple[Predictor, Predictor]:
    return onnx, load("lite", backend="torch")


@pytest.fixture(scope="module", params=list(PHOTOS))
def name(request: pytest.FixtureRequest) -> str:
    given: str = request.param
    return given


@pytest.fixture(scope="module")
def both(predictors: tuple[Predictor, Predictor], name: str) -> Both:
    one, other = predictors
    return (one, one.encode(PHOTOS[name])), (other, other.encode(PHOTOS[name]))


def on_both(both: Both, ask: Callable[[Predictor, EncodedImage], Any]) -> tuple[Any, Any]:
    return ask(*both[0]), ask(*both[1])


def assert_same_masks(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> None:
    assert one.shape == other.shape and other.any()
    union = (one | other).sum((1, 2)).clip(1)
    assert ((one & other).sum((1, 2)) / union).min() >= 0.999


def assert_same_names(one: Names | Prediction, other: Names | Prediction) -> None:
    for ours, theirs in zip(one.labels, other.labels, strict=True):
        assert ours[0].name == theirs[0].name
        scores = dict(theirs)
        for label in ours:
            if label.name in scores:
                assert label.score == pytest.approx(scores[label.name], abs=0.005)


def prompt(kind: str, name: str) -> Prompt:
    box, click = BOXES[name], CLICKS[name]
    logits = np.full((128, 128), -4, np.float32)
    scale = 128 / max(PHOTOS[name].shape)
    x0, y0, x1, y1 = (int(scale * each) for each in box)
    logits[y0:y1, x0:x1] = 4
    return {
        "box": Prompt(box_xyxy=box),
        "click": Prompt(points_xy=[click]),
        "click and negative": Prompt([click, [box[2] + 30, 30]], [1, 0]),
        "box and click": Prompt([click], [1], box),
        "mask": Prompt(mask_logits=logits),
        "click and mask": Prompt([click], [1], mask_logits=logits),
    }[kind]


KINDS = ["box", "click", "click and negative", "box and click", "mask", "click and mask"]


@pytest.mark.parametrize("zoom", [False, True], ids=["whole photo", "zoomed"])
@pytest.mark.parametrize("kind", KINDS)
def test_masks_and_names(both: Both, name: str, kind: str, zoom: bool) -> None:
    one, other = on_both(both, lambda p, photo: p.predict(photo, prompt(kind, name), zoom=zoom)[0])
    assert_same_masks(one.masks, other.masks)
    assert_same_names(one, other)
    np.testing.assert_allclose(one.predicted_iou, other.predicted_iou, atol=0.005)


@pytest.mark.parametrize("kind", ["box", "click"])
def test_several_masks_for_a_prompt(both: Both, name: str, kind: str) -> None:
    one, other = on_both(
        both, lambda p, photo: p.predict(photo, prompt(kind, name), multimask=True)[0]
    )
    assert len(one.masks) == 3
    assert_same_masks(one.masks, other.masks)
    np.testing.assert_allclose(one.predicted_iou, other.predicted_iou, atol=0.005)


def test_all_that_a_click_may_mean(both: Both, name: str) -> None:
    one, other = on_both(both, lambda p, photo: p.sizes(photo, prompt("click", name))[0])
    for size in ("small", "medium", "large"):
        assert_same_masks(one.of(size).painted().masks, other.of(size).painted().masks)


def test_many_prompts_at_once_are_each_on_its_own(both: Both, name: str) -> None:
    """More than are decoded together, of two kinds."""
    (predictor, photo), _ = both
    box = np.array(BOXES[name])
    boxes = [Prompt(box_xyxy=box - [0, 0, 4 * i, 3 * i]) for i in range(17)]
    prompts = [*boxes, prompt("click", name)]
    together = predictor.predict(photo, prompts, zoom=False)
    assert len(together) == 18
    for i in (0, 16, 17):
        [alone] = predictor.predict(photo, prompts[i], zoom=False)
        assert_same_masks(together[i].masks, alone.masks)
        assert_same_names(together[i], alone)


@pytest.mark.parametrize("zoom", [False, True], ids=["whole photo", "zoomed"])
def test_names_for_masks_of_one_s_own(both: Both, name: str, zoom: bool) -> None:
    x0, y0, x1, y1 = map(int, BOXES[name])
    mask = np.zeros(PHOTOS[name].shape[:2], np.bool_)
    mask[y0:y1, x0:x1] = True
    own: list[Any] = [mask, BOXES[name]]
    one, other = on_both(both, lambda p, photo: p.name(photo, own, zoom=zoom))
    assert len(one) == 2
    for ours, theirs in zip(one, other, strict=True):
        assert_same_names(ours, theirs)


@pytest.mark.parametrize(
    "vocabulary",
    [pytest.param("22k", marks=pytest.mark.long), "quokka, tabby cat/kitten, espresso cup"],
)
def test_names_of_long_and_new_vocabularies(both: Both, name: str, vocabulary: str) -> None:
    one, other = on_both(
        both,
        lambda p, photo: p.predict(photo, prompt("box", name), vocabulary=vocabulary, top=20)[0],
    )
    assert_same_names(one, other)


def test_scores_of_many_classes(both: Both) -> None:
    """As a long vocabulary lies on the disk, some classes with more names; in any order."""
    rng = np.random.default_rng(0)
    vectors = [rng.normal(size=(names, classes, 384)) for names, classes in ((1, 4000), (3, 1000))]
    units = [each / np.linalg.norm(each, axis=2, keepdims=True) for each in vectors]
    bank = Bank(tuple(each.astype(np.float16) for each in units), rng.permutation(5000)[:4500])
    prototypes = ClassPrototypes(bank, rng.random(4500) < 0.5, rng.random(4500) < 0.9)

    def ask(predictor: Predictor, photo: EncodedImage) -> Any:
        boxes, masks = np.array([[10.0, 10, 300, 200], [60, 5, 90, 40]]), np.ones((2, 128, 128))
        return predictor._backend.score(
            photo.features,
            boxes,
            masks.astype(np.float32),
            np.zeros(2, np.int64),
            prototypes,
            photo.features,
            np.array([[300.0, 451]] * 2),
        )

    one, other = on_both(both, ask)
    assert one.shape == (2, 4501)
    np.testing.assert_array_equal(np.isneginf(one[:, :-1]), [~prototypes.answerable] * 2)
    np.testing.assert_allclose(one, other, atol=1e-2, rtol=1e-3)
    assert one.argmax(1).tolist() == other.argmax(1).tolist()


@pytest.fixture(scope="module")
def model() -> OnnxModel:
    return checkpoint_on_onnx(SHIPPED)


def test_what_nobody_asks_for_is_not_computed(model: OnnxModel) -> None:
    backend = OnnxBackend(model)
    square = PHOTOS["chelsea"][:96, :128]
    masked = backend.encode([square], (128, 128), named=False)
    assert set(masked.maps) == {"embedding", "high8", "high4"}
    named = backend.encode([square], (128, 128), masked=False)
    assert named.embedding is None and {"c5", "scenes"} <= set(named.maps)


def test_features_of_other_weights_are_refused(
    onnx: Predictor, predictors: tuple[Predictor, Predictor], model: OnnxModel
) -> None:
    other = OnnxBackend(replace(model, fingerprint="other"))
    boxes = PromptBatch(boxes_xyxy=np.array([[0.0, 0, 60, 60]]))
    theirs = other.encode([PHOTOS["chelsea"][:128, :128]], (128, 128))
    with pytest.raises(CheckpointError, match=r"made by another model's encoder: encode the photo"):
        onnx._backend.decode(theirs, boxes, np.zeros(1, np.int64))
    photo = predictors[1].encode(PHOTOS["chelsea"])  # by torch
    with pytest.raises(CheckpointError, match=r"made by another model's encoder"):
        onnx.segment(photo, Prompt(box_xyxy=BOXES["chelsea"]), zoom=False)
    with pytest.raises(CheckpointError, match=r"made by another model's encoder"):
        onnx.name(photo, [BOXES["chelsea"]], zoom=False)


def test_fingerprints(predictors: tuple[Predictor, Predictor], model: OnnxModel) -> None:
    """Engines differ in the last digits, which is enough for a run that goes on to mix them."""
    one, other = predictors
    assert one.fingerprint != other.fingerprint
    assert OnnxBackend(model).fingerprint == one._backend.fingerprint
    assert OnnxBackend(replace(model, fingerprint="other")).fingerprint != one._backend.fingerprint


def test_threads_share_a_predictor(onnx: Predictor) -> None:
    wanted = [
        (name, kind) for name in PHOTOS for kind in ("box", "click", "click and negative")
    ] * 2

    def ask(one: tuple[str, str]) -> Any:
        photo = onnx.encode(PHOTOS[one[0]])
        return onnx.predict(photo, prompt(one[1], one[0]), zoom=False)[0]

    alone = {one: ask(one) for one in set(wanted)}
    with ThreadPoolExecutor(4) as pool:
        for one, found in zip(wanted, pool.map(ask, wanted), strict=True):
            assert_same_masks(found.masks, alone[one].masks)
            assert_same_names(found, alone[one])


def test_use_threads(model: OnnxModel, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    real = onnxruntime.InferenceSession

    def noted(content: bytes, options: Any, **others: Any) -> Any:
        made.append(options.intra_op_num_threads)
        return real(content, options, **others)

    monkeypatch.setattr(onnxruntime, "InferenceSession", noted)
    backend = OnnxBackend(model)
    before = backend.encode([PHOTOS["chelsea"][:128, :128]], (128, 128)).embedding
    backend.use_threads(backend.threads)
    many = backend.threads + 1
    backend.use_threads(many)
    assert backend.threads == many
    after = backend.encode([PHOTOS["chelsea"][:128, :128]], (128, 128)).embedding
    for session in backend._sessions.values():
        session.result()
    assert before is not None and after is not None
    np.testing.assert_allclose(before, after, atol=1e-4)
    assert sorted(made) == [many - 1] * 4 + [many] * 4


def test_a_graph_that_is_none_is_told_in_a_sentence(model: OnnxModel) -> None:
    graphs = {**model.graphs, "encoder": OnnxGraph(b"no graph", {})}
    backend = OnnxBackend(replace(model, graphs=graphs))
    with pytest.raises(
        CheckpointError, match=r"^The graph 'encoder' of 'lite' cannot be run: .*\.$"
    ):
        backend.encode([PHOTOS["chelsea"][:128, :128]], (128, 128))


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert providers("cpu") == ["CPUExecutionProvider"]
    with pytest.raises(UsageError, match=r"^device must be one of cpu, cuda, .* got 'tpu'\.$"):
        providers("tpu")
    with pytest.raises(UsageError, match=r"got 'cuda:x'\.$"):
        providers("cuda:x")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(OvsamError, match=r"^The device 'openvino' cannot be used: .* not OpenVINO"):
        load("lite", device="openvino")
    names = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    cpu = "CPUExecutionProvider"
    assert providers("cuda:1") == [("CUDAExecutionProvider", {"device_id": "1"}), cpu]
    assert providers("cuda") == [("CUDAExecutionProvider", {}), cpu]
