"""The loop: what a step does, and that killing, resuming and spreading a run change nothing."""

from __future__ import annotations

import logging
import math
import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ovsam.errors import TrainingError
from ovsam.formats.skipped import Skipped
from ovsam.train.loop import Engine
from ovsam.train.settings import rate_share
from train.toy_stage import (
    ToyBatch,
    ToyBatches,
    ToyStage,
    last_weights,
    rows,
    run_toy,
    start,
    toy_settings,
)

# One run


def test_a_step_is_adamws_with_the_clipped_gradient(tmp_path: Path) -> None:
    """Worked out again with torch alone."""
    settings = toy_settings(steps=3, save_every=3, clip=0.05)
    result = run_toy(tmp_path, settings)
    stage, batches = ToyStage(), ToyBatches()
    trained = {n: p for n, p in stage.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in trained.values() if p.ndim > 1], "weight_decay": 0.05},
            {"params": [p for p in trained.values() if p.ndim <= 1], "weight_decay": 0.0},
        ]
    )
    passed: list[dict[str, Tensor]] = []
    for step in range(3):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * rate_share(step, 3, settings.schedule)
        optimizer.zero_grad()
        losses = stage.losses(batches[step])
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(trained.values(), 0.05)
        assert norm > 0.05, "the clip must matter for this test"
        optimizer.step()
        passed.append({name: p.detach().clone() for name, p in trained.items()})
    assert result.averaged.keys() == trained.keys()
    for name, mean in result.averaged.items():
        # To the power of 2, as steps go on one by one: (1 - 1/2)² and (1 - 1/3)² are kept.
        half = 1 / 4 * passed[0][name] + 3 / 4 * passed[1][name]
        torch.testing.assert_close(mean, 4 / 9 * half + 5 / 9 * passed[2][name])
    for name, weights in last_weights(tmp_path, "state.pt").items():
        torch.testing.assert_close(weights, trained[name].detach())


def test_the_loss_falls_and_the_record_says_so(tmp_path: Path) -> None:
    run_toy(tmp_path, toy_settings(steps=60, log_every=10))
    log = rows(tmp_path)
    assert [int(row["step"]) for row in log] == [10, 20, 30, 40, 50, 60]
    assert float(log[-1]["fit"]) < 0.5 * float(log[0]["fit"])
    assert float(log[0]["images_per_second"]) > 0
    assert float(log[0]["memory_gb"]) > 0.05
    assert float(log[1]["learning_rate"]) > float(log[-1]["learning_rate"])
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_accumulating_two_is_a_batch_twice_as_large(tmp_path: Path) -> None:
    """The noise term differs: its random numbers belong to a micro-batch, so it is left out."""

    class Quiet(ToyStage):
        def losses(self, batch: ToyBatch) -> dict[str, Tensor]:
            losses = super().losses(batch)
            return {"fit": losses["fit"]}

    twice = Engine(toy_settings(accumulate=2), tmp_path / "a").fit(Quiet(), ToyBatches(size=2))
    large = Engine(toy_settings(), tmp_path / "b").fit(Quiet(), ToyBatches(size=4))
    for name, weights in large.averaged.items():
        torch.testing.assert_close(twice.averaged[name], weights)


# Runs that are stopped


def test_a_killed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    straight = run_toy(tmp_path / "straight")
    killed = start([str(tmp_path / "killed"), "killed_at=5"])
    assert killed.returncode == -signal.SIGKILL
    assert [p.name for p in (tmp_path / "killed" / "checkpoints").iterdir()] == ["00000003"]
    resumed = run_toy(tmp_path / "killed")
    for name, weights in straight.averaged.items():
        assert torch.equal(resumed.averaged[name], weights)
    for name, weights in last_weights(tmp_path / "straight", "state.pt").items():
        assert torch.equal(last_weights(tmp_path / "killed", "state.pt")[name], weights)
    numbers = [
        [(row["step"], row["fit"], row["noise"], row["learning_rate"]) for row in rows(folder)]
        for folder in (tmp_path / "straight", tmp_path / "killed")
    ]
    assert numbers[0] == numbers[1]


# What stops a run


def test_a_loss_that_is_not_finite_names_the_photos(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"Step 4 is not finite \(fit nan.*8\.jpg, 9\.jpg"):
        Engine(toy_settings(), tmp_path).fit(ToyStage(), ToyBatches(nan_from=4))
    for name in ("state.pt", "averaged.pt"):
        assert all(torch.isfinite(value).all() for value in last_weights(tmp_path, name).values())


def test_few_unreadable_photos_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        done = Engine(toy_settings(), tmp_path).fit(ToyStage(), ToyBatches(spoilt=4))
    assert [one.name for one in done.skipped] == [f"spoilt{i}.jpg" for i in range(4)]
    assert caplog.text.count("It is no photo.") == 4


def test_annotations_are_counted_apart_and_before_the_first_step(tmp_path: Path) -> None:
    wrong = tuple(Skipped("a.jpg", f"Annotation {i}: no mask.", annotation=True) for i in range(9))
    done = Engine(toy_settings(), tmp_path / "a").fit(ToyStage(), ToyBatches(skipped=wrong[:8]))
    assert done.skipped == wrong[:8]
    with pytest.raises(TrainingError, match=r"9 of 800 annotations .*, first of 'a\.jpg': Annot"):
        Engine(toy_settings(), tmp_path / "b").fit(ToyStage(), ToyBatches(skipped=wrong))
    assert not (tmp_path / "b/checkpoints").exists()


def test_what_was_skipped_is_remembered(tmp_path: Path) -> None:
    settings = toy_settings(save_every=4)
    with pytest.raises(TrainingError, match="Step 6 is not finite"):
        Engine(settings, tmp_path).fit(ToyStage(), ToyBatches(spoilt=3, nan_from=6))
    done = Engine(settings, tmp_path).fit(ToyStage(), ToyBatches())
    assert [one.name for one in done.skipped] == [f"spoilt{i}.jpg" for i in range(3)]


def test_more_than_a_hundredth_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"5 of 400 photos .*, first of 'spoilt0\.jpg': It"):
        Engine(toy_settings(), tmp_path).fit(ToyStage(), ToyBatches(spoilt=5))


# Several processes


@pytest.mark.long
def test_two_processes_are_one_with_the_doubled_batch(tmp_path: Path) -> None:
    arguments = ["steps=6", "save_every=6"]
    both = start([str(tmp_path / "two"), *arguments, "size=2"], processes=2)
    assert both.returncode == 0, both.stderr[-2000:]
    one = start([str(tmp_path / "one"), *arguments, "size=2", "accumulate=2"])
    assert one.returncode == 0, one.stderr[-2000:]
    weights = last_weights(tmp_path / "two")
    for name, expected in last_weights(tmp_path / "one").items():
        torch.testing.assert_close(weights[name], expected)


@pytest.mark.long
def test_a_sharded_run_saves_resumes_and_agrees(tmp_path: Path) -> None:
    """FSDP over two processes: killed, resumed, and equal to one process."""
    folder, arguments = str(tmp_path / "sharded"), ["steps=6", "save_every=3", "shard=true"]
    killed = start([folder, *arguments, "killed_at=4"], processes=2)
    assert killed.returncode != 0
    assert [p.name for p in (tmp_path / "sharded" / "checkpoints").iterdir()] == ["00000003"]
    resumed = start([folder, *arguments], processes=2)
    assert resumed.returncode == 0, resumed.stderr[-2000:]
    one = start([str(tmp_path / "one"), "steps=6", "save_every=3", "accumulate=2"])
    assert one.returncode == 0, one.stderr[-2000:]
    weights = last_weights(tmp_path / "sharded")
    assert math.isfinite(sum(float(value.sum()) for value in weights.values()))
    for name, expected in last_weights(tmp_path / "one").items():
        torch.testing.assert_close(weights[name], expected)
