"""`ovsam export`, with graphs that are made already: those that ship, and a tiny model's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli.commands import Run, assert_error
from exported import take_shipped_graphs
from ovsam.hub import SHIPPED
from ovsam.model.onnx_files import GRAPHS
from ovsam.model.safetensors_file import SafetensorsFile

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracing takes a minute."""
    take_shipped_graphs(monkeypatch)


@pytest.mark.usefixtures("fast")
def test_what_it_writes_is_a_model_like_any_other(run: Run) -> None:
    result = run("export", "lite", "-o", "out", "--precision", "float16")
    assert result.exit_code == 0, result.output
    assert [f"exporting the {name} ..." in result.stderr for name in GRAPHS] == [True] * 4
    written = sum(path.stat().st_size for path in Path("out").iterdir())
    assert result.stdout == f"wrote out: {written / 1e6:.1f} MB\n"
    assert {path.name for path in Path("out").iterdir()} == {
        *(f"{name}.onnx" for name in GRAPHS),
        *("model.json", "names.safetensors"),
    }
    assert json.loads(Path("out/model.json").read_text())["precision"] == "float16"
    with SafetensorsFile(SHIPPED) as file:
        names = file.header.metadata["text_names"]
    with SafetensorsFile(Path("out/names.safetensors")) as file:
        assert file.header.metadata["text_names"] == names

    answers: dict[str, Any] = {}
    for model in ("out", "lite"):
        box = ["--box", "0,0,395,300", "--json", f"{model}.json", "--vocabulary", "cat, quokka"]
        result = run("segment", str(EXAMPLES / "chelsea.png"), "--model", model, *box)
        assert result.exit_code == 0, result.output
        [answers[model]] = json.loads(Path(f"{model}.json").read_text())["objects"]
    ours, theirs = answers["out"], answers["lite"]
    assert ours["labels"][0]["name"] == "cat"
    assert ours["labels"][0]["score"] == pytest.approx(theirs["labels"][0]["score"], abs=0.01)
    assert ours["mask_score"] == pytest.approx(theirs["mask_score"], abs=0.01)

    assert_error(run("export", "out", "-o", "again"), "'out' is exported already")
    assert_error(run("export", "lite", "-o", "out"), "'out' is there already")
    wanted = run("segment", "photo.jpg", "--model", "out@torch", "--point", "5,5")
    assert_error(wanted, "'out' was exported for ONNX Runtime: leave backend out", code=2)


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["lite-image-crop"], "'lite-image-crop' cannot be exported: expected a model with an", 1),
        (["no-such-model"], "Unknown model 'no-such-model'", 2),
        (["gone.safetensors"], "gone.safetensors", 1),
        (["lite", "--vocabulary", "gone.txt"], "gone.txt", 1),
    ],
)
def test_what_cannot_be_exported(arguments: list[str], message: str, code: int, run: Run) -> None:
    assert_error(run("export", *arguments, "-o", "out"), message, code)
    assert not Path("out").exists()


def test_a_folder_that_is_there_is_refused_before_the_work(run: Run) -> None:
    Path("out").mkdir()
    assert_error(run("export", "lite", "-o", "out"), "'out' is there already: give a folder that")
    assert not list(Path("out").iterdir())


def test_a_precision_that_is_none(run: Run) -> None:
    result = run("export", "lite", "-o", "out", "--precision", "int8")
    assert result.exit_code == 2 and "float32" in result.stderr
