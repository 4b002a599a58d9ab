"""The vocabularies that ship: what is in them, and that it stays so."""

from __future__ import annotations

import re

import pytest

from ovsam.errors import VocabularyError
from ovsam.vocabulary.builtin import (
    COCO_BASE,
    COCO_NOVEL,
    builtin_notes,
    builtin_vocabularies,
    builtin_weights,
    lvis_groups,
)
from ovsam.vocabulary.load import load_vocabulary
from ovsam.vocabulary.wordnet import hierarchy

FILES = ("coco", "lvis", "objects365", "imagenet1k", "imagenet21k", "22k")


def test_builtins_are_listed_and_load() -> None:
    described = builtin_vocabularies()
    assert {name: len(load_vocabulary(name)) for name in described} == {
        "coco": 80,
        "coco-ov": 80,
        "lvis": 1203,
        "objects365": 365,
        "imagenet1k": 1000,
        "imagenet21k": 21_841,
        "22k": 21_185,
    }
    assert "21,185" in described["22k"]
    assert all(described.values())
    assert load_vocabulary("coco") is load_vocabulary("coco")
    described.clear()
    assert builtin_vocabularies()


def test_coco_has_its_official_names_and_order() -> None:
    coco = load_vocabulary("coco")
    assert coco.classes[:3] == ("person", "bicycle", "car")
    assert coco.classes[60:63] == ("dining table", "toilet", "tv")
    assert coco.classes[78:] == ("hair drier", "toothbrush")
    assert all(coco.answerable)
    assert {"person", "child", "girl", "boy", "man", "woman", "people"} <= set(coco.synonyms[0])


@pytest.mark.parametrize("name", FILES)
def test_builtin_synonyms_belong_to_one_class_each(name: str) -> None:
    entries = load_vocabulary(name)
    texts = [text for texts in entries.synonyms for text in texts]
    assert len(texts) == len(set(texts))
    assert all(text == text.lower().strip() for text in texts)
    for display, synonyms in zip(entries.classes, entries.synonyms, strict=True):
        assert synonyms[0] == display.lower()


def test_coco_split() -> None:
    coco, split = load_vocabulary("coco"), load_vocabulary("coco-ov")
    assert (len(set(COCO_BASE)), len(set(COCO_NOVEL))) == (48, 17)
    assert not set(COCO_BASE) & set(COCO_NOVEL)
    assert (split.classes, split.synonyms) == (coco.classes, coco.synonyms)
    answers = [name for name, may in zip(split.classes, split.answerable, strict=True) if may]
    assert set(answers) == {*COCO_BASE, *COCO_NOVEL}
    assert split.answerable.count(False) == 15
    assert split.fingerprint != coco.fingerprint


def test_imagenet_is_in_index_order_with_names_told_apart() -> None:
    classes = load_vocabulary("imagenet1k").classes
    assert (classes[0], classes[207], classes[999]) == (
        "tench",
        "golden retriever",
        "toilet tissue",
    )
    assert (classes[134], classes[517]) == ("crane (bird)", "crane (machine)")
    assert (classes[264], classes[474]) == ("Cardigan Welsh corgi", "cardigan")
    assert (classes[638], classes[639]) == ("maillot (tights)", "maillot (swimsuit)")


@pytest.mark.parametrize("name", builtin_vocabularies())
def test_builtin_files_say_where_they_come_from(name: str) -> None:
    notes = builtin_notes(name)
    assert re.search("licence|CC BY", notes)
    assert "#" not in notes


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("lvis", {0: "aerosol can", 16: "arctic (type of shoe)", 1202: "zucchini"}),
        ("objects365", {0: "person", 12: "cabinet", 307: "camel", 364: "table tennis"}),
        ("imagenet21k", {0: "organism", 2: "heterotroph", 21840: "knothole"}),
        ("22k", {0: "person", 19: "cow", 64: "mouse", 80: "aerosol can"}),
    ],
)
def test_builtin_members(name: str, members: dict[int, str]) -> None:
    classes = load_vocabulary(name).classes
    assert {row: classes[row] for row in members} == members


def test_synonyms_of_lvis() -> None:
    assert row_of("lvis", "aerosol can") == ("aerosol can", "spray can")
    assert row_of("lvis", "bull") == ("bull", "horned cow")
    assert "wiper (for windshield or screen)" in row_of("lvis", "windshield wiper")


def test_lvis_groups() -> None:
    groups = lvis_groups()
    assert {name: len(classes) for name, classes in groups.items()} == {
        "rare": 337,
        "common": 461,
        "frequent": 405,
    }
    grouped = [name for classes in groups.values() for name in classes]
    assert sorted(grouped) == sorted(load_vocabulary("lvis").classes)
    assert "aerosol can" in groups["common"]
    assert "applesauce" in groups["rare"]
    assert "zebra" in groups["frequent"]


def test_objects365_is_spelt_right() -> None:
    names = load_vocabulary("objects365")
    assert row_of("objects365", "monitor") == ("monitor", "tv")
    assert row_of("objects365", "cutting board") == ("cutting board", "chopping board")
    assert {"balloon", "mushroom", "SUV", "CD", "French fries"} <= set(names.classes)


def test_imagenet21k_has_wordnets_names_in_order() -> None:
    """Each class is called by names that timm has for its index, or by one with its kind."""
    from timm.data.imagenet_info import ImageNetInfo

    entries = load_vocabulary("imagenet21k")
    listed = ImageNetInfo("imagenet-22k").label_descriptions()
    in_1k = {text for texts in load_vocabulary("imagenet1k").synonyms for text in texts}
    described = 0
    for texts, names in zip(entries.synonyms, listed, strict=True):
        known = {name.lower().replace("/", " ") for name in names.split(", ")}
        for text in set(texts) - known - in_1k:
            assert text.partition(" (")[0] in known
            described += 1
    assert 500 < described < 1500
    assert row_of("imagenet21k", "dalmatian") == ("dalmatian", "coach dog", "carriage dog")


def test_22k_has_every_class_of_the_others() -> None:
    """But for people whom names judge, and a few plants and animals by names that mislead."""
    union = load_vocabulary("22k")
    texts = {text for texts in union.synonyms for text in texts}
    [person] = hierarchy().named("person")
    for name in FILES:
        entries = load_vocabulary(name)
        missing = {
            entry: synset
            for entry, synset in zip(entries.classes, entries.synsets, strict=True)
            if entry.lower() not in texts
        }
        people = [e for e, s in missing.items() if s and person in hierarchy().above(s)]
        assert len(people) <= (815 if name == "imagenet21k" else 0)
        others = missing.keys() - {*people, "beef"}  # cattle, by that name
        assert all({"squaw", "kaffir", "negro"} & set(other.lower().split()) for other in others)


@pytest.mark.parametrize("name", ["Nazi", "bad person", "redneck", "slut", "cripple", "African"])
def test_22k_names_no_one_by_an_insult(name: str) -> None:
    assert name.lower() not in {t for texts in load_vocabulary("22k").synonyms for t in texts}
    with pytest.raises(VocabularyError, match="not known"):
        load_vocabulary("22k").only(name)
    assert {"doctor", "bride", "soccer player", "girl"} <= set(load_vocabulary("22k").classes)


def test_22k_has_each_meaning_once() -> None:
    """Where names agree meanings may not: the rule is WordNet's synset (docs/segment.md)."""
    assert row_of("22k", "mouse")[:2] == ("mouse", "computer mouse")  # of five vocabularies
    assert "lift" not in row_of("22k", "crane (bird)")
    assert "construction crane" in row_of("22k", "crane")  # Objects365's
    assert "wineglass" in row_of("22k", "wine glass")
    assert {"sofa", "couch"} <= set(row_of("22k", "couch"))
    assert "mouse (rodent)" in load_vocabulary("22k").classes


@pytest.mark.parametrize(
    "names",
    [
        ("cat", "kitty", "domestic cat", "house cat"),
        ("cow", "cattle", "moo-cow"),
        ("dog", "pooch"),
        ("potted plant", "houseplant"),
        ("shower head", "showerhead"),
        ("tv", "television", "television set"),
        ("skis", "skiboard"),
        ("brussels sprouts", "brussels sprout"),
        ("sports ball", "other balls"),
        ("trousers", "pants", "trouser"),
        ("quilt", "comforter"),
        ("speaker", "loudspeaker", "speaker (stero equipment)"),
        ("motorcycle", "motorbike"),
        ("airplane", "plane"),
        ("faucet", "tap"),
        ("hog", "pig", "swine"),
        ("couch", "sofa", "settee"),
        ("rabbit", "bunny"),
    ],
)
def test_22k_has_names_that_mean_the_same_in_one_class(names: tuple[str, ...]) -> None:
    entries = load_vocabulary("22k")
    owners = {entries.class_of(name) for name in names}
    assert owners == {names[0]}


@pytest.mark.parametrize(
    "names",
    [
        ("apple", "orchard apple tree"),
        ("baseball", "baseball game"),
        ("cat", "tabby"),
        ("bloomers", "trousers"),
        ("turkey", "turkey (food)"),
        ("tank (storage vessel)", "army tank"),
        ("speaker", "talker"),
    ],
)
def test_22k_keeps_meanings_apart(names: tuple[str, ...]) -> None:
    assert set(names) <= set(load_vocabulary("22k").classes)


def row_of(vocabulary: str, name: str) -> tuple[str, ...]:
    """The texts of the class of that name."""
    entries = load_vocabulary(vocabulary)
    return entries.synonyms[entries.classes.index(name)]


@pytest.mark.parametrize("name", builtin_vocabularies())
def test_fingerprints_of_the_built_in_ones(name: str) -> None:
    """Cached vectors are found, and reports compared, by them: they do not change unnoticed."""
    vocabulary = load_vocabulary(name)
    is_weighted = name in ("imagenet21k", "22k")
    assert (vocabulary.fingerprint != vocabulary.names_fingerprint) == is_weighted
    assert (
        vocabulary.names_fingerprint[:12]
        == {
            "coco": "8f3d6aeeaf9c",
            "coco-ov": "fde386a4068c",
            "lvis": "a6359a8143eb",
            "objects365": "656b0b02b482",
            "imagenet1k": "a209c6d39d27",
            "imagenet21k": "9f4f36097354",
            "22k": "a641ee97a03b",
        }[name]
    )


@pytest.mark.parametrize("name", ["Dinning Table", "Trash bin Can", "Cutting/chopping Board"])
def test_objects365_is_known_by_the_spelling_of_its_files(name: str) -> None:
    assert load_vocabulary("objects365").class_of(name) is not None


@pytest.mark.parametrize("name", builtin_vocabularies())
def test_long_vocabularies_know_how_ordinary_things_are(name: str) -> None:
    """Those that others measure with do not; every weight that ships is of a class."""
    vocabulary = load_vocabulary(name)
    weights = {entry.name: entry.weight for entry in vocabulary.entries if entry.weight != 1}
    assert weights == builtin_weights(name)
    assert bool(weights) == (name in ("imagenet21k", "22k"))


def test_an_ordinary_thing_outweighs_a_rare_one() -> None:
    names = load_vocabulary("22k")
    weights = {entry.name: entry.weight for entry in names.entries}
    assert weights["bus"] > weights["neck brace"]
    assert weights["cat"] > weights["tiger cat"]
    assert weights["umbrella"] > weights["umbrella plant"] == 1
