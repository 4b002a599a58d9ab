"""The commands of tables, and the script of all of them."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from made_run import SET, folders, written
from ovsam.cli.app import app
from ovsam.paper.commands import model_commands, report_command, script
from ovsam.paper.table_set import SETS, Folders, read_table_set
from ovsam.shipped import shipped
from ovsam.train.recipe_file import RECIPES, read_recipe


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


def test_an_oracle_s_names_are_an_option_of_the_command(tmp_path: Path) -> None:
    tables = read_table_set(written(tmp_path, SET.replace("zoom = false", "oracle_names = true")))
    command = report_command(tables, "plain/box", Folders(Path("run"), Path("data")))
    assert "--model lite --oracle-names --json run/reports/plain/box.json" in command


def test_script_makes_what_is_missing_once_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run with a Python whose `-m ovsam` notes what it is called with and makes its output."""
    tables = read_table_set(written(tmp_path))
    where = folders(tmp_path)
    python = tmp_path / "my python"
    monkeypatch.setattr(sys, "executable", str(python))
    python.write_text(
        f'#!/bin/sh\n[ "$1 $2" = "-m ovsam" ] || exit 1\nshift 2\necho $1 >> {tmp_path}/calls\n'
        "for last; do :; done\n"
        'if [ $1 = train ]; then mkdir -p "$last"; last="$last/lite.safetensors"; fi\n'
        ': > "$last"\n'
    )
    python.chmod(0o755)

    def calls(*unusable: str) -> list[str]:
        (tmp_path / "calls").write_text("")
        lines = script(tables, where, unusable)
        subprocess.run(["sh"], input=lines, text=True, check=True)
        return (tmp_path / "calls").read_text().split()

    assert calls() == ["evaluate", "train", "evaluate", "pictures"]
    assert calls() == []
    where.report("trained/box").unlink()
    assert calls() == ["evaluate"]
    assert calls("trained/box") == ["evaluate", "pictures"], "with what was drawn from it"


@pytest.mark.parametrize("name", ["lite", "paper", "released"])
def test_shipped_sets_have_commands_that_exist(name: str) -> None:
    """Every command, option and recipe; names of models are told by the commands themselves."""
    tables = read_table_set(name)
    group: Any = typer.main.get_group(app)
    lines = script(tables, Folders(Path("run"), Path("data"))).splitlines()
    commands = [line.partition(" || ")[2] for line in lines if " || " in line]
    assert len(commands) >= len(tables.reports)
    for command in commands:
        _, subcommand, *words = shlex.split(command)
        options = {o for p in group.commands[subcommand].params for o in p.opts + p.secondary_opts}
        assert {word for word in words if word.startswith("-")} <= options, command
        if subcommand in ("train", "distill"):
            assert words[0] in shipped(RECIPES), command
            read_recipe(words[0], [words[i + 1] for i, w in enumerate(words) if w == "--set"])
    assert set(shipped(SETS)) == {"lite", "paper", "released"}
