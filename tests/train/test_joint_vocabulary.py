"""Where the classes of data sets are in a vocabulary of all, and which classes compete there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from ovsam.data.dataset import DataSet
from ovsam.formats.listing import Photos, as_listed
from ovsam.model.torch_bank import TorchBank
from ovsam.train.joint_vocabulary import JointVocabulary, joint_vocabulary
from ovsam.train.recipe import SourceSettings
from ovsam.train.sources import Source
from ovsam.vocabulary.load import load_vocabulary
from ovsam.vocabulary.wordnet import hierarchy

LISTED = "animal, dog, poodle, cat, crane, cup/beaker, thingummy"


def joint(
    names: Sequence[str], synsets: Sequence[str | None], among: tuple[str, ...] | None = None
) -> JointVocabulary:
    """LISTED as the vocabulary of a data set with these classes."""
    data_set = DataSet("mine", (), Photos([], as_listed))
    synonyms = tuple((name,) for name in names)
    source = Source(
        data_set, Path(), synonyms, tuple(synsets), SourceSettings(path="mine", among=among)
    )
    vocabulary = load_vocabulary(LISTED)
    bank = TorchBank.of_single_names(torch.eye(len(vocabulary)))
    return joint_vocabulary(vocabulary, 1.0, bank, [source])


@pytest.mark.parametrize(
    ("name", "meaning", "target", "others"),
    [
        ("hound", "dog", "dog", {"animal", "dog", "poodle"}),  # by its synset
        ("dalmatian", "dalmatian", "dog", {"animal", "dog"}),  # the nearest that it is a kind of
        ("anything living", "animal", "animal", {"animal", "dog", "poodle", "cat"}),
        ("beaker", None, "cup", {"cup"}),  # by name
        ("thingummy", None, "thingummy", {"thingummy"}),
        ("crane", "heron", "animal", {"animal", "crane"}),  # what is called so may be right
        ("teapot", "teapot", None, None),
    ],
)
def test_where_a_class_is(
    name: str, meaning: str | None, target: str | None, others: set[str] | None
) -> None:
    synset = None if meaning is None else hierarchy().find(meaning)
    [[place]] = joint([name], [synset]).places
    classes = load_vocabulary(LISTED).classes
    if target is None:
        assert place is None
        return
    assert place is not None and others is not None
    assert classes[place.target] == target
    assert {classes[i] for i in place.others.tolist()} == others


def test_only_wrong_names_compete() -> None:
    """A dog against cat, crane, cup and thingummy, all as likely: one of five."""
    both = joint(["dog", "cat"], [hierarchy().find("dog"), hierarchy().find("cat")])
    dog, cat = both.places[0]
    assert dog is not None and cat is not None
    logits = torch.zeros(2, 7)
    logits[0, [0, 2]] = 9  # animal and poodle
    loss = both.loss(logits, [dog, cat])
    # of the cat: dog, poodle, crane, cup and thingummy are wrong
    assert loss.tolist() == pytest.approx([math.log(5), math.log(6)])
    logits[0, 4] = math.log(3)  # the crane, thrice as likely
    # one of seven, and no part of the label is the other four's
    assert both.loss(logits, [dog, cat])[0].item() == pytest.approx(math.log(7))


def test_a_data_set_is_named_in_the_vocabularies_that_it_chooses() -> None:
    name = load_vocabulary(LISTED).name
    [[place]] = joint(["dog"], [None], among=(name,)).places
    assert place is not None
    assert joint(["dog"], [None], among=("another",)).places == [[None]]
