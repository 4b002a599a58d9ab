"""How names are written, compared and split."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fuzzing
from ovsam.errors import VocabularyError
from ovsam.vocabulary.entry import Entry
from ovsam.vocabulary.load import load_vocabulary
from ovsam.vocabulary.names import plain_name, shown_name, typed_names
from ovsam.vocabulary.vocabulary import Vocabulary


@pytest.mark.parametrize(
    ("name", "display", "synonyms"),
    [
        ("cat", "cat", ("cat",)),
        ("Coffee_Mug", "Coffee Mug", ("coffee mug",)),
        ("flag_or_banner", "flag", ("flag", "banner")),
        ("sofa/couch, settee", "sofa", ("sofa", "couch", "settee")),
        (" tv ,TV/ television ", "tv", ("tv", "television")),
        ("oar", "oar", ("oar",)),
        ("color_organ", "color organ", ("color organ",)),
        ("trash\tcan", "trash can", ("trash can",)),
    ],
)
def test_rule_for_names(name: str, display: str, synonyms: tuple[str, ...]) -> None:
    entry = Vocabulary.from_names([name])
    assert entry.classes == (display,)
    assert entry.synonyms == (synonyms,)
    assert entry.answerable == (True,)
    assert (entry.name, len(entry)) == ("custom", 1)


ONE_NAME = (
    "w/o helmet", "w/ helmet", "N/A", "24/7 shop", "A/C unit", "AC/DC adapter", "HDMI/VGA cable",
    "TV/PC", "km/h sign", "I/O port", "1/2 cup", "3/4-inch pipe", "door w/glass", "and/or",
    "on/off switch", "yes/no", "his/her shoes", "c/o",
)  # fmt: skip


@pytest.mark.parametrize("name", ONE_NAME)
def test_a_slash_in_a_name(name: str, tmp_path: Path) -> None:
    """In a list, a text file, a table, JSON and categories alike."""
    whole = (name.lower(),)
    (tmp_path / "v.txt").write_text(f"{name}\nstone\n")
    (tmp_path / "v.csv").write_text(f"{name}\nstone\n")
    (tmp_path / "v.json").write_text(json.dumps([name, "stone"]))
    categories = [{"id": 1, "name": name}, {"id": 2, "name": "stone"}]
    (tmp_path / "coco.json").write_text(json.dumps({"categories": categories}))
    files = [tmp_path / file for file in ("v.txt", "v.csv", "v.json", "coco.json")]
    specs: list[Any] = [f"{name}, stone", [name, "stone"], *files]
    for spec in specs:
        entries = load_vocabulary(spec)
        assert entries.classes == (name, "stone")
        assert entries.synonyms == (whole, ("stone",))
        assert entries.class_of(name) == name


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("cat/kitten", ("cat", "kitten")),
        ("TV/monitor", ("tv", "monitor")),
        ("coffee_mug/cup", ("coffee mug", "cup")),
        ("cat/kitten/kitty", ("cat", "kitten", "kitty")),
        ("t-shirt/tee", ("t-shirt", "tee")),
        ("thing 1/object 1", ("thing 1", "object 1")),
        ("猫/犬", ("猫", "犬")),
        ("TV / PC", ("tv", "pc")),  # with blanks it always separates
        ("A / C", ("a", "c")),
        ("w/o lid/open jar", ("w/o lid", "open jar")),
        ('"cat/kitten"', ("cat/kitten",)),  # in quotes it never does
        ("'cat/kitten'/puss", ("'cat", "kitten'", "puss")),
        ("“bag, paper”, sack", ("bag, paper", "sack")),
        ("'flag_or_banner'", ("flag or banner",)),
    ],
)
def test_a_slash_between_names(typed: str, names: tuple[str, ...], tmp_path: Path) -> None:
    assert Vocabulary.from_names([typed]).synonyms == (names,)
    (tmp_path / "v.txt").write_text(f"{typed}\n")
    assert load_vocabulary(tmp_path / "v.txt").synonyms == (names,)


def test_the_end_of_a_quote_is_not_looked_for_without_bounds() -> None:
    """Or else many quotes without an end are read to the end of the text, each of them."""
    assert typed_names(f'"{"a," * 500}"') == [f'"{"a," * 500}"']
    assert len(typed_names(f'"{"a," * 501}"')) == 502
    assert len(typed_names("“some quite long name," * 20_000)) == 20_000


COMPOSED, DECOMPOSED = "caf\xe9", "cafe\u0301"


@pytest.mark.parametrize(
    "names",
    [
        (COMPOSED, DECOMPOSED),
        ("Ｔ－shirt", "t-shirt", "T‑shirt", "t–shirt", "t−shirt"),
        ("coffee mug", "coffee\xa0mug", "Coffee\u3000mug", " coffee\u2009mug ", "coffee  mug"),
        ("coffeemug", "coffee\u200bmug", "\ufeffcoffeemug", "coffee\xadmug", "coffeemug\u200e"),
        ("ladies’ shoe", "ladies' shoe", "ladies‘ shoe", "ladiesʼ shoe"),
        ("ﬁsh", "fish", "FISH"),
        ("heart ❤\ufe0f", "heart ❤"),
    ],
)
def test_names_that_look_the_same_are_one(names: tuple[str, ...], tmp_path: Path) -> None:
    entries = load_vocabulary([*names, "stone"])
    assert (len(entries), len(entries.notes)) == (2, len(names) - 1)
    shown = entries.classes[0]
    for name in names:
        assert entries.class_of(name) == shown
        assert entries.with_unseen([name]).novel == (shown,)
        assert entries.without(name).classes == ("stone",)
        assert entries.renamed(name, "pebble").classes[0] == "pebble"
        with pytest.raises(VocabularyError, match="twice"):
            entries.with_class(f"'{name}'" if "'" not in name else name)
        alone = load_vocabulary([name, "stone"])
        assert alone.synonyms == entries.synonyms
    with pytest.raises(VocabularyError, match="twice"):
        Vocabulary("v", tuple(Entry(name, (name,)) for name in names[:2]))
    for file, text in (
        ("v.txt", "\n".join(names)),
        ("v.csv", "\n".join(names)),
        ("v.json", json.dumps(names)),
        ("c.json", json.dumps({"categories": [{"id": i, "name": n} for i, n in enumerate(names)]})),
    ):
        (tmp_path / file).write_text(text, encoding="utf-8")
        assert len(load_vocabulary(tmp_path / file)) == 1


def test_a_vocabulary_s_own_names_are_composed_and_shown_as_typed() -> None:
    shown = f" {DECOMPOSED.title()}  Noir\u200b"
    made = Vocabulary("v", (Entry(shown, (DECOMPOSED,)), Entry("dog", ("DOG",))))
    assert made.classes == ("Caf\xe9 Noir", "dog")
    assert made.synonyms == ((COMPOSED,), ("dog",))
    assert load_vocabulary(["ＣＡＦÉ", "dog"]).classes[0] == "ＣＡＦÉ"
    assert load_vocabulary(["résumé", "resume"]).classes == ("résumé", "resume")


@pytest.mark.fuzz
@settings(max_examples=fuzzing.examples(200))
@given(st.text(min_size=1, max_size=12))
def test_any_name_has_one_plain_form_or_is_refused(name: str) -> None:
    plain = plain_name(name)
    assert plain_name(plain) == plain
    assert plain_name(shown_name(name)) == plain
    try:
        entries = Vocabulary("v", (Entry(name, (name,)),))
    except VocabularyError as error:
        assert "\n" not in str(error)
        return
    assert entries.class_of(entries.classes[0]) == entries.classes[0]
    assert dataclasses.replace(entries).classes == entries.classes


def test_slash_and_comma_in_lists() -> None:
    assert load_vocabulary("cat/kitten, dog").synonyms == (("cat", "kitten"), ("dog",))
    assert load_vocabulary(["cat, kitten", "dog"]).synonyms == (("cat", "kitten"), ("dog",))
