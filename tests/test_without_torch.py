"""What a plain installation does, which has no torch: all of `lite`; and what it says of the rest.

The packages of the extras are hidden from processes of their own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovsam.extras import install_line
from ovsam.model.checkpoint import save_checkpoint
from ovsam.model.presets import MODELS
from test_imports import FILES, SOURCE, assert_loads_nothing_heavy

EXAMPLES = SOURCE.parent.parent / "examples"
HIDDEN = """
import sys

class Hidden:
    names = ("torch", "torchvision", "open_clip", "timm", "onnxscript", "lightning_fabric",
             "tensorboard", "matplotlib")

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
"""
COMMANDS = """
import json
from typer.testing import CliRunner
from ovsam.cli.app import app

said = []
for arguments in json.loads(sys.argv[1]):
    result = CliRunner().invoke(app, arguments)
    said.append([result.exit_code, result.stdout, result.stderr])
print(json.dumps(said))
"""


def run_hidden(code: str, folder: Path, *arguments: str) -> str:
    """Runs code in a folder, in a process that finds none of the packages; what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE.parent), "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(
        [sys.executable, "-c", HIDDEN + code, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def commands(folder: Path, *those: list[str]) -> list[Any]:
    """For each command its exit code, output and errors."""
    said: list[Any] = json.loads(run_hidden(COMMANDS, folder, json.dumps(those)))
    return said


def write_many(folder: Path) -> None:
    """Four times the same photo with objects enough to calibrate with, as many.json."""
    content = json.loads((EXAMPLES / "annotations.json").read_text())
    [image, *_], [row, *_] = content["images"], content["annotations"]
    images = [{**image, "id": i, "file_name": f"{i}.png"} for i in range(1, 5)]
    for each in images:
        shutil.copy(EXAMPLES / image["file_name"], folder / each["file_name"])
    rows = [{**row, "id": i, "image_id": i // 10 + 1} for i in range(40)]
    many = {**content, "images": images, "annotations": rows}
    (folder / "many.json").write_text(json.dumps(many))


def test_lite_does_all_its_work(tmp_path: Path) -> None:
    annotations, photo = str(EXAMPLES / "annotations.json"), str(EXAMPLES / "chelsea.png")
    done = commands(
        tmp_path,
        ["segment", photo, "--box", "0,0,395,300", "--json", "found.json", "-o", "found.png"],
        ["segment", photo, "--point", "180,150", "--vocabulary", "tabby cat, quokka"],
        ["evaluate", annotations, "--images", str(EXAMPLES), "--limit", "1"],
        ["evaluate", annotations, "--images", str(EXAMPLES), "--clicks", "2"],
        ["vocabulary", "search", "tabby"],
        ["models"],
        ["demo", "--help"],
    )
    assert [code for code, _, _ in done] == [0] * len(done), done
    [found] = json.loads((tmp_path / "found.json").read_text())["objects"]
    assert found["labels"][0]["name"] == "cat"
    assert "tabby cat" in done[1][1]


@pytest.mark.long
def test_lite_is_calibrated(tmp_path: Path) -> None:
    write_many(tmp_path)
    done = commands(
        tmp_path,
        ["calibrate", "many.json", "--images", ".", "-o", "calibrated.safetensors"],
        ["segment", "1.png", "--point", "180,150", "--model", "calibrated.safetensors"],
    )
    assert [code for code, _, _ in done] == [0, 0], done


def test_what_needs_torch_says_so_in_a_sentence_before_anything_is_done(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "mine.safetensors", {"a": np.zeros(1)}, MODELS["rn50x16"])
    photo = str(EXAMPLES / "chelsea.png")
    before = sorted(tmp_path.iterdir())
    for_torch = [
        ["convert", "out.safetensors", "--sam", "gone.pth"],
        ["complexity", "gone"],
        ["detect", "gone", "gone.json", "--weights", "gone.pth", "-o", "out.json"],
        ["export", "gone", "-o", "out"],
        ["cache-features", "gone", "-o", "out"],
        ["segment", photo, "--point", "5,5", "--model", "sam-b"],
        ["segment", photo, "--point", "5,5", "--model", "mine.safetensors"],
        ["segment", photo, "--point", "5,5", "--model", "lite-feature-crop"],
        ["segment", photo, "--point", "5,5", "--model", "lite@torch"],
        ["segment", photo, "--point", "5,5", "--device", "cuda"],
        ["models", "fetch", "sam-b"],
    ]
    for_training = [
        ["train", "finetune", "--data", "gone"],
        ["distill", "sam2clip-lite", "--data", "gone"],
    ]
    said = commands(tmp_path, *for_torch, *for_training)
    lines = [install_line("ovsam[torch]")] * len(for_torch)
    lines += [install_line("ovsam[train]")] * len(for_training)
    for arguments, (code, out, errors), line in zip(
        for_torch + for_training, said, lines, strict=True
    ):
        assert code == 1 and out == "", arguments
        assert errors.startswith("error: ") and errors.count("\n") == 1, errors
        assert " torch" in errors and f" not installed. Run `{line}`, then try again." in errors
    assert sorted(tmp_path.iterdir()) == before


def test_templates_of_clip_are_missed_in_a_sentence(tmp_path: Path) -> None:
    run_hidden(
        """
from ovsam.errors import OvsamError
from ovsam.text.encoder import openai_templates, simple_templates
for templates in (openai_templates, simple_templates):
    try:
        templates()
    except OvsamError as error:
        assert "needs open-clip, which is not installed" in str(error), error
    else:
        raise AssertionError
""",
        tmp_path,
    )


def test_all_that_measures_and_serves_can_be_imported(tmp_path: Path) -> None:
    rooms = ("evaluate", "web", "jobs", "formats", "text", "vocabulary", "cli")
    modules = [m for m in FILES if m.partition(".")[0] in rooms and m != "evaluate.detector"]
    assert len(modules) > 60
    names = ", ".join(f"ovsam.{module}" for module in modules)
    run_hidden(f"import ovsam.sam, ovsam.predictor.load, {names}", tmp_path)


LITE = """
import os, sys
import ovsam
predictor = ovsam.load("lite", cache_dir={cache!r})
photo = predictor.encode(ovsam.read_photo({photo!r}))
for prompt in (ovsam.Prompt(box_xyxy=[0, 0, 395, 300]), ovsam.Prompt(points_xy=[[180, 150]])):
    for words in {vocabularies!r}:
        [found] = predictor.predict(photo, prompt, vocabulary=words)
        assert found.masks.any()
        print(words, found.name)
"""


@pytest.mark.parametrize(
    "vocabularies",
    [
        ["coco", "numbat, tabby cat, gearstick"],
        pytest.param(["22k"], marks=pytest.mark.long),
    ],
    ids=["short and new", "long"],
)
def test_lite_loads_no_torch_where_it_is_installed(vocabularies: list[str], tmp_path: Path) -> None:
    photo = str(EXAMPLES / "chelsea.png")
    assert_loads_nothing_heavy(
        LITE.format(cache=str(tmp_path), photo=photo, vocabularies=vocabularies)
    )
