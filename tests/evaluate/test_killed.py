"""An evaluation that is killed again and again ends with the report of one that never was."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

PHOTOS = 12
KILLS = 10
# The report of a run with a predictor that takes its time; the last line of what it prints.
RUN = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from fakes import FakePredictor
from ovsam.formats.coco import read_annotations
from ovsam.evaluate.instances import evaluate
from ovsam.jobs.run import Job

class Slow(FakePredictor):
    def encode(self, image):
        time.sleep(0.05)
        return super().encode(image)

print("begun", flush=True)
root = Path(sys.argv[2])
report = evaluate(
    Slow().as_predictor(), read_annotations(root / "ground_truth.json"), root, prompts="noisy-box",
    job=Job(Path(sys.argv[3]) if len(sys.argv) > 3 else None),
).as_dict()
del report["seconds"]
print(json.dumps(report, allow_nan=False))
"""


def begun(*arguments: Any) -> subprocess.Popen[str]:
    """A run that has loaded all that it needs."""
    tests = Path(__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(tests), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def report_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    printed, _ = process.communicate()
    assert process.returncode == 0
    content: dict[str, Any] = json.loads(printed)
    return content


@pytest.fixture
def root(tmp_path: Path) -> Path:
    images, annotations = [], []
    rng = np.random.default_rng(0)
    for i in range(PHOTOS):
        Image.fromarray(rng.integers(0, 255, (40, 60, 3), np.uint8)).save(tmp_path / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": 60, "height": 40})
        x, y = rng.integers(0, 20, 2).tolist()
        annotations.append(
            {
                "id": i,
                "image_id": i,
                "category_id": 1,
                "bbox": [x, y, 30, 15],
                "segmentation": [[x, y, x + 30, y, x + 30, y + 15, x, y + 15]],
            }
        )
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "cat"}],
    }
    (tmp_path / "ground_truth.json").write_text(json.dumps(content))
    return tmp_path


@pytest.mark.long
def test_killed_again_and_again(root: Path) -> None:
    expected = report_of(begun(root))
    journal, rng = root / "run.jsonl", random.Random(0)
    for _ in range(KILLS):
        process = begun(root, journal)
        try:
            process.wait(rng.uniform(0, 0.2))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert process.stdout is not None
        process.stdout.close()
        if journal.exists() and rng.random() < 0.3:  # the power fails: the end is lost
            kept = journal.read_bytes()
            head = kept.index(b"\n") + 1
            journal.write_bytes(kept[: max(head, len(kept) - rng.randrange(400))])
    assert report_of(begun(root, journal)) == expected
    assert len(journal.read_bytes().splitlines()) == 1 + PHOTOS
    assert [path.name for path in root.iterdir() if path.name.startswith(".")] == []


@pytest.mark.long
def test_two_at_once_are_one_and_a_refusal(root: Path) -> None:
    journal = root / "run.jsonl"
    processes = [begun(root, journal) for _ in range(2)]
    ended = [process.wait() for process in processes]
    for process in processes:
        assert process.stdout is not None
        process.stdout.close()
    assert 0 in ended
    assert report_of(begun(root, journal)) == report_of(begun(root))
