"""Sets of tables: those that ship, and what is no set."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from made_run import SET, folders
from ovsam.cli.app import app
from ovsam.errors import OvsamError
from ovsam.paper.table_set import (
    Folders,
    model_commands,
    read_table_set,
    report_command,
    script,
    shipped_sets,
)
from ovsam.train.recipe_file import read_recipe, shipped_recipes


def written(path: Path, content: str = SET) -> str:
    (path / "set.toml").write_text(content)
    return str(path / "set.toml")


def test_commands_of_a_report(tmp_path: Path) -> None:
    tables = read_table_set(written(tmp_path))
    where = Folders(Path("my run"), Path("data"))
    assert model_commands(tables, "trained", where) == [
        "ovsam train clip2sam-lite --data data -o 'my run'/trained"
    ]
    assert report_command(tables, "trained/box", where) == (
        "ovsam evaluate data/truth.json --images data/photos --prompts box --vocabulary coco-ov "
        "--model 'my run/trained/lite.safetensors' --no-zoom --json "
        "'my run/reports/trained/box.json'"
    )


def test_script_makes_what_is_missing_once_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run with a Python whose `-m ovsam` notes what it is asked and makes its output."""
    tables = read_table_set(written(tmp_path))
    where = folders(tmp_path)
    python = tmp_path / "my python"
    monkeypatch.setattr(sys, "executable", str(python))
    python.write_text(
        f'#!/bin/sh\n[ "$1 $2" = "-m ovsam" ] || exit 1\nshift 2\necho $1 >> {tmp_path}/asked\n'
        "for last; do :; done\n"
        'if [ $1 = train ]; then mkdir -p "$last"; last="$last/lite.safetensors"; fi\n'
        ': > "$last"\n'
    )
    python.chmod(0o755)

    def asked(*unusable: str) -> list[str]:
        (tmp_path / "asked").write_text("")
        lines = script(tables, where, unusable)
        subprocess.run(["sh"], input=lines, text=True, check=True)
        return (tmp_path / "asked").read_text().split()

    assert asked() == ["evaluate", "train", "evaluate", "pictures"]
    assert asked() == []
    where.report("trained/box").unlink()
    assert asked() == ["evaluate"]
    assert asked("trained/box") == ["evaluate", "pictures"], "with what was drawn from it"


@pytest.mark.parametrize("name", ["lite", "paper"])
def test_shipped_sets_have_commands_that_exist(name: str) -> None:
    """Every command, option and recipe; names of models are told by the commands themselves."""
    tables = read_table_set(name)
    group: Any = typer.main.get_group(app)
    lines = script(tables, Folders(Path("run"), Path("data"))).splitlines()
    commands = [line.partition(" || ")[2] for line in lines if " || " in line]
    assert len(commands) > len(tables.reports)
    for command in commands:
        _, subcommand, *words = shlex.split(command)
        options = {o for p in group.commands[subcommand].params for o in p.opts + p.secondary_opts}
        assert {word for word in words if word.startswith("-")} <= options, command
        if subcommand in ("train", "distill"):
            assert words[0] in shipped_recipes(), command
            read_recipe(words[0], [words[i + 1] for i, w in enumerate(words) if w == "--set"])
    assert set(shipped_sets()) == {"lite", "paper"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "Two models"', "title = Two", "is not TOML"),
        ("paper = [50, 40, 3000, nan]", "paper = [50]", "must have 4 figures of the paper or none"),
        ('coco = "plain/box"', 'coco = "plain/line"', "'plain/line' is of no model and measure"),
        ('after = ["plain"]', 'after = ["trained"]', "which is no model above it"),
        ('plot = ["top-1"]', 'plot = ["top-2"]', "plot names top-2, which is no column"),
        ('prompts = "box"', 'prompts = "scribble"', "measurements.box.prompts"),
        ('prompts = "box"', "", "give prompts or detections, and not both"),
        ('figure = "accuracy"', 'figure = "by_class rare"', "is no figure"),
        ('gap = "not ours"', 'gaps = "not ours"', "gaps"),
        ('gap = "not ours", ', "", "a row has reports, or a gap that says why not"),
    ],
)
def test_what_is_no_set(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in SET
    with pytest.raises(OvsamError) as caught:
        read_table_set(written(tmp_path, SET.replace(old, new, 1)))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_such_set() -> None:
    with pytest.raises(OvsamError, match=r"no set of tables 'none'.*lite, paper"):
        read_table_set("none")
