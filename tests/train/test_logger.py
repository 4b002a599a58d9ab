"""The log of a run, and what of it is kept when the run goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovsam.errors import TrainingError
from ovsam.train.logger import RunLogger
from ovsam.train.loop import Engine
from train.toy_stage import (
    ToyBatches,
    ToyStage,
    toy_settings,
)


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
