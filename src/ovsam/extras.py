"""Packages that a plain installation goes without, and the line that installs them here."""

from __future__ import annotations

import json
import shlex
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from ovsam.errors import OvsamError


class MissingPackageError(OvsamError):
    """What was asked for needs a package that is not installed."""


TORCH = ("torch", "torchvision", "open_clip")
"""Modules that models other than `lite` need, as they are imported; `ovsam[torch]` brings them."""
EXPORT = (*TORCH, "onnxscript")
"""The same of the export to ONNX."""
TRAINING = ("torch", "lightning_fabric", "matplotlib", "tensorboard")
"""Modules that every run of training needs, as they are imported; `ovsam[train]` brings them."""


def check_installed(
    purpose: str, modules: tuple[str, ...] = TRAINING, requirement: str = "ovsam[train]"
) -> None:
    """Refuse what could not be done, before anything is.

    Args:
        purpose: what needs the modules, as the beginning of a sentence.
        modules: as they are imported.
        requirement: what brings them all.

    Raises:
        MissingPackageError: some are not installed; says how to.
    """
    lacking = [module for module in modules if not _is_installed(module)]
    if lacking:
        names = (module.replace("_", "-") for module in lacking)
        raise missing(purpose, *names, requirement=requirement)


def missing(purpose: str, *packages: str, requirement: str = "ovsam[train]") -> MissingPackageError:
    """The error that says what is missing and the line that installs it, to be raised.

    Args:
        purpose: what needs the packages, as the beginning of a sentence.
        packages: that are not installed, as pip knows them.
        requirement: what brings them; `ovsam[...]`, or the name of a package.
    """
    those = " and ".join([", ".join(packages[:-1]), packages[-1]] if packages[1:] else packages)
    verb = "are" if packages[1:] else "is"
    return MissingPackageError(
        f"{purpose} needs {those}, which {verb} not installed. Run `{install_line(requirement)}`, "
        "then try again."
    )


def install_line(requirement: str) -> str:
    """The shell command that installs a requirement beside this very ovsam, from any folder.

    For `ovsam[...]` in a checkout it names the checkout's folder: no index has that version.
    """
    python = f"{shlex.quote(sys.executable)} -m"
    before = "" if _is_installed("pip") else f"{python} ensurepip && "
    own, bracket, rest = requirement.partition("[")
    checkout, option = _checkout() if own == "ovsam" else (None, "")
    if checkout is not None:
        before = f"cd {shlex.quote(str(checkout))} && {before}"
        requirement = f".{bracket}{rest}"
    return f"{before}{python} pip install {option}{_quoted(requirement)}"


def _quoted(requirement: str) -> str:
    return f"'{requirement}'" if "[" in requirement else requirement


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _checkout() -> tuple[Path | None, str]:
    """The folder that this ovsam was installed from, if it is still there, and pip's option."""
    try:
        origin = json.loads(metadata.distribution("ovsam").read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, ValueError):
        origin = {}
    folder = origin.get("dir_info")  # absent if it came as a wheel or from a repository
    if folder is None:
        return None, ""
    path = Path(url2pathname(urlsplit(origin["url"]).path))
    if not (path / "pyproject.toml").is_file():
        return None, ""
    return path, "-e " if folder.get("editable") else ""
