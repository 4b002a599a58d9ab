"""The built-in vocabularies: their names, their files, and what is known of their classes."""

from __future__ import annotations

from functools import cache
from importlib import resources

# COCO's open-vocabulary split, Zareian et al. 2021 (OVR-CNN), section 4.1. 15 classes are in
# neither part.
COCO_BASE = tuple(
    "person,bicycle,car,motorcycle,train,truck,boat,bench,bird,horse,sheep,bear,zebra,giraffe,"
    "backpack,handbag,suitcase,frisbee,skis,kite,surfboard,bottle,fork,spoon,bowl,banana,apple,"
    "sandwich,orange,broccoli,carrot,pizza,donut,chair,bed,toilet,tv,laptop,mouse,remote,"
    "microwave,oven,toaster,refrigerator,book,clock,vase,toothbrush".split(",")
)
COCO_NOVEL = tuple(
    "airplane,bus,cat,dog,cow,elephant,umbrella,tie,snowboard,skateboard,cup,knife,cake,couch,"
    "keyboard,sink,scissors".split(",")
)

_DESCRIPTIONS = {
    "coco": "COCO's 80 classes of everyday objects, with synonyms",
    "coco-ov": "COCO's open-vocabulary split: 48 base and 17 novel classes can be the answer",
    "lvis": "LVIS's 1,203 classes of everyday objects, rare ones too, with synonyms",
    "objects365": "Objects365's 365 classes of everyday objects",
    "imagenet1k": "ImageNet-1k's 1,000 classes, with synonyms",
    "imagenet21k": "ImageNet-21k's 21,841 classes, with synonyms",
    "22k": "all of these, each meaning once: 21,185 classes, with synonyms",
}

WEIGHTED = ("imagenet21k", "22k")  # those with a file of weights


def builtin_vocabularies() -> dict[str, str]:
    """Names of the built-in vocabularies, each with one line that describes it."""
    return dict(_DESCRIPTIONS)


def builtin_notes(name: str) -> str:
    """What a built-in vocabulary's file says of its source, its licence and its making."""
    lines = builtin_text(name).split("\n")
    return "\n".join(line.removeprefix("# ") for line in lines if line.startswith("#"))


def builtin_text(name: str) -> str:
    """The text file of a built-in vocabulary."""
    return _text("coco" if name == "coco-ov" else name)


def known_choices() -> str:
    """What a person may give as a vocabulary, for messages."""
    names = ", ".join(_DESCRIPTIONS)
    return f"{names}, a .txt, .csv, .json or .yaml file, or class names such as 'cat, dog'"


def lvis_groups() -> dict[str, tuple[str, ...]]:
    """LVIS's classes by how many training photos have them: "rare", "common", "frequent"."""
    pairs = [line.rsplit(", ", 1) for line in _lines("lvis_groups")]
    return {
        wanted: tuple(name for name, group in pairs if group == wanted)
        for wanted in ("rare", "common", "frequent")
    }


def builtin_weights(name: str) -> dict[str, float]:
    """The weights of a built-in vocabulary's classes that are not 1: how ordinary a thing is.

    Long vocabularies have them; those that others measure with have none.
    """
    if name not in WEIGHTED:
        return {}
    pairs = (line.rsplit(", ", 1) for line in _lines(f"{name}_weights"))
    return {shown: float(weight) for shown, weight in pairs}


@cache
def objects365_spellings() -> dict[str, str]:
    """Names that Objects365's annotation files have, lower case, and how they are spelt here."""
    return dict(line.split(": ") for line in _lines("objects365_spellings"))


def _lines(name: str) -> list[str]:
    return [line for line in _text(name).splitlines() if not line.startswith("#")]


def _text(name: str) -> str:
    file = resources.files("ovsam") / "vocabularies" / f"{name}.txt"
    return file.read_text(encoding="utf-8")
