"""What people decided, against the files that ship: each name and synset exists there."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from ovsam import load_vocabulary
from tools.vocabularies.build import shipped
from tools.vocabularies.choices import Choices, read_choices

CHOICES = read_choices()


def shown(name: str) -> set[str]:
    """The first names of a vocabulary."""
    return {names[0] for names in shipped(name).names()}


def test_an_unknown_setting_is_refused() -> None:
    known = CHOICES.model_dump()
    with pytest.raises(ValidationError, match=r"(?s)names\.slurr.*[Ee]xtra"):
        Choices.model_validate(known | {"names": known["names"] | {"slurr": []}})


def test_senses_are_of_classes_of_coco_or_objects365() -> None:
    names = {name.lower() for name in shown("coco") | shown("objects365")}
    assert CHOICES.senses.keys() <= names


def test_senses_are_written_as_wordnet_s() -> None:
    same = CHOICES.same_senses
    every = [*filter(None, CHOICES.senses.values()), *same, *CHOICES.people.left_out]
    every += [other for others in same.values() for other in others]
    for sense in every:
        name, kind, number = sense.rsplit(".", 2)
        assert name and kind == "n" and len(number) == 2 and number.isdigit(), sense
        assert sense == sense.lower() and " " not in sense


def test_a_sense_stands_for_others_once() -> None:
    others = [other for senses in CHOICES.same_senses.values() for other in senses]
    assert len(others) == len(set(others))
    assert not CHOICES.same_senses.keys() & set(others)


def test_people_are_listed_once_in_order() -> None:
    assert CHOICES.people.left_out == sorted(set(CHOICES.people.left_out))


def test_added_names_and_misnomers_are_of_classes_of_22k() -> None:
    vocabulary = load_vocabulary("22k")
    names = dict(zip(vocabulary.classes, vocabulary.synonyms, strict=True))
    for name, added in CHOICES.names.added.items():
        assert set(added) <= set(names[name]), name
    for name, wrong in CHOICES.names.misnomers.items():
        assert not set(wrong) & set(names[name]), name


def test_names_with_a_slur_are_left_where_there_is_no_other() -> None:
    slurs = set(CHOICES.names.slurs)
    for names in shipped("22k").names():
        with_slur = [name for name in names if slurs & set(name.lower().split())]
        assert len(with_slur) in (0, len(names)), names


def test_kept_brackets_are_of_lvis() -> None:
    for vocabulary in ("lvis", "22k"):
        names = {name for of_class in shipped(vocabulary).names() for name in of_class}
        assert set(CHOICES.names.kept_brackets) <= names


def test_spellings_are_those_of_objects365() -> None:
    names = shown("objects365")
    spelt = dict(line.split(": ") for line in shipped("objects365_spellings").lines)
    assert spelt.keys() == {name.lower() for name in CHOICES.objects365.spelling}
    assert set(spelt.values()) <= names
    words = {
        word for of_class in shipped("objects365").names() for n in of_class for word in n.split()
    }
    assert set(CHOICES.objects365.kept_case) == {word for word in words if word != word.lower()}
