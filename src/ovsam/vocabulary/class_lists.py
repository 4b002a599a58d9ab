"""The class names that the files of data sets list, read without trust.

COCO's annotation files, LabelMe's (one beside each photo) and the `data.yaml` of YOLO.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ovsam.bounded_json import JsonError, parse_json
from ovsam.errors import AnnotationError, quoted
from ovsam.images.folder import is_system_entry

YAML_SUFFIXES = (".yaml", ".yml")
LABELME_NO_CLASS = ("__ignore__", "_background_")
"""What LabelMe's users call what is no object."""
_LONGEST_YAML = 2**21  # bytes; that of 20,000 names has a quarter of it
_MANY = 10  # files of a folder that are looked into to tell what it is
_NO_HEADING = ("", "none")  # Roboflow writes that a heading has none above it


def heading_ids(
    categories: Sequence[Mapping[str, Any]], annotations: Sequence[object]
) -> frozenset[int]:
    """Ids of categories that are a heading of others, not a class: no object has them.

    An export of Roboflow begins with one, of the project's name, which may be that of a class. A
    category without an object is a heading if another with objects has its name, if it is the
    supercategory of another and not its own, or if it is LabelMe's name of what is no object.

    Args:
        categories: rows of a COCO file, each with a whole number as `id` and a text as `name`.
        annotations: the file's rows, of any content.
    """
    ids = (row.get("category_id") for row in annotations if isinstance(row, Mapping))
    used = {number for number in ids if type(number) is int}
    classes = {_key(row["name"]) for row in categories if row["id"] in used}
    above: dict[str, set[int]] = {}  # by the name of a supercategory whose it is
    for row in categories:
        if isinstance(name := row.get("supercategory"), str):
            above.setdefault(_key(name), set()).add(row["id"])
    found = set()
    for row in categories:
        number, key = row["id"], _key(row["name"])
        if number in used:
            continue
        its_own = number in above.get(key, ())
        heads = bool(above.get(key, set()) - {number}) and not its_own
        marked = str(row.get("supercategory", "?")).lower() in _NO_HEADING
        no_class = row["name"] in LABELME_NO_CLASS
        if key in classes or no_class or (heads and (used or marked)):
            found.add(number)
    return frozenset(found)


def _key(name: str) -> str:
    plain = unicodedata.normalize("NFC", name).replace("_", " ")
    return " ".join(plain.split()).casefold()


def read_data_yaml(path: Path) -> dict[str, Any]:
    """A `data.yaml` of YOLO: all its scalars as texts, so that a class may be called `no`.

    Raises:
        AnnotationError: no such file, no YAML, or without class names.
    """
    try:
        if path.stat().st_size > _LONGEST_YAML:
            raise ValueError(f"it has more than {_LONGEST_YAML:,} bytes")
        # The base loader makes texts, lists and mappings, and nothing else.
        loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
        text = path.read_text(encoding="utf-8-sig")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=loader)):
            raise ValueError("it has aliases, of which a few lines can make billions of texts")
        content = yaml.load(text, Loader=loader)
    except OSError as error:
        raise AnnotationError(
            f"Cannot read {str(path)!r}: {error.strerror or error}. Check the path."
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise AnnotationError(
            f"{str(path)!r} is no YAML that ovsam reads ({reason[:200]}). Copy it again."
        ) from error
    if not isinstance(content, dict) or "names" not in content:
        raise AnnotationError(
            f"{str(path)!r} must have the class names as 'names', as the data.yaml of YOLO has: "
            "give such a file."
        )
    return content


def yaml_names(content: Mapping[str, Any], source: str) -> dict[int, str]:
    """The class names of a `data.yaml` by their numbers, which label files have.

    Raises:
        AnnotationError: they are neither a list nor a mapping from numbers to texts, or `nc` says
            that there are more or fewer.
    """
    names = content["names"]
    pairs = list(names.items() if isinstance(names, dict) else enumerate(names or ()))
    if not isinstance(names, dict | list) or not pairs:
        raise AnnotationError(
            f"{source!r} must have a list of texts, or numbers with texts, as 'names', got "
            f"{quoted(names)}."
        )
    found: dict[int, str] = {}
    for key, name in pairs:
        number = str(key)
        if not (number.isascii() and number.isdecimal() and len(number) < 7):
            raise AnnotationError(f"{source!r} must number its names from 0, got {quoted(key)}.")
        if not isinstance(name, str) or not name.strip():
            raise AnnotationError(f"{source!r} has a name that is none, {quoted(name)}.")
        found[int(number)] = name.strip()
    count = content.get("nc")
    if isinstance(count, str) and count.strip() != str(len(found)):
        raise AnnotationError(
            f"{source!r} has {len(found):,} names, but says that there are {quoted(count)} ('nc')."
        )
    return found


def find_data_yaml(folder: Path) -> Path | None:
    """The `data.yaml` of a folder, by this name or by its content."""
    files = sorted(_files(folder, YAML_SUFFIXES))
    files.sort(key=lambda file: file.stem.lower() != "data")
    for file in files[:_MANY]:
        try:
            read_data_yaml(file)
        except AnnotationError:
            if file.stem.lower() == "data":
                return file  # whoever reads it says what is wrong
            continue
        return file
    return None


def lists_classes(spec: str) -> bool:
    """Whether a path is a `data.yaml`, or a folder with one, `classes.txt` or LabelMe's files."""
    if spec.lower().endswith(YAML_SUFFIXES):
        return True
    if not os.path.isdir(spec):
        return False
    folder = Path(spec)
    return (
        find_data_yaml(folder) is not None or names_list(folder).is_file() or holds_labelme(folder)
    )


def names_list(folder: Path) -> Path:
    """Where LabelImg and Label Studio keep the names of a folder: one a line, by number."""
    return folder / "classes.txt"


def read_names_list(file: Path) -> dict[int, str]:
    """The names by their numbers; an empty line has none.

    Raises:
        AnnotationError: it cannot be read.
    """
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationError(
            f"The class names in '{file}' cannot be read: {error}. Save them as UTF-8 text."
        ) from error
    return {number: name for number, name in enumerate(lines) if name}


def data_set_names(path: Path) -> list[str]:
    """The class names of what `lists_classes`, each once: by number, or sorted.

    Raises:
        AnnotationError: there is no such file, or something is wrong with it.
    """
    file = find_data_yaml(path) if path.is_dir() else path
    if file is not None:
        names = yaml_names(read_data_yaml(file), str(file))
    elif names_list(path).is_file():
        names = read_names_list(names_list(path))
    else:
        return labelme_names(path)
    return list(dict.fromkeys(names[number] for number in sorted(names)))


def holds_labelme(folder: Path) -> bool:
    """Whether a folder or the first folders in it have LabelMe's files."""
    try:
        inner = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    except OSError:
        return False
    inner = [name for name in inner if not is_system_entry(name)]
    return any(map(_find_labelme, [folder, *(folder / name for name in inner[:_MANY])]))


def is_labelme(content: object) -> bool:
    """Whether JSON is that of LabelMe."""
    return isinstance(content, dict) and "shapes" in content


def _find_labelme(folder: Path) -> bool:
    """Whether a folder's JSON files are those of LabelMe, as its first ones tell."""
    for file in sorted(_files(folder, (".json",)))[:_MANY]:
        try:
            return is_labelme(parse_json(file.read_text(encoding="utf-8-sig")))
        except (OSError, ValueError):
            continue
    return False


def labelme_files(folder: Path) -> list[Path]:
    """All JSON files in a folder and those within, but hidden ones and a system's own."""
    found = []
    for file in sorted(folder.rglob("*")):
        names = file.relative_to(folder).parts
        if file.suffix.lower() == ".json" and not any(map(is_system_entry, names)):
            found.append(file)
    return found


def labelme_names(folder: Path) -> list[str]:
    """The labels of a folder's LabelMe files, sorted.

    Raises:
        AnnotationError: a file cannot be read, or there is no label.
    """
    found: set[str] = set()
    for file in labelme_files(folder):
        try:
            content = parse_json(file.read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError, JsonError) as error:
            raise AnnotationError(
                f"{str(file)!r} cannot be read ({error}). Copy it again."
            ) from error
        shapes = content.get("shapes") if isinstance(content, dict) else None
        for shape in shapes if isinstance(shapes, list) else ():
            label = shape.get("label") if isinstance(shape, dict) else None
            if isinstance(label, str) and label.strip() and label not in LABELME_NO_CLASS:
                found.add(label.strip())
    if not found:
        raise AnnotationError(f"'{folder}' has no LabelMe file with a label.")
    return sorted(found)


def _files(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        if name.lower().endswith(suffixes) and not is_system_entry(name):
            if os.path.isfile(folder / name):
                yield folder / name
