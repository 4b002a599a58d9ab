"""The loop: what a step does, and that killing, resuming and spreading a run change nothing."""

from __future__ import annotations

import csv
import logging
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor

from ovsam.errors import TrainingError
from ovsam.formats.skipped import Skipped
from ovsam.train.logger import RunLogger
from ovsam.train.loop import Engine
from ovsam.train.settings import ScheduleSettings, rate_share
from train.toy_stage import ToyBatch, ToyBatches, ToyStage, run_toy, toy_settings

TESTS = Path(__file__).parent.parent
SCRIPT = [str(TESTS / "train" / "toy_stage.py")]


def start(arguments: list[str], processes: int = 1) -> subprocess.CompletedProcess[str]:
    """The toy run in processes of its own."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{TESTS.parent / 'src'}{os.pathsep}{TESTS}",
        "OMP_NUM_THREADS": "1",
    }
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(launcher if processes > 1 else []), *SCRIPT, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def last_weights(folder: Path, name: str = "averaged.pt") -> dict[str, Tensor]:
    newest = sorted((folder / "checkpoints").iterdir())[-1]
    weights: dict[str, Tensor] = torch.load(newest / name, weights_only=True)["model"]
    return weights


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open() as file:
        return list(csv.DictReader(file))


# The precision


@pytest.mark.parametrize(("native", "chosen"), [(True, "bf16-mixed"), (False, "32-true")])
def test_half_the_bits_only_where_the_processor_has_instructions_for_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, native: bool, chosen: str
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    settings = replace(toy_settings(), device="cpu", precision="auto")
    assert Engine(settings, tmp_path).settings.precision == chosen
    asked = Engine(replace(settings, precision="32-true"), tmp_path).settings
    assert asked.precision == "32-true"


# The schedule


def test_warm_up_reaches_the_peak_with_its_last_step() -> None:
    settings = ScheduleSettings(peak=1.0, warm_up=5, warm_up_from=0.2, decay="drops", drops=(0.9,))
    shares = [rate_share(step, 100, settings) for step in range(7)]
    assert shares == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0])


def test_cosine_ends_where_it_is_set() -> None:
    settings = ScheduleSettings(peak=1.0, warm_up=0, end=0.1)
    assert rate_share(0, 100, settings) == pytest.approx(1)
    assert rate_share(50, 100, settings) == pytest.approx(0.55)
    assert rate_share(99, 100, settings) == pytest.approx(0.1, abs=1e-3)


def test_drops_of_the_papers_second_stage() -> None:
    settings = ScheduleSettings(peak=1.0, warm_up=0, decay="drops", drops=(8 / 12, 11 / 12))
    epochs = [rate_share(epoch, 12, settings) for epoch in range(12)]
    assert epochs == pytest.approx([1.0] * 8 + [0.1] * 3 + [0.01])


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


def test_only_what_is_trained_is_saved(tmp_path: Path) -> None:
    run_toy(tmp_path)
    saved = last_weights(tmp_path, "state.pt")
    assert saved.keys() == {
        f"{part}.{kind}" for part in ("hidden", "norm", "out") for kind in ("weight", "bias")
    }
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["00000006", "00000008"]


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


def test_a_half_written_checkpoint_is_not_believed(tmp_path: Path) -> None:
    run_toy(tmp_path, toy_settings(steps=8, save_every=4))
    newest = tmp_path / "checkpoints" / "00000008"
    newest.rename(newest.with_suffix(".tmp"))
    (newest.with_suffix(".tmp") / "state.pt").write_bytes(b"half")
    again = run_toy(tmp_path, toy_settings(steps=8, save_every=4))
    straight = run_toy(tmp_path.with_name("straight"), toy_settings(steps=8, save_every=4))
    for name, weights in straight.averaged.items():
        assert torch.equal(again.averaged[name], weights)


def flip(path: Path) -> None:
    """A bit of a weight."""
    weight = torch.load(path, weights_only=True)["model"]["hidden.weight"]
    content = bytearray(path.read_bytes())
    content[content.index(weight.numpy().tobytes())] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        *((flip, name) for name in ("state.pt", "averaged.pt")),
        *((cut, name) for name in ("state.pt", "averaged.pt", "about.json")),
        *((empty, name) for name in ("state.pt", "averaged.pt", "about.json")),
        *((Path.unlink, name) for name in ("state.pt", "averaged.pt", "about.json")),
    ],
)
def test_of_damaged_checkpoints_the_one_before_is_gone_on_from(
    damage: Callable[[Path], None], name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Torch's own reader takes a flipped bit for the number that it makes."""
    settings = toy_settings(steps=8, save_every=4)
    straight = run_toy(tmp_path, settings)
    newest = tmp_path / "checkpoints" / "00000008"
    damage(newest / name)
    again = run_toy(tmp_path, settings)
    assert f"'{newest}' cannot be read (" in caplog.text
    for key, weights in straight.averaged.items():
        assert torch.equal(again.averaged[key], weights)
    cut(newest / "state.pt")
    cut(newest.with_name("00000004") / "state.pt")
    with pytest.raises(TrainingError, match=r"^No checkpoint in .* can be read\. Delete that"):
        run_toy(tmp_path, settings)


def test_one_run_at_a_time_in_a_folder(tmp_path: Path) -> None:
    """Its lock ends with the process, and is no file."""
    script = (
        "import sys, time; from pathlib import Path; from ovsam.train.folder_lock import alone_in\n"
        "with alone_in(Path(sys.argv[1])): print('held', flush=True); time.sleep(3600)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(TrainingError, match=r"^Another run is going on in .*\. Wait for it"):
            run_toy(tmp_path)
        assert not list(tmp_path.iterdir())
    finally:
        other.kill()
        other.communicate()
    assert run_toy(tmp_path).averaged
    assert run_toy(tmp_path).averaged, "nor does a run in this process leave it held"


def test_a_full_disk_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch's writer says that it failed, not why; what the disk then takes is gone on with."""
    settings = toy_settings(steps=8, save_every=4)
    straight = run_toy(tmp_path / "straight", settings)
    save = Fabric.save

    def full(self: Fabric, path: Path, *arguments: Any, **options: Any) -> None:
        if path.parent.name.startswith("00000008"):
            path.write_bytes(b"half")
            raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64")
        save(self, path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Fabric, "save", full)
        with pytest.raises(OSError, match=r"cannot be written, perhaps for lack of space"):
            run_toy(tmp_path / "full", settings)
    assert [path.name for path in checkpoints(tmp_path / "full")] == ["00000004"]
    again = run_toy(tmp_path / "full", settings)
    for name, weights in straight.averaged.items():
        assert torch.equal(again.averaged[name], weights)


def checkpoints(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "checkpoints").iterdir() if path.suffix != ".tmp")


def test_a_finished_run_gives_its_weights_again(tmp_path: Path) -> None:
    first, again = run_toy(tmp_path), run_toy(tmp_path, killed_at=0)
    for name, weights in first.averaged.items():
        assert torch.equal(again.averaged[name], weights)


def test_another_runs_folder_is_refused(tmp_path: Path) -> None:
    run_toy(tmp_path)
    with pytest.raises(TrainingError, match=r"a run with another seed \(0 there, 1 now\), steps"):
        run_toy(tmp_path, toy_settings(steps=9, seed=1))
    assert run_toy(tmp_path, toy_settings(log_every=1)).averaged


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


def test_tensorboard_shows_each_step_once(tmp_path: Path) -> None:
    """The run stops after rows that its last checkpoint does not know of."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = toy_settings(save_every=4, log_every=1)
    with pytest.raises(TrainingError, match="Step 6 is not finite"):
        Engine(settings, tmp_path).fit(ToyStage(), ToyBatches(nan_from=6))
    Engine(settings, tmp_path).fit(ToyStage(), ToyBatches())
    shown = EventAccumulator(str(tmp_path / "tensorboard"))
    shown.Reload()
    steps = [event.step for event in shown.Scalars("loss/fit")]
    assert steps == list(range(1, settings.steps + 1))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_gpu_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"engine\.device is cuda, and PyTorch finds no CUDA"):
        Engine(toy_settings(device="cuda"), tmp_path)


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


def test_what_no_run_has_made_stays(tmp_path: Path) -> None:
    """A run's folder may be one of photos, which lie in `pictures`."""
    mine = tmp_path / "pictures" / "holiday.png"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    (tmp_path / "pictures" / "00000040.png").write_bytes(b"of a run that left no checkpoint")
    RunLogger(tmp_path, ["toy"]).begin()
    assert [path.name for path in mine.parent.iterdir()] == ["holiday.png"]


@pytest.mark.parametrize(
    "torn",
    ["", "step,learning_rate\n10,1e-3\n20,1e", "step,learning_rate\n10,1e-3\nx\n\0\n20,1e"],
)
def test_a_log_that_was_cut_short_is_gone_on_with(tmp_path: Path, torn: str) -> None:
    (tmp_path / "log.csv").write_text(torn)
    logger = RunLogger(tmp_path, ["toy"])
    logger.forget_after(10)
    logger.write(20, 1e-3, {"toy": 0.5}, 1.0, 0.0)
    steps = [row.partition(",")[0] for row in (tmp_path / "log.csv").read_text().splitlines()]
    assert steps == (["step", "10", "20"] if torn else ["step", "20"])
