"""What the documentation shows runs, and what it points to exists."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer

from ovsam.cli import app

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.parametrize("name", ["README.md", "docs/python.md"])
def test_snippets_run_one_after_another(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    snippets = blocks(ROOT / name, "python")
    assert snippets
    exec(compile("\n".join(snippets), name, "exec"), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if not target.startswith("http")]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page: Path) -> None:
    text = "\n".join(blocks(page, "")).replace("\\\n", " ")
    for arguments in re.findall(r"^(?:scripts/)?ovsam (.*)$", text, re.M):
        command: Any = typer.main.get_group(app)
        for name in arguments.split():
            if not hasattr(command, "commands"):
                break
            command = command.commands[name]
        parameters = command.params
        known = {o for p in parameters for o in (*p.opts, *p.secondary_opts)}
        used = set(re.findall(r"(?<!\S)--?[a-z][a-z0-9-]*", arguments))
        assert used <= known, f"ovsam {arguments}"
