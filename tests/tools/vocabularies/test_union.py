"""`22k`: each meaning once."""

from __future__ import annotations

from tiny_wordnet import n, tiny_wordnet
from tools.vocabularies.choices import Names
from tools.vocabularies.entry import Entry
from tools.vocabularies.union import (
    apply_choices,
    drop_plurals,
    everyday_plurals,
    give_everyday_names,
    union_entries,
    union_files,
    unite,
)

NO_CHOICES = Names(slurs=[], kept_brackets=[], misnomers={}, added={})


def test_classes_of_one_synset_or_one_name_are_one() -> None:
    vocabularies = {
        "coco": [Entry(["dog", "hound"], n(3)), Entry(["hot dog"])],
        "lvis": [
            Entry(["puppy"], n(4)),  # which n(3) stands for
            Entry(["Hot-Dog"], n(9)),  # the first has no synset: a namesake
            Entry(["mouse"], n(15)),
        ],
        "imagenet1k": [
            Entry(["mouse"], n(14)),  # another meaning
            Entry(["mouse"]),  # no meaning: the first namesake's
            Entry(["footwear"], n(9)),  # what the hot dog means by now
        ],
    }
    united = unite(vocabularies, {n(4): n(3)})
    assert [(entry.names, entry.synset) for entry in united] == [
        (["dog", "hound", "puppy"], n(3)),
        (["hot dog", "Hot-Dog", "footwear"], n(9)),
        (["mouse", "mouse"], n(15)),
        (["mouse"], n(14)),
    ]
    assert united[0].parts == [("coco", ["dog", "hound"]), ("lvis", ["puppy"])]


def test_lvis_goes_without_brackets_where_no_other_class_is_so_called() -> None:
    speaker = Entry(["shoe (for feet)", "footgear"], n(9), parts=[])
    speaker.parts = [("lvis", ["shoe (for feet)", "footgear (worn)"])]
    bird = Entry(["crane (bird)"], n(6), parts=[("lvis", ["crane (bird)"])])
    lifter = Entry(["crane"], n(8), parts=[("objects365", ["crane"])])
    kept = Entry(["mouse (toy)"], n(14), parts=[("lvis", ["mouse (toy)"])])
    choices = NO_CHOICES.model_copy(update={"kept_brackets": ["mouse (toy)"]})
    give_everyday_names([speaker, bird, lifter, kept], choices, tiny_wordnet())
    # "footgear" is what WordNet calls it, too.
    assert speaker.names == ["shoe", "shoe (for feet)", "footgear", "footgear"]
    assert speaker.everyday_names == ["footgear"]
    assert (bird.names, lifter.names) == (["crane (bird)"], ["crane"])
    assert kept.names == ["mouse (toy)"]


def test_names_that_everyday_vocabularies_and_wordnet_have_are_everyday_ones() -> None:
    dog = Entry(
        ["hound", "dog", "domestic dogs", "pet"],
        n(3),
        parts=[
            ("coco", ["hound"]),
            ("lvis", ["dog", "domestic dogs", "pet", "creature"]),
            ("imagenet1k", ["puppy"]),
        ],
    )
    animal = Entry(["animal"], n(2), parts=[("lvis", ["animal", "creature"])])
    give_everyday_names([dog, animal], NO_CHOICES, tiny_wordnet())
    # "dog" is shown in LVIS; WordNet has the plural's singular; "pet" it has not, and "creature"
    # two classes are called.
    assert dog.everyday_names == ["dog", "domestic dogs"]
    assert dog.reserved_names == ["dog"]
    assert (animal.everyday_names, animal.reserved_names) == ([], [])


def test_a_misnomer_is_no_everyday_name() -> None:
    choices = NO_CHOICES.model_copy(update={"misnomers": {"dog": ["domestic dog"]}})
    dog = Entry(["dog"], n(3), parts=[("coco", ["dog", "domestic dog"])])
    give_everyday_names([dog], choices, tiny_wordnet())
    assert dog.everyday_names == []


def test_a_plural_of_an_everyday_class_is_no_synonym_of_another() -> None:
    shoe = Entry(["shoe", "shoes"], parts=[("coco", ["Shoe"])])
    place = Entry(["place", "Shoes", "box", "glasses"], parts=[("imagenet1k", ["place"])])
    glass = Entry(["glass"], parts=[("lvis", ["glass"])])
    glasses = Entry(["glasses"], parts=[("lvis", ["glasses"])])
    entries = [shoe, place, glass, glasses]
    plurals = everyday_plurals(entries)
    assert (plurals["shoes"], plurals["shoees"]) == (shoe, shoe)
    assert plurals["glasss"] is glass
    assert "glasses" not in plurals and "places" not in plurals
    drop_plurals(entries)
    assert shoe.names == ["shoe", "shoes"]
    assert place.names == ["place", "box", "glasses"]


def test_choices_add_names_and_take_others() -> None:
    choices = Names(
        slurs=["slur"],
        kept_brackets=[],
        misnomers={"cow": ["beef"]},
        added={"truck": ["lorry", "HGV"]},
    )
    truck = Entry(["truck", "slur truck", "Lorry"])
    apply_choices(truck, choices)
    assert truck.names == ["truck", "Lorry", "HGV"]
    assert truck.everyday_names == truck.reserved_names == ["lorry", "HGV"]
    cow = Entry(["cow", "beef"])
    apply_choices(cow, choices)
    assert cow.names == ["cow"]
    only = Entry(["slur lily", "Slur plant"])  # has no other name
    apply_choices(only, choices)
    assert only.names == ["slur lily", "Slur plant"]


def test_all_steps() -> None:
    vocabularies = {
        "coco": [Entry(["mouse"], n(15)), Entry(["shoe"], n(10))],
        "lvis": [Entry(["footwear (worn)"], n(9))],
        "imagenet1k": [Entry(["mouse", "wild mouse", "shoes"], n(14)), Entry(["crane"], n(6))],
        "imagenet21k": [Entry(["crane", "machine"], n(8)), Entry(["dog"], n(3))],
    }
    choices = NO_CHOICES.model_copy(update={"added": {"dog": ["machine"]}})
    union = union_entries(vocabularies, {}, choices, tiny_wordnet())
    [file] = union_files(union, vocabularies, left_out=4).values()
    assert file.lines == (
        "mouse",
        "shoe",
        "footwear, footwear (worn)",
        "wild mouse",
        "crane",
        "crane (lifting device)",  # "machine" is the dog's
        "dog, machine",
    )
    assert file.comments[2] == "What each adds: coco 2, lvis 1, imagenet1k 2, imagenet21k 2."
    assert file.comments[3].startswith("Left out are 4 of")
