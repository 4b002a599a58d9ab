"""What the documentation shows runs, and what it points to exists."""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from exported import take_shipped_graphs
from ovsam.cli.app import app
from ovsam.cli.options import MEASURE, PAPER, SEGMENT, TRAIN
from ovsam.hub import NAMES

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.parametrize("name", ["README.md", "docs/python.md", "docs/export.md"])
def test_snippets_run_one_after_another(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if name == "docs/export.md":
        take_shipped_graphs(monkeypatch)
        made = CliRunner().invoke(app, ["export", "lite", "-o", "lite-onnx"])
        assert made.exit_code == 0, made.output
    source = "\n".join(blocks(ROOT / name, "python"))
    said: dict[int, str] = {}

    def note(*values: object) -> None:
        said[sys._getframe(1).f_lineno] = " ".join(map(str, values))

    exec(compile(source, name, "exec"), {"print": note})
    promised = {
        number: found[1]
        for number, line in enumerate(source.splitlines(), start=1)
        if (found := re.search(r"\bprint\(.*\)  # (.*)", line))
    }
    assert promised
    for number, text in promised.items():
        said_here = ".*".join(map(re.escape, text.split("..."))) if "..." in text else None
        agrees = text.startswith(said[number]) or (said_here and re.match(said_here, said[number]))
        assert agrees, f"line {number}: {said[number]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if not target.startswith("http")]
    assert [target for target in local if not (page.parent / target).exists()] == []


FOLDERS = ("src", "tests", "tools", "docs", "benchmarks", "scripts", "examples")
TREE = [f"/{path.relative_to(ROOT).as_posix()}" for f in FOLDERS for path in (ROOT / f).rglob("*")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_source_files_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"(`\S+\.py`) \(`.*?`\)", r"\1", text)  # others' files, in THIRD_PARTY.md
    named = re.findall(r"[\w./-]*\w\.py\b", text)
    assert [name for name in named if not any(path.endswith(f"/{name}") for path in TREE)] == []


def test_the_map_names_the_files_of_each_room() -> None:
    """Every file of the table exists, and no file of more than a hundred lines is left out."""
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    rooms = re.findall(r"^\| `(\w+)/` \| (.*?) \|", text, re.M)
    assert len(rooms) > 10
    for room, content in rooms:
        for name in re.findall(r"`(\w+)`", content):
            assert (ROOT / "src" / "ovsam" / room / f"{name}.py").exists(), f"{room}/{name}"
    named = set(re.findall(r"\w+", text))
    for path in (ROOT / "src" / "ovsam").rglob("*.py"):
        if len(path.read_text(encoding="utf-8").splitlines()) > 100 and path.parent.name != "cli":
            assert path.stem in named, path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page: Path) -> None:
    text = "\n".join(blocks(page, "")).replace("\\\n", " ")
    for arguments in re.findall(r"^(?:scripts/)?ovsam (.*)$", text, re.M):
        assert_exists(arguments)


def assert_exists(arguments: str) -> None:
    command: Any = typer.main.get_group(app)
    for name in arguments.split():
        if not hasattr(command, "commands") or name.startswith("-"):
            break
        command = command.commands[name]
    parameters = command.get_params(typer.Context(command))
    known = {o for p in parameters for o in (*p.opts, *p.secondary_opts)}
    used = set(re.findall(r"(?<!\S)--?[a-z][a-z0-9-]*", arguments))
    assert used <= known, f"ovsam {arguments}"


def commands(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, f"{path} {name}".strip())


COMMANDS = dict(commands(typer.main.get_group(app)))


@pytest.mark.parametrize("path", COMMANDS)
def test_help_has_an_example_and_fits_a_terminal(path: str) -> None:
    command = COMMANDS[path]
    if path:
        [example] = re.findall(r"^Example: `ovsam (.*)`$", command.help, re.M)
        assert example.startswith(path)
        assert_exists(example)
        assert len(f" Example: ovsam {example}") <= 80
    shown = CliRunner().invoke(app, [*path.split(), "-h"], env={"COLUMNS": "80"}).stdout
    assert not re.search("<(bool|str|path|int|float|list)", shown)
    assert not re.search(r"\.\.\.[\]}]+\.\.\.", shown)
    assert max(map(len, shown.splitlines())) <= 80
    for parameter in command.get_params(typer.Context(command)):
        assert parameter.metavar is not None, f"what does {parameter.name} take?"


def test_help_groups_commands_by_who_needs_them() -> None:
    shown = CliRunner().invoke(app, ["-h"], env={"COLUMNS": "80"}).stdout
    titles = re.findall(r"─ (.*?) ─", shown)
    panels = re.split(r"^╭.*$", shown, flags=re.M)[1:]
    found = {t: re.findall(r"^│ ([a-z-]+)", p, re.M) for t, p in zip(titles, panels, strict=True)}
    del found["Options"]
    assert found == {
        SEGMENT: ["segment", "demo", "models", "vocabulary"],
        MEASURE: ["evaluate", "compare", "evaluate-detections", "detect", "calibrate", "benchmark"],
        TRAIN: ["data", "distill", "train", "cache-features"],
        PAPER: ["tables", "pictures", "complexity", "convert", "export"],
    }
    assert list(found) == [SEGMENT, MEASURE, TRAIN, PAPER]


def test_readme_has_the_models_of_the_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[^|]*) \|", readme, re.M)
    named = {name for row in rows for name in re.findall("`(.*?)`", row)}
    assert {name for name in NAMES if "+" not in name} <= named
    assert any(name in named for name in NAMES if "+" in name)
