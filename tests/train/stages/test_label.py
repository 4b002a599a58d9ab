"""Stage 2: crops with prompts from several data sets, and what learns from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor

from ovsam.data.dataset import DataSet
from ovsam.data.scene_batches import SceneBatch
from ovsam.model.ovsam import OVSAM, Features
from ovsam.model.prompt_batch import PromptBatch
from ovsam.train.loop import Engine
from ovsam.train.losses import sampled_mask_losses
from ovsam.train.settings import EngineSettings, ScheduleSettings
from ovsam.train.stages.label import LabelStage
from scenes import batches, written_data_sets
from tiny_model import ONE_TOKEN, TINY, random_bank, tiny_model


@pytest.fixture(autouse=True)
def few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampled_mask_losses, "__defaults__", (64,))


@pytest.fixture(scope="module")
def data_sets(tmp_path_factory: pytest.TempPathFactory) -> list[DataSet]:
    return written_data_sets(tmp_path_factory.mktemp("photos"))


def stage(
    data_sets: Sequence[DataSet],
    *,
    model: OVSAM | None = None,
    learn: Sequence[str] = ("region_head", "mask_decoder"),
    rounds: int = 0,
    checkpoint_activations: bool = False,
) -> LabelStage:
    torch.manual_seed(0)
    banks = [random_bank(len(data_set.classes)) for data_set in data_sets]
    return LabelStage(model or tiny_model(), banks, learn, rounds, checkpoint_activations)


def losses(learner: LabelStage, batch: SceneBatch) -> dict[str, Tensor]:
    return learner.losses(batch)


# The stage


def test_region_head_and_decoder_alone_learn(data_sets: list[DataSet], tmp_path: Path) -> None:
    model = tiny_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    learner, drawn = stage(data_sets, model=model), batches(data_sets)
    first = losses(learner, drawn[0])
    schedule = ScheduleSettings(peak=3e-3, warm_up=1)
    settings = EngineSettings(steps=30, precision="32-true", schedule=schedule, clip=1.0, workers=0)
    Engine(settings, tmp_path).fit(learner, drawn)
    last = losses(learner, drawn[0])
    assert last["class"].item() < 0.8 * first["class"].item()
    assert (last["bce"] + last["dice"]).item() < 0.9 * (first["bce"] + first["dice"]).item()
    changed = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    parts = {name.partition(".")[0] for name in changed}
    assert parts == {"region_head", "mask_decoder", "high_resolution"}


@pytest.mark.parametrize(
    ("learn", "parts", "named"),
    [
        ("region_head", {"region_head"}, {"class"}),
        ("mask_decoder", {"mask_decoder", "high_resolution"}, {"bce", "dice", "predicted_iou"}),
    ],
)
def test_one_part_alone_learns(
    data_sets: list[DataSet], tmp_path: Path, learn: str, parts: set[str], named: set[str]
) -> None:
    """Table 4's ablations; a photo without masks teaches a decoder nothing, and stops nothing."""
    model = tiny_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    learner = stage(data_sets, model=model, learn=[learn])
    assert set(learner.loss_names) == named
    schedule = ScheduleSettings(peak=3e-3, warm_up=1)
    settings = EngineSettings(steps=4, precision="32-true", schedule=schedule, clip=1.0, workers=0)
    Engine(settings, tmp_path).fit(learner, batches(data_sets, size=1))
    changed = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    assert {name.partition(".")[0] for name in changed} == parts


@pytest.mark.parametrize("kind", ["token", "token+clip", "context"])
def test_other_region_heads_learn_the_same_names(
    data_sets: list[DataSet], tmp_path: Path, kind: Literal["token", "token+clip", "context"]
) -> None:
    assert TINY.region is not None
    config = replace(TINY, region=replace(TINY.region, kind=kind))
    learner, drawn = stage(data_sets, model=tiny_model(config)), batches(data_sets)
    first = losses(learner, drawn[0])["class"].item()
    schedule = ScheduleSettings(peak=3e-3, warm_up=1)
    settings = EngineSettings(steps=30, precision="32-true", schedule=schedule, clip=1.0, workers=0)
    Engine(settings, tmp_path).fit(learner, drawn)
    assert losses(learner, drawn[0])["class"].item() < 0.8 * first


def test_names_of_each_data_set_compete_among_themselves(data_sets: list[DataSet]) -> None:
    """What a class's name means is looked up where its photo comes from."""
    learner, drawn = stage(data_sets), batches(data_sets, size=4)
    batch = next(drawn[i] for i in range(9) if set(drawn[i].source.tolist()) == {0, 1})
    both = losses(learner, batch)["class"].item()
    learner.banks[1] = replace(bank := learner.banks[1], class_order=bank.class_order.flip(0))
    flipped = losses(learner, batch)["class"].item()
    assert flipped != pytest.approx(both, rel=1e-3)
    alone = replace(batch, source=torch.zeros_like(batch.source))
    assert losses(learner, alone)["class"].item() != pytest.approx(both, rel=1e-3)


def test_photos_without_masks_teach_names_only(data_sets: list[DataSet]) -> None:
    found = losses(stage(data_sets[1:]), batches(data_sets[1:])[0])
    assert found.keys() == {"class"}


def test_every_loss_is_the_mean_of_the_images(data_sets: list[DataSet]) -> None:
    """With corrective clicks: what is drawn at random belongs to an image, not to its batch."""
    learner = stage(data_sets[:1], rounds=1)
    both = losses(learner, batches(data_sets[:1], size=2)[1])
    single = [losses(learner, batches(data_sets[:1], size=1)[i]) for i in (2, 3)]
    for name, value in both.items():
        mean = sum(found[name].item() for found in single) / 2
        assert value.item() == pytest.approx(mean, rel=1e-4), name


def test_corrective_rounds_and_mask_prompts_reach_the_decoder(data_sets: list[DataSet]) -> None:
    learner, batch = stage(data_sets, rounds=2), batches(data_sets)[0]
    decoded: list[tuple[int, bool]] = []  # points of each prompt, and whether with a mask
    decode = learner.model.decode

    def recorded(features: Features, prompts: PromptBatch[Tensor], image: Tensor) -> object:
        assert prompts.points_xy is not None
        decoded.append((prompts.points_xy.shape[1], prompts.mask_logits is not None))
        return decode(features, prompts, image)

    learner.model.decode = recorded  # type: ignore[assignment]
    losses(learner, batch)
    assert decoded and len(decoded) % 3 == 0
    for start in range(0, len(decoded), 3):
        points = decoded[start][0]
        rounds = [(points, False), (points + 1, True), (points + 2, True)]
        assert decoded[start : start + 3] == rounds


def test_recomputing_gives_the_same_gradient(data_sets: list[DataSet]) -> None:
    gradients = []
    for checkpoint_activations in (False, True):
        learner = stage(
            data_sets, model=tiny_model(), rounds=1, checkpoint_activations=checkpoint_activations
        )
        found = losses(learner, batches(data_sets)[0])
        torch.stack(list(found.values())).sum().backward()  # type: ignore[no-untyped-call]
        gradients.append([p.grad for p in learner.parameters() if p.grad is not None])
    assert len(gradients[0]) > 10
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_a_decoder_of_one_mask_learns_too(data_sets: list[DataSet]) -> None:
    found = losses(stage(data_sets, model=tiny_model(ONE_TOKEN)), batches(data_sets)[0])
    assert found["predicted_iou"].item() == 0
    assert found["bce"].item() > 0
