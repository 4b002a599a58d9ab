"""Runs of a few steps on a tiny model: what is read, learnt, written, and gone on with."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ovsam.data.crops import Batch, SquareConfig, Squares
from ovsam.errors import AnnotationError
from ovsam.model.ovsam import OVSAM
from ovsam.train import lite
from ovsam.train.lite import LiteData, LiteTrainConfig, LiteTrainer, read_data
from photo_folder import HELD_OUT, write_folder
from tiny_model import TEXT_DIM, tiny_model

CONFIG = LiteTrainConfig(steps=4, warm_up=1, save_every=2)
SQUARE = SquareConfig(64, count=2, prompts=3, named=1, boxes=0.6, zoomed=0.7, whole=0.1, pasted=0.3)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> LiteData:
    return read_data(write_folder(tmp_path_factory.mktemp("photos")))


@pytest.fixture(autouse=True)
def small_squares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite, "ZOOMED", SQUARE)
    monkeypatch.setattr(lite, "CLICKED", replace(SQUARE, prompts=1, boxes=0, clicked=1))
    monkeypatch.setattr(lite, "WHOLE", replace(SQUARE, size=128, zoomed=0, whole=1))
    monkeypatch.setattr(lite, "CYCLE", ("box", "click", "whole"))
    monkeypatch.setattr(lite, "LOG_EVERY", 1)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are drawn in this process: no worker has to start."""

    def batches(self: LiteTrainer) -> Iterator[Batch]:
        names = list(self.data.vocabularies)
        drawn = Squares(self.data.sources, names, SQUARE, self.config.seed, self.config.steps)
        for step in range(self.step, self.config.steps):
            yield drawn[step]

    monkeypatch.setattr(LiteTrainer, "_batches", batches)


def trainer(
    data: LiteData, folder: Path, config: LiteTrainConfig = CONFIG, model: OVSAM | None = None
) -> LiteTrainer:
    torch.manual_seed(0)
    prototypes = {
        name: F.normalize(torch.randn(len(classes), 2, TEXT_DIM), dim=-1)
        for name, classes in data.vocabularies.items()
    }
    return LiteTrainer(model or tiny_model(), data, prototypes, config, folder)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open() as file:
        return list(csv.DictReader(file))


# The photos


def test_held_out_photos_are_never_read(data: LiteData) -> None:
    """They are spoilt, so that reading one would have raised."""
    paths = [record.path for records, _ in data.sources for record in records]
    assert len(paths) == 2 + 1 + 2 + 1 + 2
    assert not [path for path in paths if any(part in str(path) for part in HELD_OUT)]
    assert all(path.exists() for path in paths)


def test_what_is_read(data: LiteData) -> None:
    assert {name: len(classes) for name, classes in data.vocabularies.items()} == {
        "coco": 80,
        "clothing": 2,
        "imagenet1k": 1000,
    }
    assert data.vocabularies["clothing"] == (("shirt",), ("person",))
    assert sum(share for _, share in data.sources) == pytest.approx(1)
    _, (clothing, _), *_ = data.sources
    assert [instance.whole for instance in clothing[0].instances] == [False, True]


def test_data_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "ecssd").mkdir()
    with pytest.raises(AnnotationError, match=r"lacks coco_sample, clothing, bsds500, imagenet"):
        read_data(tmp_path)


# The run


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_run_from_photos_to_weights(data: LiteData, tmp_path: Path) -> None:
    """With the worker process, squares around clicks, and whole photos."""
    model = tiny_model()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    run = trainer(data, tmp_path, model=model)
    averaged = run.run()
    assert run.step == 4
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert averaged.keys() == trained
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert changed <= trained
    for part in ("adapter", "prompt_encoder", "mask_decoder", "high_resolution", "region_head"):
        assert any(name.startswith(part) for name in changed)
    for name, average in averaged.items():
        assert torch.isfinite(average).all()
        # An average of the weights on the way lies between where they began and where they are.
        distance = (average - before[name]).norm() + (average - model.get_parameter(name)).norm()
        assert distance <= 4 * CONFIG.steps * CONFIG.learning_rate * average.numel() ** 0.5
    assert json.loads((tmp_path / "config.json").read_text())["steps"] == 4
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["step"] == 4
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.usefixtures("here")
def test_the_loss_falls_on_one_batch(
    data: LiteData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = LiteTrainConfig(steps=30, learning_rate=3e-3, warm_up=1, save_every=1000)
    fixed = Squares(data.sources, list(data.vocabularies), SQUARE, seed=0, length=1)[0]

    def batches(self: LiteTrainer) -> Iterator[Batch]:
        yield from [fixed] * (self.config.steps - self.step)

    monkeypatch.setattr(LiteTrainer, "_batches", batches)
    trainer(data, tmp_path, config).run()
    log = rows(tmp_path)
    assert [int(row["step"]) for row in log] == list(range(1, 31))
    boxes = [float(row["box"]) for row in log if row["box"] != "nan"]
    assert len(boxes) == 10
    assert boxes[-1] < 0.8 * boxes[0]
    assert float(log[-1]["name"]) < 0.9 * float(log[0]["name"])
    rates = [float(row["learning_rate"]) for row in log][1:]
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 0.05 * config.learning_rate


class Interrupted(Exception):
    pass


@pytest.mark.usefixtures("here")
def test_an_interrupted_run_goes_on_where_it_was_saved(
    data: LiteData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = trainer(data, tmp_path / "straight").run()
    draw = Squares.__getitem__
    drawn: list[int] = []
    seen: list[dict[str, Tensor]] = []

    def interrupted(self: Squares, index: int) -> Batch:
        drawn.append(index)
        if drawn == [0, 1, 2, 3]:
            raise Interrupted
        return draw(self, index)

    monkeypatch.setattr(Squares, "__getitem__", interrupted)
    first = trainer(data, tmp_path / "run")
    with pytest.raises(Interrupted):
        first.run()
    assert first.step == 3
    drawn.clear()
    fresh, frozen = tiny_model(seed=9), tiny_model().state_dict()
    for name, parameter in fresh.named_parameters():
        if parameter.requires_grad:
            del frozen[name]
    fresh.load_state_dict(frozen, strict=False)
    second = trainer(data, tmp_path / "run", model=fresh)
    saved = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    assert saved["step"] == 2
    update = LiteTrainer._update

    def watched(self: LiteTrainer, total: Tensor) -> None:
        seen.append({name: p.detach().clone() for name, p in self.parameters.items()})
        update(self, total)

    monkeypatch.setattr(LiteTrainer, "_update", watched)
    averaged = second.run()
    assert drawn == [2, 3]
    assert second.step == 4
    for name, weights in saved["parameters"].items():  # it began with the saved weights
        torch.testing.assert_close(seen[0][name], weights)
    assert max(entry["step"] for entry in second.optimizer.state.values()) == 4
    for name, weights in straight.items():  # and ended, to the last bit, as if nothing had happened
        assert torch.equal(averaged[name], weights), name
    assert (tmp_path / "run/log.csv").read_text() == (tmp_path / "straight/log.csv").read_text()


@pytest.mark.usefixtures("here")
def test_a_finished_run_is_not_run_again(data: LiteData, tmp_path: Path) -> None:
    averaged = trainer(data, tmp_path).run()
    again = trainer(data, tmp_path, model=tiny_model(seed=9)).run()
    for name, average in averaged.items():
        torch.testing.assert_close(again[name], average)


@pytest.mark.usefixtures("here")
def test_a_loss_that_is_not_finite_stops_the_run(data: LiteData, tmp_path: Path) -> None:
    model = tiny_model()
    with torch.no_grad():
        model.mask_decoder.mask_tokens.weight.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="The loss is not finite at step 0"):
        trainer(data, tmp_path, model=model).run()
    assert not (tmp_path / "state.pt").exists()
