"""Recipes as files: those that ship, one's own, and changes to them in passing.

ovsam train clip2sam-coco --data /photos --set engine.steps=100 --set data.0.share=0.5
"""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ovsam.errors import SettingError, TrainingError
from ovsam.shipped import read_toml
from ovsam.train.recipe import ContradictionsError, Recipe
from ovsam.train.settings import RENAMED

RECIPES = "recipes"  # the folder of those that come with the package
_UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")  # what pydantic calls them
_RECIPE: TypeAdapter[Any] = TypeAdapter(Recipe)


def read_recipe(name_or_path: str, changes: Sequence[str] = ()) -> Recipe:
    """A shipped recipe or one's own file, with changes such as `engine.steps=100`.

    Raises:
        TrainingError: no such recipe, no TOML, or settings that are unknown, wrong or contradict
            each other: all of them at once.
        SettingError: the same of the changes to a recipe that can be used.
    """
    path, content = read_toml(name_or_path, RECIPES, "recipe", TrainingError)
    changed = copy.deepcopy(content)
    for change in changes:
        _change(changed, change)
    recipe, found = _validated(changed)
    if recipe is None:
        lines = [f"- {sentence}" for sentence in found]
        if changes and _validated(content)[0] is not None:
            head = f"{' '.join(changes)}: with these settings '{name_or_path}' cannot be used:"
            raise SettingError("\n".join([head, *lines]))
        raise TrainingError("\n".join([f"'{path}' cannot be used:", *lines]))
    return recipe


def _validated(content: dict[str, Any]) -> tuple[Recipe | None, list[str]]:
    """The recipe, or a sentence for each thing that is wrong with it."""
    try:
        return _RECIPE.validate_python(content), []
    except ValidationError as error:
        details = error.errors(include_url=False)
    # A list is also called too short where its elements are refused.
    refused = [detail["loc"] for detail in details if detail["type"] != "too_short"]
    details = [
        detail
        for detail in details
        if detail["type"] != "too_short"
        or not any(path[: len(detail["loc"])] == detail["loc"] for path in refused)
    ]
    # A setting by its old name is not also missing by its new one.
    renamed = {RENAMED.get(str(detail["loc"][-1])) for detail in details}
    said = (one for one in details if one["type"] != "missing" or one["loc"][-1] not in renamed)
    found = [sentence for detail in said for sentence in _sentences(detail)]
    # Contradictions are only looked for among settings that are known and of their type.
    unknown = [detail["loc"][1:] for detail in details if detail["type"] in _UNKNOWN]
    if unknown and len(unknown) == len(details):
        rest = copy.deepcopy(content)
        for *parents, last in unknown:
            node: Any = rest
            for part in parents:
                node = node[part]
            del node[last]
        found += _validated(rest)[1]
    return None, found


def _sentences(detail: Mapping[str, Any]) -> Sequence[str]:
    if isinstance(error := detail.get("ctx", {}).get("error"), ContradictionsError):
        return error.sentences
    # The first part is the stage, which the kind of recipe goes by.
    where = ".".join(map(str, detail["loc"][1:])) or "the recipe"
    if detail["type"] == "missing":
        return [f"{where} is missing"]
    if detail["type"] in _UNKNOWN:
        renamed = RENAMED.get(str(detail["loc"][-1]))
        return [f"{where} is no setting" + (f": it is {renamed} now" if renamed else "")]
    return [f"{where}: {detail['msg'][0].lower()}{detail['msg'][1:]}, got {detail['input']!r}"]


def _change(content: dict[str, Any], change: str) -> None:
    """Set one field: `engine.steps=100`, `data.0.path="b"`; a bare word is text."""
    name, sign, text = change.partition("=")
    *parents, last = name.strip().split(".")
    if not sign or not last:
        raise SettingError(f"A change must read NAME=VALUE, like engine.steps=100; got '{change}'.")
    node: Any = content
    try:
        for part in parents:
            node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
        if any(part.startswith("-") for part in (*parents, last)):
            raise IndexError(name)
        if isinstance(node, list):
            node[int(last)] = _value(text)
        else:
            node[last] = _value(text)
    except (ValueError, IndexError, AttributeError, TypeError) as error:
        raise SettingError(
            f"'{name}' names nothing that the recipe has; lists are counted from 0."
        ) from error


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()
