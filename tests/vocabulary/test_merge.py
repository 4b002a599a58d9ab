"""What means the same is one class."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from ovsam.errors import VocabularyError
from ovsam.vocabulary.load import load_vocabulary


def test_quotes_keep_a_class_apart() -> None:
    for typed in (
        "bus, 'double-decker bus'",
        '"bus", double-decker bus',
        'bus,"double-decker bus"',
    ):
        entries = load_vocabulary(typed)
        assert entries.synonyms == (("bus",), ("double-decker bus",))
        assert entries.notes == ()
    entries = load_vocabulary(["bus", "cat"])
    assert entries.with_class('"double-decker bus"').classes[2] == "double-decker bus"
    with pytest.raises(VocabularyError, match="or put this one in quotes"):
        entries.with_class("double-decker bus")
    marked = load_vocabulary("!\"bag, paper\", ~'cup'")
    assert marked.classes == ("bag, paper", "cup")
    assert (marked.answerable, marked.unseen) == ((False, True), (False, True))


def test_merged_names_are_noted(caplog: pytest.LogCaptureFixture) -> None:
    entries = load_vocabulary("bus, double-decker bus, cat")
    [note] = entries.notes
    assert note == (
        "'double-decker bus' is taken as 'bus': they mean the same and are one class. In quotes it "
        "stays a class of its own."
    )
    assert "'double-decker bus' is taken as 'bus'" in caplog.text
    assert "In quotes a name stays" in caplog.text
    assert entries.with_class("dog").notes == ()
    assert entries.fingerprint == dataclasses.replace(entries, notes=()).fingerprint


def test_quotes_are_no_remedy_for_one_name_given_twice(caplog: pytest.LogCaptureFixture) -> None:
    entries = load_vocabulary("cat, 'Cat', dog")
    assert (entries.classes, entries.notes) == (
        ("cat", "dog"),
        ("'Cat' is there twice and is one class.",),
    )
    assert "'Cat' is there twice: names that look the same are one class." in caplog.text
    assert "In quotes" not in caplog.text


@pytest.mark.parametrize(
    ("spec", "synonyms"),
    [
        ("sofa, lamp, couch", (("sofa", "couch"), ("lamp",))),  # one synset
        ("couch, bench/sofa", (("couch",), ("bench", "sofa"))),  # only first names count
        ("dog/puppy, puppy", (("dog", "puppy"),)),
        ("cup, mug/cup", (("cup", "mug"),)),
        ("bike, cup, bicycle/cycle", (("bike", "bicycle", "cycle"), ("cup",))),
        ("cat/pet, dog/pet", (("cat", "pet"), ("dog", "pet"))),  # a name less: no one's first
        ("mouse, rat", (("mouse",), ("rat",))),
        ("beef, cow", (("beef",), ("cow",))),
        ("pants, bloomers, trousers", (("pants", "trousers"), ("bloomers",))),
        ("jeans, jean", (("jeans", "jean"),)),
        ("glass, glasses", (("glass",), ("glasses",))),
        ("motorcycle, motorbike", (("motorcycle", "motorbike"),)),
        ("plane, airplane", (("plane", "airplane"),)),
        ("tap, faucet", (("tap", "faucet"),)),
        ("pig, swine", (("pig", "swine"),)),
        ("sofa, settee", (("sofa", "settee"),)),
        ("bunny, rabbit", (("bunny", "rabbit"),)),
    ],
)
def test_each_meaning_is_one_class(
    spec: str, synonyms: tuple[tuple[str, ...], ...], caplog: pytest.LogCaptureFixture
) -> None:
    entries = load_vocabulary(spec)
    assert entries.synonyms == synonyms
    assert [name.lower() for name in entries.classes] == [names[0] for names in synonyms]
    assert ("mean the same" in caplog.text) is (len(synonyms) < spec.count(",") + 1)


def test_meanings_in_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In a text file of one's own names say so, and not WordNet; in annotations nothing does."""
    path = tmp_path / "mine.txt"
    path.write_text("sofa, settee\n!lamp\ncouch\nsettee\nauto\n!car, auto\n")
    entries = load_vocabulary(path)
    assert entries.classes == ("sofa", "lamp", "couch", "auto", "car"), "an answer and none"
    assert entries.answerable == (True, False, True, True, False)
    assert "Of vocabulary 'mine' 'settee' is taken as 'sofa': they mean the same" in caplog.text
    categories = [{"id": 1, "name": "sofa"}, {"id": 2, "name": "couch"}]
    (tmp_path / "a.json").write_text(json.dumps({"categories": categories}))
    assert load_vocabulary(tmp_path / "a.json").classes == ("sofa", "couch")


def test_marks_that_contradict_each_other(tmp_path: Path) -> None:
    path = tmp_path / "things.csv"
    path.write_text("name,synonyms,seen\ncat,kitty,no\nkitty,,yes\n")
    with pytest.raises(VocabularyError, match="'kitty' and 'cat', which mean the same, one seen"):
        load_vocabulary(path)
    path.write_text("name,synonyms,seen\ncat,kitty,no\nkitty,,no\n")
    assert load_vocabulary(path).novel == ("cat",)


def test_one_meaning_has_the_weight_that_is_given() -> None:
    for names in ("*3 sofa, couch", "sofa, *3 couch", "*3 sofa, *3 couch"):
        [entry] = load_vocabulary(names).entries
        assert (entry.synonyms, entry.weight) == (("sofa", "couch"), 3)
    with pytest.raises(
        VocabularyError,
        match=r"'couch' and 'sofa', which mean the same, with the weights 2 and 3\. Give both the",
    ):
        load_vocabulary("*3 sofa, *2 couch")
