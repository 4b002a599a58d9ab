"""What is said where an optional package is missing: a line that works in this environment."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from ovsam import extras
from ovsam.errors import OvsamError

ROOT = Path(__file__).parent.parent


@pytest.fixture
def installed_from(monkeypatch: pytest.MonkeyPatch) -> object:
    """Sets what pip noted about where ovsam came from."""
    monkeypatch.setattr(sys, "executable", "/my env/bin/python")
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "missing" else object())

    def note(origin: dict[str, object] | None) -> None:
        text = None if origin is None else json.dumps(origin)
        distribution = SimpleNamespace(read_text=lambda _: text)
        monkeypatch.setattr("importlib.metadata.distribution", lambda _: distribution)

    return note


PYTHON = "'/my env/bin/python' -m"


def test_from_a_checkout_the_line_names_its_folder(installed_from: object, tmp_path: Path) -> None:
    checkout = tmp_path / "my ovsam"
    checkout.mkdir()
    (checkout / "pyproject.toml").touch()
    for editable, option in ((True, "-e "), (False, "")):
        url = checkout.as_uri()
        assert callable(installed_from)
        installed_from({"url": url, "dir_info": {"editable": editable} if editable else {}})
        line = extras.install_line("ovsam[train]")
        assert line == f"cd '{checkout}' && {PYTHON} pip install {option}'.[train]'"
    (checkout / "pyproject.toml").unlink()  # such a checkout is gone
    assert extras.install_line("ovsam[train]") == f"{PYTHON} pip install 'ovsam[train]'"


@pytest.mark.parametrize(
    "origin",
    [
        None,
        {"url": "file:///tmp/ovsam-0.1.0-py3-none-any.whl", "archive_info": {}},
        {"url": "https://example.org/ovsam.git", "vcs_info": {"vcs": "git"}},
    ],
)
def test_from_a_wheel_the_line_names_the_package(
    installed_from: object, origin: dict[str, object] | None
) -> None:
    assert callable(installed_from)
    installed_from(origin)
    assert extras.install_line("ovsam[train]") == f"{PYTHON} pip install 'ovsam[train]'"
    assert extras.install_line("some-weights") == f"{PYTHON} pip install some-weights"


def test_an_environment_without_pip_gets_it_first(
    installed_from: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(installed_from)
    installed_from(None)
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    line = extras.install_line("ovsam[train]")
    assert line == f"{PYTHON} ensurepip && {PYTHON} pip install 'ovsam[train]'"


def test_only_what_is_missing_is_named(installed_from: object) -> None:
    assert callable(installed_from)
    installed_from(None)
    extras.check_installed("All of it", ("there", "here"))
    with pytest.raises(OvsamError) as caught:
        extras.check_installed("The plot", ("there", "missing"))
    assert str(caught.value) == (
        f"The plot needs missing, which is not installed. Run `{PYTHON} pip install "
        "'ovsam[train]'`, then try again."
    )


@pytest.mark.parametrize(
    ("modules", "extra"),
    [(extras.TRAINING, "train"), (extras.TORCH, "torch"), (extras.EXPORT, "torch")],
)
def test_modules_are_those_of_the_extra(modules: tuple[str, ...], extra: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines, names = [f"ovsam[{extra}]"], set()
    for line in lines:  # grows while it is walked through
        if inner := re.match(r"ovsam\[(\w+)\]", line):
            lines += project["optional-dependencies"][inner[1]]
        names.add(re.split("[>=]", line)[0].replace("_", "-").removesuffix("-torch"))
    assert {module.replace("_", "-") for module in modules} <= names


def test_the_plain_installation_has_no_torch() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {re.split("[>=]", line)[0] for line in project["dependencies"]}
    assert "onnxruntime" in names and not names & {"torch", "torchvision", "open_clip_torch"}


def test_the_package_says_the_terms_of_its_weights() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["license-files"] == ["LICENSE", "LICENSES/*", "THIRD_PARTY.md"]
    assert project["license"] == "Apache-2.0 AND LicenseRef-lite-weights-for-research"
