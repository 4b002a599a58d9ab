"""Where the names come from: the files within the downloaded packages, and timm."""

from __future__ import annotations

import ast
import io
import subprocess
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from timm.data.imagenet_info import ImageNetInfo

from tools.vocabularies.lvis import LvisCategory
from tools.vocabularies.wordnet import WordNet


class PackageError(Exception):
    """A package is not there, or there are several."""


def wordnet(packages: Path) -> WordNet:
    """WordNet 3.0 of Debian's wordnet-base."""
    archive = subprocess.run(
        ["dpkg-deb", "--fsys-tarfile", _only(packages, "wordnet-base_*3.0-*.deb")],
        check=True,
        capture_output=True,
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        files = ("index.noun", "data.noun", "noun.exc", "cntlist.rev")
        return WordNet(*(_text(tar, f"share/wordnet/{name}") for name in files))


def lvis_categories(packages: Path) -> list[LvisCategory]:
    """LVIS v1's categories of detectron2."""
    with tarfile.open(_only(packages, "detectron2_cdo-0.5.tar.gz")) as tar:
        source = _text(tar, "detectron2/data/datasets/lvis_v1_categories.py")
    categories: list[LvisCategory] = assigned(ast.parse(source).body, "LVIS_CATEGORIES")
    return categories


def objects365_names(packages: Path) -> list[str]:
    """Objects365 v2's class names of mmdet, in the order of their ids."""
    with zipfile.ZipFile(_only(packages, "mmdet-3.3.0-*.whl")) as wheel:
        source = wheel.read("mmdet/datasets/objects365.py").decode("utf-8")
    [version2] = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == "Objects365V2Dataset"
    ]
    return list(assigned(version2.body, "METAINFO")["classes"])


def imagenet_names(subset: str) -> dict[str, str]:
    """The synsets of timm's subset in the order of their index, with their names.

    Args:
        subset: "imagenet-1k" or "imagenet-22k".
    """
    names = ImageNetInfo(subset).label_descriptions(as_dict=True)
    assert isinstance(names, dict)
    return names


def assigned(statements: Iterable[ast.stmt], name: str) -> Any:
    """The value of the literal that Python code assigns to a name.

    >>> assigned(ast.parse("x = 1; y = [2, 3]").body, "y")
    [2, 3]
    """
    for node in statements:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    raise ValueError(f"no '{name}' is assigned")


def _only(packages: Path, pattern: str) -> Path:
    found = sorted(packages.glob(pattern))
    if len(found) != 1:
        raise PackageError(
            f"'{packages}' must have one {pattern}, found {len(found)}. Download it."
        )
    return found[0]


def _text(tar: tarfile.TarFile, end: str) -> str:
    [member] = [entry for entry in tar.getmembers() if entry.name.endswith(end)]
    file = tar.extractfile(member)
    assert file is not None
    return file.read().decode("utf-8")
