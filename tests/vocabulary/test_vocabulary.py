"""A vocabulary and its edits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from ovsam.errors import VocabularyError
from ovsam.vocabulary.entry import Entry
from ovsam.vocabulary.load import load_vocabulary
from ovsam.vocabulary.vocabulary import Vocabulary


@pytest.mark.parametrize("template", ["a photo", "{} and {}", "a {} {x}", "{} }", "{other}"])
def test_a_template_that_is_none(template: str) -> None:
    with pytest.raises(VocabularyError, match=r"Give a text with one \{\} for the name, or"):
        dataclasses.replace(load_vocabulary("cat, dog"), templates=(template,))


def test_one_text_is_not_a_list_of_letters() -> None:
    with pytest.raises(VocabularyError, match="must be a list of names, got the text 'cat'"):
        Vocabulary.from_names("cat")


def test_frozen_and_made_of_tuples() -> None:
    made = Vocabulary("v", [Entry("a", ["a", "b"])])  # type: ignore[arg-type]
    assert made.entries == (Entry("a", ("a", "b")),)
    assert (made.classes, made.synonyms, len(made)) == (("a",), (("a", "b"),), 1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.name = "w"  # type: ignore[misc]


def test_what_is_said_of_all_classes_is_what_their_entries_say() -> None:
    made = Vocabulary("v", (Entry("Cat", ("cat",), unseen=True), Entry("hub", ("hub",), False)))
    assert (made.classes, made.answerable, made.unseen) == (
        ("Cat", "hub"),
        (True, False),
        (True, False),
    )
    assert made.synsets == (made.entries[0].synset, made.entries[1].synset)
    edited = made.without("hub")
    assert (edited.classes, edited.answerable, edited.novel) == (("Cat",), (True,), ("Cat",))


def test_fingerprint_follows_the_content_only() -> None:
    entries = Vocabulary.from_names(["cat/kitten", "dog"])
    assert len(entries.fingerprint) == 64
    assert entries.fingerprint == dataclasses.replace(entries, name="other").fingerprint
    others = [
        Vocabulary.from_names(["dog", "cat/kitten"]),
        Vocabulary.from_names(["cat", "kitten/dog"]),
        Vocabulary.from_names(["cat/kitten", "!dog"]),
    ]
    assert len({entries.fingerprint, *(other.fingerprint for other in others)}) == 4


PETS = Vocabulary.from_names(["Cat/kitten", "dog/puppy", "!pet"], "pets")


def test_a_class_is_added_last() -> None:
    edited = PETS.with_class("guinea_pig/Cavy")
    assert edited.classes == ("Cat", "dog", "pet", "guinea pig")
    assert edited.synonyms[3] == ("guinea pig", "cavy")
    assert edited.answerable == (True, True, False, True)
    assert edited.name == edited.with_class("fox").name == "pets, edited"
    assert len(PETS) == 3 and edited.fingerprint != PETS.fingerprint


def test_a_class_is_removed_by_the_name_it_is_shown_by() -> None:
    edited = PETS.without("CAT")
    assert (edited.classes, edited.synonyms) == (("dog", "pet"), (("dog", "puppy"), ("pet",)))
    assert edited.answerable == (True, False)
    assert edited.with_class("Cat/kitten").without("pet").classes == ("dog", "Cat")


def test_a_class_is_renamed_where_it_stands() -> None:
    edited = PETS.renamed("cat", "Tabby/mouser")
    assert edited.classes == ("Tabby", "dog", "pet")
    assert edited.synonyms[0] == ("tabby", "mouser", "kitten")
    assert PETS.renamed("dog", "Puppy").synonyms[1] == ("puppy",)
    assert PETS.renamed("pet", "friend").answerable == PETS.answerable
    assert PETS.renamed("cat", "CAT").classes[0] == "CAT"
    # objects365 has two classes that WordNet takes for one.
    spelt = load_vocabulary("objects365").renamed("earphone", "Earphone")
    assert "Earphone" in spelt.classes


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda: PETS.with_class("DOG"), "class 'DOG' twice"),
        (lambda: PETS.with_class(" / "), "has an empty name"),
        (lambda: PETS.with_class("a\0b"), "control character"),
        (lambda: PETS.without("kitten"), "has no class 'kitten'"),
        (lambda: PETS.without("cat").without("dog"), "no class that may be the answer"),
        (lambda: Vocabulary.from_names(["cat"]).without("cat"), "is empty"),
        (lambda: PETS.renamed("fox", "wolf"), "has no class 'fox'"),
        (lambda: PETS.renamed("cat", "dog"), "class 'dog' twice"),
        (lambda: PETS.renamed("cat", ""), "has an empty name"),
        (lambda: PETS.with_class("puppy"), "has 'puppy' already: its class 'dog' means the same"),
        (lambda: PETS.with_class("hound/dog"), "has 'hound' already"),
        (lambda: load_vocabulary("coco").with_class("sofas"), "already: its class 'couch'"),
        (lambda: load_vocabulary("coco").renamed("cat", "Sofa"), "already: its class 'couch'"),
        (lambda: load_vocabulary("tv, bike").with_class("bicycle"), "already: its class 'bike'"),
    ],
)
def test_an_edit_is_checked_like_the_whole(edit: Callable[[], Vocabulary], message: str) -> None:
    with pytest.raises(VocabularyError, match=message):
        edit()


def test_a_hundred_thousand_names() -> None:
    names = [f"thing_{number}/gadget {number}" for number in range(100_000)]
    entries = load_vocabulary(names)
    assert entries.fingerprint
    assert len(entries) == 100_000
    assert entries.synonyms[-1] == ("thing 99999", "gadget 99999")


def test_unseen_classes_stay_so_when_a_vocabulary_is_edited() -> None:
    entries = load_vocabulary("cat, dog, cup").with_unseen(["dog"])
    assert entries.with_class("fox").novel == ("dog",)
    assert entries.without("cat").novel == ("dog",)
    assert entries.renamed("dog", "hound").novel == ("hound",)
    assert entries.only("animal").novel == ("dog",)
    assert entries.fingerprint == load_vocabulary("cat, dog, cup").fingerprint
    with pytest.raises(VocabularyError, match="no class 'fox' to be marked as unseen"):
        entries.with_unseen(["fox"])


def test_only_says_which_of_ones_own_words_it_does_not_know(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert load_vocabulary("qqq, cat, zzz, cup").only("animal").classes == ("cat",)
    [line] = caplog.messages
    assert "'qqq', 'zzz' are left out" in line
    load_vocabulary("objects365").only("animal")
    assert len(caplog.messages) == 1


def test_a_kind_of_which_no_class_may_be_the_answer() -> None:
    with pytest.raises(VocabularyError, match="No class of vocabulary 'coco-ov' is a kind of"):
        load_vocabulary("coco-ov").only("parking meter")


def test_no_class_is_added_with_a_synonym_of_another() -> None:
    with pytest.raises(VocabularyError, match="its class 'couch' means the same"):
        load_vocabulary("coco").with_class("lounger/sofa")


def test_an_edited_vocabulary_knows_what_its_classes_mean() -> None:
    coco = load_vocabulary("coco")
    known = coco.synsets
    for edited in (coco.without("cat"), coco.with_class("teapot"), coco.renamed("dog", "hound")):
        afresh = Vocabulary(edited.name, tuple(map(dataclasses.replace, edited.entries)))
        assert edited.synsets == afresh.synsets
        assert edited.entries[0] is coco.entries[0], "which is not looked up again"
    assert coco.synsets is known


def test_several_kinds_may_stand_between_commas() -> None:
    coco = load_vocabulary("coco")
    assert coco.only("animal, vehicle").classes == coco.only("animal", "vehicle").classes
    with pytest.raises(VocabularyError, match="no kind to keep"):
        coco.only(" , ")


def test_weights_by_name_and_back() -> None:
    weighted = PETS.with_weights({"cat": 8, "puppy": 0.5})
    assert [entry.weight for entry in weighted.entries] == [8, 0.5, 1]
    assert weighted.log_weights is not None
    np.testing.assert_allclose(weighted.log_weights, [2.0794415, -0.6931472, 0], rtol=1e-6)
    assert (weighted.name, weighted.classes) == ("pets, edited", PETS.classes)
    more = weighted.with_weights({"dog": 4})
    assert [entry.weight for entry in more.entries] == [8, 4, 1], "the others keep theirs"
    plain = weighted.unweighted()
    assert (plain.entries, plain.log_weights) == (PETS.entries, None)
    assert plain.name == "pets, edited, without prior"
    assert PETS.unweighted() is PETS
    with pytest.raises(VocabularyError, match="has no class 'cow' to get a weight"):
        PETS.with_weights({"cow": 2})
    with pytest.raises(VocabularyError, match="Class 'dog' has the weight 0"):
        PETS.with_weights({"puppy": 0})


def test_only_the_whole_fingerprint_follows_weights() -> None:
    weighted, other = (PETS.with_weights({"cat": weight}) for weight in (2, 3))
    assert len({each.fingerprint for each in (PETS, weighted, other)}) == 3
    assert len({each.names_fingerprint for each in (PETS, weighted, other)}) == 1
    assert PETS.fingerprint == PETS.names_fingerprint == weighted.unweighted().fingerprint


def test_edits_keep_weights() -> None:
    pets = Vocabulary.from_names(["*3 Cat/kitten", "dog/puppy", "*2 cup"])
    made = pets.with_class("*5 cow").renamed("cat", "lion").without("dog").only("animal")
    assert [(entry.name, entry.weight) for entry in made.entries] == [("lion", 3), ("cow", 5)]
    assert pets.with_unseen(["cat"]).entries[0].weight == 3
