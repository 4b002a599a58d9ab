"""TOML files that come with the package, and a user's own in their place."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from ovsam.errors import OvsamError


def shipped(folder: str) -> dict[str, Path]:
    """The TOML files in a folder of the package, by name."""
    found = Path(str(resources.files("ovsam") / folder)).glob("*.toml")
    return {path.stem: path for path in sorted(found)}


def read_toml(
    name_or_path: str, folder: str, what: str, refusal: type[OvsamError]
) -> tuple[Path, dict[str, Any]]:
    """A file that is shipped, or a user's own; and where it lies.

    Args:
        name_or_path: the name of one in the folder, or a path.
        folder: of the package.
        what: what such a file is called in sentences.
        refusal: what is raised.

    Raises:
        OvsamError: as `refusal`: there is no such file, or it is no TOML.
    """
    known = shipped(folder)
    path = known.get(name_or_path, Path(name_or_path))
    try:
        return path, tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise refusal(
            f"There is no {what} '{name_or_path}' ({error.strerror}). Give the path of a TOML "
            f"file, or one of {', '.join(known)}."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise refusal(f"'{path}' is not TOML: {error}.") from error
