"""Baselines that learn: what is trained of them, what stays, and what can be answered after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

import ovsam
from ovsam.cli.app import app
from ovsam.config import BaselineConfig
from ovsam.data.dataset import DataSet, read_data_set
from ovsam.data.mixture import Mixture
from ovsam.data.prompts import PromptConfig
from ovsam.data.scene_batches import SceneBatch, SceneBatches
from ovsam.data.scene_crops import SceneCropConfig
from ovsam.errors import CheckpointError, TrainingError
from ovsam.hub import SHIPPED
from ovsam.model.baselines.coop import CoOpTokens
from ovsam.model.ovsam import OVSAM
from ovsam.model.presets import BASELINES
from ovsam.model.restore import restore
from ovsam.model.torch_bank import TorchBank
from ovsam.train.loop import Engine
from ovsam.train.settings import EngineSettings, ScheduleSettings
from ovsam.train.stages.label import ClassesInContext, LabelStage
from photo_folder import write_folder
from small_model import NAME, offer, write_sam_and_clip
from tiny_model import TEXT_DIM, TINY, HashedText, TinyEncoder, tiny_model

LEARNS = {ending: each for ending, each in BASELINES.items() if each.learns}


@pytest.mark.parametrize(
    "ending",
    [
        pytest.param(ending, marks=[] if ending == "-feature-crop-coop" else pytest.mark.long)
        for ending in LEARNS
    ],
)
def test_a_shipped_recipe_at_a_tiny_size(
    tmp_path: Path, invoke: Callable[[str], str], ending: str
) -> None:
    """All but the baseline's own part is as `lite` has it; a class that was not taught is named."""
    write_folder(tmp_path)
    tiny = "engine.steps=2 engine.workers=0 engine.log_every=1 engine.precision=32-true batch=1"
    changes = " ".join(f"--set {change}" for change in [*tiny.split(), "scene.size=64"])
    only = '--set scene.min_area=4 --set data.0.only=["person"]'
    invoke(f"train {ending[1:]}-lite --data . -o out {changes} {only}")
    path = tmp_path / "out" / f"lite{ending}.safetensors"
    part = "context" if LEARNS[ending].context_tokens else "conv_adapter"
    model, lite = restore(path).model, restore(SHIPPED).model.state_dict()
    own = {name for name in model.state_dict() if name.partition(".")[0] == part}
    assert own
    for name, weights in model.state_dict().items():
        assert name in own or torch.equal(weights, lite[name]), name
    assert model.config.seen_classes == ("person",)
    predictor = ovsam.load(path, vocabulary="person, teapot, sundial")
    photo = predictor.encode(np.full((60, 90, 3), 90, np.uint8))
    [found] = predictor.predict(photo, ovsam.Prompt(box_xyxy=[10, 10, 50, 40]))
    assert {label.name for label in found.labels[0]} == {"person", "teapot", "sundial"}


@pytest.mark.parametrize("ending", LEARNS)
def test_without_training_it_is_refused(ending: str) -> None:
    with pytest.raises(CheckpointError, match=f"'lite{ending}' has to be trained before"):
        ovsam.load(f"lite{ending}")


@pytest.mark.long
def test_sam_is_fine_tuned(
    tmp_path: Path, invoke: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From SAM's and CLIP's own files; then CoOp's tokens on what came out."""
    offer(monkeypatch)
    write_folder(tmp_path)
    write_sam_and_clip(tmp_path, monkeypatch)
    photos = "coco_sample/annotations/instances_train2017.json"
    tiny = (
        f"engine.steps=1 engine.workers=0 batch=1 engine.precision=32-true data.0.path={photos} "
        "data.0.images=coco_sample/train2017 prompts.count=2 scene.size=256"
    )
    changes = " ".join(f"--set {change}" for change in tiny.split())
    name = f"sam-b+{NAME}-feature-crop"
    files = "--set start.sam=whole_sam.pth --set start.clip=clip.safetensors"
    line = f"train sam-coco --data . --set model={name} {changes}"
    wrong = CliRunner().invoke(app, f"{line} {files} -o wrong --set scene.size=64".split())
    assert "set scene.size=256" in str(wrong.exception) + wrong.output
    invoke(f"{line} {files} -o tuned")
    tuned = tmp_path / "tuned" / f"{name}.safetensors"
    config = restore(tuned).model.config
    assert (config.fusion_alpha, config.seen_classes, config.sam is None) == (1, (), False)
    invoke(
        f"train clip2sam-coco --data . --set model={name}-coop {changes} -o named "
        f"--set start.checkpoint={tuned} --set learn=['context'] --set data.0.only=['person'] "
        f"--set watch.path={photos} --set watch.images=coco_sample/train2017"
    )
    model = restore(tmp_path / "named" / f"{name}-coop.safetensors").model
    before = restore(tuned).model.state_dict()
    changed = {n for n, v in model.state_dict().items() if not torch.equal(v, before.get(n, v + 1))}
    assert changed == {"context.tokens"}


def test_sam_alone_is_fine_tuned(
    tmp_path: Path, invoke: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From SAM's file alone; of all its weights only the decoder's change."""
    write_folder(tmp_path)
    write_sam_and_clip(tmp_path, monkeypatch, image_size=1024)
    tiny = (
        "engine.steps=1 engine.workers=0 batch=1 engine.precision=32-true prompts.count=2 "
        "data.0.path=coco_sample/annotations/instances_train2017.json "
        "data.0.images=coco_sample/train2017 start.sam=whole_sam.pth"
    )
    changes = " ".join(f"--set {change}" for change in tiny.split())
    invoke(f"train sam-coco --data . --set model=sam-b {changes} -o tuned")
    model = restore(tmp_path / "tuned" / "sam-b.safetensors").model.state_dict()
    sam = torch.load(tmp_path / "whole_sam.pth", weights_only=True)
    before = {name.replace("image_encoder.", "sam."): value for name, value in sam.items()}
    assert model.keys() == before.keys()
    changed = {name for name, value in model.items() if not torch.equal(value, before[name])}
    assert {name.partition(".")[0] for name in changed} == {"mask_decoder"}


# The stage on a tiny model


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    root = write_folder(tmp_path_factory.mktemp("photos")) / "coco_sample"
    return read_data_set(root / "annotations/instances_train2017.json", root / "train2017")


def batches(data_set: DataSet) -> SceneBatches:
    mixture = Mixture([data_set], [1.0], seed=0)
    scene, prompts = SceneCropConfig(size=64, min_area=4), PromptConfig(count=6)
    return SceneBatches([data_set], mixture, scene, prompts, 2)


def model_of(baseline: BaselineConfig) -> OVSAM:
    encoder = replace(TINY.encoder, pool_size=2)
    config = replace(TINY, encoder=encoder, baseline=baseline, fusion_alpha=1.0, fusion_beta=1.0)
    torch.manual_seed(0)
    context = CoOpTokens(2, TEXT_DIM) if baseline.context_tokens else None
    model = OVSAM(config, TinyEncoder(encoder), context).eval()
    state = {k: v for k, v in tiny_model().state_dict().items() if not k.startswith("region_head.")}
    model.load_state_dict({**model.state_dict(), **state})
    return model


class ShiftedText(HashedText):
    """A name's made-up vector, moved by the context, each name in a direction of its own."""

    def embed_in_context(self, texts: Sequence[str], context: Tensor) -> Tensor:
        directions = torch.from_numpy(self.embed([f"{text}'s direction" for text in texts]))
        return (
            torch.from_numpy(self.embed(texts))
            + directions * (directions @ context.sum(0))[:, None] * 5
        )


def stage_of(data_set: DataSet, model: OVSAM, learn: str) -> LabelStage:
    names = list(data_set.classes)
    banks = [TorchBank.of_single_names(torch.from_numpy(HashedText().embed(names)))]
    in_context = ClassesInContext(ShiftedText(), [names]) if model.context is not None else None
    return LabelStage(model, banks, [learn], 0, False, in_context)


@pytest.mark.parametrize(
    ("baseline", "part"),
    [
        (BaselineConfig(cuts="features", context_tokens=2), "context"),
        (BaselineConfig(cuts="image", context_tokens=2), "context"),
        (BaselineConfig(cuts="features", conv_adapter="mimdet"), "conv_adapter"),
        (BaselineConfig(cuts="features", conv_adapter="vit-adapter"), "conv_adapter"),
    ],
)
def test_the_part_alone_learns_and_the_loss_falls(
    data_set: DataSet, tmp_path: Path, baseline: BaselineConfig, part: str
) -> None:
    model = model_of(baseline)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    learner, drawn = stage_of(data_set, model, part), batches(data_set)

    def loss() -> float:
        return sum(learner.losses(drawn[i])["class"].item() for i in range(3))

    first = loss()
    schedule = ScheduleSettings(peak=1e-2, warm_up=1)
    Engine(
        EngineSettings(steps=20, precision="32-true", schedule=schedule, clip=1.0, workers=0),
        tmp_path,
    ).fit(learner, drawn)
    assert loss() < 0.95 * first
    changed = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    assert {name.partition(".")[0] for name in changed} == {part}


def test_a_crop_in_training_is_that_of_the_photo(data_set: DataSet) -> None:
    """A square of 64 pixels stays as it is: 64 is what the encoder's own head was made for."""
    learner = stage_of(
        data_set, model_of(BaselineConfig(cuts="image", context_tokens=2)), "context"
    )
    batch: SceneBatch = batches(data_set)[0]
    pixels = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[20.0, 8, 84, 72], [40.0, 16, 104, 60]])  # the second leaves the scene
    prompts = replace(batch.prompts, boxes_xyxy=boxes)
    found = learner._cropped(pixels, replace(batch, prompts=prompts, image=torch.tensor([1, 0])))
    beyond = torch.zeros(1, 3, 64, 64)
    beyond[..., :56] = pixels[0, :, 6:70, 40:96]
    crops = torch.cat([pixels[1:, :, 8:72, 20:84], beyond])
    encoder = learner.model.encoder
    whole, each = torch.tensor([[0.0, 0, 64, 64]] * 2), torch.arange(2)
    expected = encoder.embed_regions(encoder(crops)[3], whole, each, torch.ones(2, 1, 16, 16))
    torch.testing.assert_close(found[0], expected[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[1], expected[1], rtol=0.05, atol=0.05)  # the edge is blurred


def test_what_a_model_has_not_cannot_learn(data_set: DataSet) -> None:
    model = model_of(BaselineConfig(cuts="features"))
    for part in ("region_head", "context", "conv_adapter"):
        with pytest.raises(TrainingError, match=f"'tiny' has no {part} that could learn"):
            stage_of(data_set, model, part)
