"""`ovsam tables` and `ovsam pictures` as a user types them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

import ovsam
from fakes import FakePredictor
from made_run import SET
from ovsam.cli import app as cli
from ovsam.vocabulary.vocabulary import Vocabulary
from photo_folder import write_coco

Run = Callable[..., Any]
TRUTH = ("data/truth.json", "--images", "data/photos")
MADE = ("tables", "run", "--data", "data", "--set", "set.toml")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """In a folder with a set of tables, its data and an empty run folder."""
    monkeypatch.chdir(tmp_path)

    def load(
        name: str,
        *,
        vocabulary: Vocabulary,
        device: str,
        zoom: bool | None = None,
        clean: bool = True,  # noqa: ARG001
    ) -> Any:
        assert device == "cpu"
        return FakePredictor(vocabulary=vocabulary, model_name=name, zoom=bool(zoom))

    def load_any(
        name: str,
        *,
        vocabulary: Any,
        device: str,
        zoom: bool | None = None,
        clean: bool = True,  # noqa: ARG001
    ) -> Any:
        return load(name, vocabulary=ovsam.load_vocabulary(vocabulary), device=device, zoom=zoom)

    monkeypatch.setattr(ovsam, "load", load_any, raising=False)
    Path("set.toml").write_text(SET)
    photos = Path("data/photos")
    write_coco(Path("data/truth.json"), photos, ["person", "cat"], ["1.jpg", "2.jpg", "3.jpg"])
    for folder in ("run/reports/plain", "run/reports/trained", "run/pictures"):
        Path(folder).mkdir(parents=True)
    return lambda *arguments: CliRunner().invoke(cli.app, list(arguments))


def test_from_evaluation_to_page(run: Run) -> None:
    """The commands that --commands prints fill the tables; the trained model cannot be had."""
    result = run(*MADE, "--commands")
    assert result.exit_code == 0, result.output
    assert not Path("run/tables.md").exists()
    lines = [line.partition(" || ")[2].split() for line in result.stdout.splitlines()]
    evaluations = [line[1:] for line in lines if line[:2] == ["ovsam", "evaluate"]]
    assert len(evaluations) == 2
    assert run(*evaluations[0]).exit_code == 0
    result = run(*MADE)
    assert result.exit_code == 0, result.output
    assert sorted(os.listdir("run")) == [
        "pictures", "reports", "table-1-costs.png", "tables.html", "tables.md"
    ]  # fmt: skip
    text = Path("run/tables.md").read_text()
    assert "| 1 | Plain | 100.0 (50.0) | 50.0 (40.0) |" in text  # boxes; everyone is a person
    assert "- 2: not measured: run/reports/trained/box.json is missing" in text
    assert "2 gaps" in result.stdout
    assert "Not drawn: run/pictures/both.png is missing." in text
    with Image.open("run/table-1-costs.png") as plot:
        assert plot.format == "PNG"

    Path("run/trained").mkdir()
    Path("run/trained/lite.safetensors").write_bytes(b"made up")
    assert run(*evaluations[1]).exit_code == 0
    [draw] = [line[1:] for line in lines if line[:2] == ["ovsam", "pictures"]]
    result = run(*draw)
    assert result.exit_code == 0, result.output
    result = run(*MADE, "-o", "made/here")
    assert result.exit_code == 0, result.output
    assert Path("made/here/both.png").read_bytes() == Path("run/pictures/both.png").read_bytes()
    text = Path("made/here/tables.md").read_text()
    assert "| 2 | Trained | 100.0 (60.0) | 50.0 (70.5) |" in text
    assert "![Both](both.png)" in text
    again = Path("made/here/tables.html").read_bytes()
    run(*MADE, "-o", "made/here")
    assert Path("made/here/tables.html").read_bytes() == again


def test_what_tables_refuses(run: Run) -> None:
    result = run("tables", "none", "--data", "data")
    assert result.exit_code == 1
    assert "There is no run folder 'none'" in result.stderr
    for more in ([], ["--commands"]):
        result = run("tables", "run", "--data", "none", *more)
        assert result.exit_code == 1
        assert "There is no data folder 'none'" in result.stderr
        assert not result.stdout
    result = run(*MADE, "-o", "set.toml")
    assert result.exit_code == 1
    assert "Cannot make the folder 'set.toml'" in result.stderr
    result = run("tables", "run", "--data", "data", "--set", "none")
    assert result.exit_code == 1
    assert "no set of tables 'none'" in result.stderr


def test_what_pictures_refuses(run: Run) -> None:
    report = ("evaluate", *TRUTH, "--vocabulary", "coco", "--json")
    assert run(*report, "a.json").exit_code == 0
    assert run(*report, "b.json").exit_code == 0

    def refused(*arguments: str, code: int = 1) -> str:
        result = run("pictures", *arguments)
        assert result.exit_code == code, result.output
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
        assert not Path("c.png").exists()
        return str(result.stderr)

    call = ("data/truth.json", "a.json", "b.json", "--images")
    assert "two reports or more" in refused(*TRUTH, "a.json", "-o", "c.png", code=2)
    assert "must end in .png" in refused(*call, "data/photos", "-o", "c.jpg", code=2)
    assert "photos are missing" in refused(*call, "run", "-o", "c.png")
    Path("a.json").write_text(
        json.dumps({**json.loads(Path("b.json").read_text()), "provenance": 3})
    )
    assert "is no report" in refused(*call, "data/photos", "-o", "c.png")
    for what in ("model", "vocabulary"):
        content = json.loads(Path("b.json").read_text())
        Path("weights").write_text("made again")
        content["provenance"][what] = {"name": "weights", "sha256": "0"}
        Path("a.json").write_text(json.dumps(content))
        said = refused(*call, "data/photos", "-o", "c.png")
        assert f"another {what} than 'weights' is now" in said
    Path("data/truth.json").write_text(Path("data/truth.json").read_text() + "\n")
    Path("a.json").write_text(Path("b.json").read_text())
    assert "with other annotations" in refused(*call, "data/photos", "-o", "c.png")
