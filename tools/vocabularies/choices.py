"""What people decided by reading the lists: the TOML files in `data/`, which say what each is."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict

FOLDER = Path(__file__).parent / "data"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Objects365(_Strict):
    """`objects365.toml`: words that keep their case, and names that are put right."""

    kept_case: list[str]
    spelling: dict[str, str]


class People(_Strict):
    """`people.toml`: senses of kinds of people that are left out."""

    left_out: list[str]


class Names(_Strict):
    """`names.toml`: what classes are called besides, and are not called."""

    slurs: list[str]
    kept_brackets: list[str]
    misnomers: dict[str, list[str]]
    added: dict[str, list[str]]


class Prior(_Strict):
    """`prior.toml`: what the log weights of classes are summed up from."""

    everyday: float
    objects365_rank: float
    imagenet1k: float
    sense_count: float
    lvis: dict[str, float]


class Choices(_Strict):
    """All of them. `senses` has "" for a name that means nothing WordNet has."""

    objects365: Objects365
    senses: dict[str, str]
    same_senses: dict[str, list[str]]
    people: People
    names: Names
    prior: Prior


def read_choices() -> Choices:
    """The choices of the checkout."""
    files = sorted(FOLDER.glob("*.toml"))
    return Choices.model_validate(
        {file.stem: tomllib.loads(file.read_text(encoding="utf-8")) for file in files}
    )
