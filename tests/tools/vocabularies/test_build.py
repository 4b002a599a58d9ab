"""The files that ship are those that the tool writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.vocabularies import sources
from tools.vocabularies.build import SHIPPED, build, shipped
from tools.vocabularies.distinct_names import drop_shared_synonyms
from tools.vocabularies.entry import Entry, normalised
from tools.vocabularies.union import unite

FIVE = ("coco", "lvis", "objects365", "imagenet1k", "imagenet21k")


@pytest.mark.data
@pytest.mark.long
def test_the_packages_give_what_ships(photos_root: Path) -> None:
    """`vocabulary_packages` has what `tools/vocabularies/__main__.py` says to download."""
    packages = photos_root / "vocabulary_packages"
    if not packages.is_dir():
        pytest.skip(f"needs the downloaded packages: no folder {packages}")
    for name, file in build(packages).items():
        assert file.text() == (SHIPPED / f"{name}.txt").read_text(encoding="utf-8"), name


@pytest.mark.parametrize("name", ["imagenet21k", "22k"])
def test_no_two_classes_share_a_name(name: str) -> None:
    entries = [Entry(names) for names in shipped(name).names()]
    firsts = [entry.names[0].lower() for entry in entries]
    assert len(set(firsts)) == len(firsts)
    drop_shared_synonyms(entries)
    assert [entry.names for entry in entries] == shipped(name).names()


def test_imagenet21k_has_the_names_that_timm_has() -> None:
    """A first name may be ImageNet-1k's, or say in brackets what the class is."""
    in_1k = dict(
        zip(sources.imagenet_names("imagenet-1k"), shipped("imagenet1k").names(), strict=True)
    )
    in_21k = sources.imagenet_names("imagenet-22k")
    for (synset, text), names in zip(in_21k.items(), shipped("imagenet21k").names(), strict=True):
        theirs = {name.replace("/", " ").lower() for name in text.split(", ")}
        first, *synonyms = names
        known = first.lower() in theirs or first.partition(" (")[0].lower() in theirs
        assert known or first == in_1k[synset][0], synset
        assert {name.lower() for name in synonyms} <= theirs, synset


def test_each_meaning_of_the_everyday_lists_is_in_22k_once() -> None:
    """By names alone; by synsets the packages are needed."""
    names = {normalised(name) for of_class in shipped("22k").names() for name in of_class}
    everyday = {name: [Entry(n) for n in shipped(name).names()] for name in FIVE[:3]}
    for entry in unite(everyday, {}):
        assert {normalised(name.partition(" (")[0]) for name in entry.names} & names, entry.names
