"""What a checkpoint holds, which one is gone on from, and which is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric

from ovsam.errors import TrainingError
from ovsam.train.loop import Engine
from train.toy_stage import (
    ToyBatches,
    ToyStage,
    last_weights,
    run_toy,
    toy_settings,
)


def test_only_what_is_trained_is_saved(tmp_path: Path) -> None:
    run_toy(tmp_path)
    saved = last_weights(tmp_path, "state.pt")
    assert saved.keys() == {
        f"{part}.{kind}" for part in ("hidden", "norm", "out") for kind in ("weight", "bias")
    }
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["00000006", "00000008"]


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


def test_settings_that_were_renamed_since_the_run_began_are_the_same(tmp_path: Path) -> None:
    """A run folder of before the names of recipes were changed goes on."""
    now = {
        "refinement_weight": "0.3",
        "start": json.dumps({"checkpoint": "lite", "reinitialise": ["adapter"]}),
    }
    batches, settings = ToyBatches(), toy_settings(save_every=4)
    with pytest.raises(TrainingError, match="Step 6 is not finite"):
        Engine(settings, tmp_path).fit(ToyStage(), ToyBatches(nan_from=6), decided_by=now)
    about = tmp_path / "checkpoints/00000004/about.json"
    text = about.read_text().replace("refinement_weight", "again").replace("reinitialise", "anew")
    about.write_text(text)
    other = {**now, "refinement_weight": "0.5"}
    with pytest.raises(
        TrainingError, match=r"another refinement_weight \(0\.3 there, 0\.5 now\)\."
    ):
        Engine(settings, tmp_path).fit(ToyStage(), batches, decided_by=other)
    resumed = Engine(settings, tmp_path).fit(ToyStage(), batches, decided_by=now)
    straight = Engine(settings, tmp_path / "straight").fit(ToyStage(), batches, decided_by=now)
    for name, weights in straight.averaged.items():
        assert torch.equal(resumed.averaged[name], weights)
