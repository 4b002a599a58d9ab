"""Runs of the commands that train, killed at any moment: each is a process that ends by itself.

A parent that has imported everything forks a child for each run, so that a moment is one of the
work and not of the imports.
"""

from __future__ import annotations

import contextlib
import csv
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

import ovsam.train.run
from ovsam.cli.app import app
from ovsam.train import cache_writer, teacher
from photo_folder import write_folder

IMPORTED = (ovsam.train.run, cache_writer, teacher)  # before the fork
RECIPE = """
stage = "{stage}"
model = "lite"
{more}

[start]
checkpoint = "lite"
reinitialise = {reinitialise}

[[data]]
path = "{path}"

[engine]
steps = 6
clip = 5.0
precision = "32-true"
workers = 0
log_every = 1
save_every = 1
schedule = {{ peak = 1e-3, warm_up = 1 }}
"""
LABEL = RECIPE.format(
    stage="label",
    more="batch = 2\nscene = { size = 64, min_area = 4 }\nprompts = { count = 2 }",
    reinitialise='["region_head"]',
    path='coco_sample/annotations/instances_train2017.json"\nimages = "coco_sample/train2017',
)
DISTILL = RECIPE.format(
    stage="distill",
    more='teacher = "lite"\nimage_size = 64\nbatch = 1',
    reinitialise='["adapter"]',
    path="bsds500/train.txt",
)
COMMANDS = {
    "train": "train label.toml --data . -o {output}",
    "distill": "distill distill.toml --data . -o {output}",
    "cache-features": "cache-features photos --teacher lite --size 64 --shard 1 -o {output} --yes",
}


def prepare(folder: Path) -> None:
    """Data and recipes for all three; works in that folder from then on."""
    write_folder(folder)
    (folder / "photos" / "a").mkdir(parents=True)
    for i in range(8):
        Image.new("RGB", (60, 40), (i, 90, 200 - i)).save(folder / "photos" / "a" / f"{i}.png")
    (folder / "label.toml").write_text(LABEL)
    (folder / "distill.toml").write_text(DISTILL)
    os.chdir(folder)


def forked(command: str, seconds: float | None = None) -> int:
    """A run's exit code, negative if a signal ended it: SIGKILL after so many seconds."""
    process = os.fork()
    if not process:
        code = 99
        try:
            result = CliRunner().invoke(app, command.split())
            code = result.exit_code
            if code:
                sys.stderr.write(f"{result.output}{result.exception}\n")
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    if seconds is not None:
        time.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status)


def results(output: Path) -> dict[str, object]:
    """All that a run must end with, whatever happened to it."""
    found: dict[str, object] = {}
    for path in sorted(output.glob("*.safetensors")):
        for name, tensor in load_file(path).items():
            found[f"{path.name} {name}"] = tensor.view(torch.uint8).numpy().tobytes()
    # TensorBoard begins a file each time.
    paths = [path for path in output.rglob("*") if "tensorboard" not in path.parts]
    found["files"] = sorted(str(path.relative_to(output)) for path in paths)
    log = output / "log.csv"
    if log.exists():
        with log.open() as file:
            pace = ("images_per_second", "memory_gb")
            rows = list(csv.DictReader(file))
        found["log"] = [{k: v for k, v in row.items() if k not in pace} for row in rows]
    return found


def kill_at_random(name: str, kills: int, seed: int) -> None:
    """Kill a command so many times, each run of it up to three times before it may end.

    Raises:
        AssertionError: what it ended with is not what a straight run ends with.
    """
    command, random_ = COMMANDS[name], random.Random(seed)
    began = time.monotonic()
    assert forked(command.format(output="straight")) == 0
    length = time.monotonic() - began
    expected = results(Path("straight"))
    assert len(expected) > 3
    killed = 0
    while killed < kills:
        output = Path("killed")
        for _ in range(random_.randint(1, 3)):
            code = forked(command.format(output=output), random_.random() * length)
            assert code in (0, -signal.SIGKILL), code
            killed += code < 0  # else it had ended before
        assert forked(command.format(output=output)) == 0
        found = results(output)
        different = [k for k in expected.keys() | found.keys() if expected.get(k) != found.get(k)]
        assert not different, (different, found["files"])
        shutil.rmtree(output)
        sys.stdout.write(f"{name}: killed {killed} times\n")
        sys.stdout.flush()


def main(arguments: Sequence[str]) -> None:
    """Arguments: a folder that is made, the command, kills, seed."""
    folder, name, kills, seed = arguments
    torch.set_num_threads(1)
    Path(folder).mkdir(parents=True)
    prepare(Path(folder))
    kill_at_random(name, int(kills), int(seed))


if __name__ == "__main__":
    main(sys.argv[1:])
