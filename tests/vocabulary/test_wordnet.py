"""What is a kind of what, and what a vocabulary's classes have in common."""

from __future__ import annotations

import numpy as np
import pytest

from ovsam.errors import VocabularyError
from ovsam.vocabulary.builtin import builtin_vocabularies
from ovsam.vocabulary.load import load_vocabulary
from ovsam.vocabulary.vocabulary import Vocabulary
from ovsam.vocabulary.wordnet import Kinds, hierarchy

BUILTIN = ("coco", "lvis", "objects365", "imagenet1k", "imagenet21k", "22k")


def most_specific(words: str, *probabilities: float, level: float = 0.8) -> str | None:
    """The kind of things in a list that has something else, too, with no probability."""
    kinds = load_vocabulary(f"{words}, thunderstorm").kinds
    found = kinds.most_specific(np.array([*probabilities, 0.0]), level)
    return None if found is None else found[0]


@pytest.mark.parametrize("name", BUILTIN)
def test_classes_of_the_built_in_vocabularies_mean_something_each_its_own(name: str) -> None:
    vocabulary = load_vocabulary(name)
    known = [synset for synset in vocabulary.synsets if synset is not None]
    assert len(known) >= 0.88 * len(vocabulary)
    # "head phone" and "earphone" of Objects365 are one synset.
    assert len(known) - len(set(known)) <= (name == "objects365")


def test_a_class_means_what_its_own_vocabulary_says() -> None:
    """A crane of ImageNet is a bird or a machine, the mouse of COCO one for a hand."""
    in_1k = load_vocabulary("imagenet1k")
    rows = dict(zip(in_1k.classes, in_1k.synsets, strict=True))
    assert (rows["crane (bird)"], rows["crane (machine)"]) == ("n02012849", "n03126707")
    tree = hierarchy()
    [animal] = tree.named("animal")
    assert animal in tree.above(rows["kite"] or "")  # the bird
    coco = load_vocabulary("coco")
    assert animal not in tree.above(coco.synsets[coco.classes.index("kite")] or "")
    assert animal not in tree.above(coco.synsets[coco.classes.index("mouse")] or "")


def test_only_keeps_what_is_said_and_the_order() -> None:
    animals = load_vocabulary("coco").only("animal")
    assert animals.classes == tuple(
        "bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe".split(",")
    )
    assert animals.synonyms[2] == ("dog", "puppy")
    assert animals.name == "coco, only animal"
    both = load_vocabulary("coco").only("Carnivore", "seat")
    assert both.classes == ("bench", "cat", "dog", "bear", "chair", "couch")
    assert both.only("seat").classes == ("bench", "chair", "couch")


def test_only_keeps_meanings_and_what_is_never_the_answer() -> None:
    in_1k = load_vocabulary("imagenet1k").only("bird")
    assert in_1k.synsets[in_1k.classes.index("kite")] == "n01608432"
    split = load_vocabulary("coco-ov").only("animal")
    assert all(split.answerable)
    food = load_vocabulary("coco-ov").only("food")
    pairs = zip(food.classes, food.answerable, strict=True)
    assert [name for name, may in pairs if not may] == ["hot dog"]


def test_only_of_words_of_ones_own() -> None:
    mine = load_vocabulary("my thing, corgi, Tea_Pot, hound dog/beagle, animal")
    assert mine.only("dog").classes == ("corgi", "hound dog")
    assert mine.only("animal").classes == ("corgi", "hound dog", "animal")


def test_only_what_is_not_known_or_not_there() -> None:
    coco = load_vocabulary("coco")
    with pytest.raises(VocabularyError, match=r"'anmal' is not known .* Did you mean .*animal"):
        coco.only("anmal")
    with pytest.raises(VocabularyError, match="more common word"):
        coco.only("qqqqqqqq")
    with pytest.raises(VocabularyError, match="No class of vocabulary 'coco' is a kind of shark"):
        coco.only("shark")


# Two granularities


def test_the_most_specific_kind_that_is_likely_enough() -> None:
    words = "dalmatian, beagle, tabby cat, teapot"
    assert most_specific(words, 0.45, 0.4, 0.1, 0.04) == "dog"
    assert most_specific(words, 0.45, 0.3, 0.2, 0.04) == "animal", "no carnivore, no placental"
    assert most_specific(words, 0.45, 0.1, 0.1, 0.35) is None, "what they share says nothing"
    kinds = load_vocabulary(words).kinds
    found = kinds.most_specific(np.array([0.45, 0.4, 0.1, 0.04]), 0.8)
    assert found is not None
    assert found[1] == pytest.approx(0.85)
    assert most_specific(words, 0.45, 0.4, 0.1, 0.04, level=0.86) == "animal"


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("oak, daisy", "plant"),
        ("maple, willow", "tree"),
        ("espresso, latte", "coffee"),
        ("lemonade, ale", "drink"),
        ("loafer, clog", "footwear"),
        ("violin, banjo", "stringed instrument"),
        ("bus, taxi", "vehicle"),
        ("teapot, frying pan", "kitchen utensil"),
    ],
)
def test_kinds_are_words_that_people_use(words: str, kind: str) -> None:
    assert most_specific(words, 0.5, 0.5) == kind


def test_kinds_are_none_that_say_nothing() -> None:
    telling = hierarchy().kind_words
    assert {"animal", "dog", "vehicle", "food", "person", "furniture"} <= set(telling.values())
    every = load_vocabulary("22k")
    counts = {
        word: sum(synset in hierarchy().above(s) for s in every.synsets if s)
        for synset, word in telling.items()
    }
    assert min(counts.values()) > 1, "a kind of one class says no more than its name"
    assert len(telling) > 190


@pytest.mark.parametrize(
    ("vocabulary", "kind", "has", "lacks"),
    [
        ("coco", "vehicle", "bus, train, car, boat, airplane", "traffic light, horse"),
        ("coco", "sports equipment", "skis, frisbee, sports ball, tennis racket", "kite, car"),
        ("coco", "kitchen utensil", "fork, spoon, knife", "tie, scissors, sink"),
        ("coco", "electronic device", "tv, laptop, cell phone, remote", "clock, book"),
        ("coco", "container", "cup, bottle, backpack", "car, bicycle, spoon"),
        ("lvis", "vehicle", "school bus, bullet train, ambulance", "elevator car"),
        ("lvis", "clothing", "shoe, sandal (type of shoe), bib, sock, jean", "necklace"),
        ("lvis", "food", "edible corn, whipped cream, garlic", "dog food"),
        ("objects365", "vehicle", "bus, heavy truck, hoverboard", "balloon, horse"),
        ("objects365", "clothing", "high heels, leather shoes, sneakers", "hanger"),
        ("objects365", "furniture", "nightstand, side table, bed", "sink"),
        ("objects365", "animal", "lobster, shrimp, other fish, wild bird", "stuffed toy"),
        ("coco", "pet", "cat, dog", "horse, bear, hot dog"),
        ("coco", "transportation", "bus, boat, bicycle", "traffic light, bench"),
        ("coco", "dessert", "cake, donut", "pizza, apple"),
        ("lvis", "dessert", "pie, cookie", "quiche, pancake"),
        ("coco", "kitchenware", "cup, fork, bowl", "oven, sink, chair"),
        ("lvis", "light", "lamp, oil lamp, taillight, traffic light", "light bulb socket, sun hat"),
        ("lvis", "pet", "hamster, puppy, kitten, cat", "cougar, lion, bear"),
        ("lvis", "farm animal", "cow, calf, goat, lamb (animal), sheep", "zebra, dog"),
        ("objects365", "fast food", "hamburger, pizza, French fries", "apple"),
        ("22k", "vehicle", "school bus, train, minibus", "bus stop"),
        ("22k", "plant", "oak, potted plant, Christmas tree", "steel mill"),
    ],
)
def test_only_is_what_people_expect(vocabulary: str, kind: str, has: str, lacks: str) -> None:
    classes = set(load_vocabulary(vocabulary).only(kind).classes)
    assert set(has.split(", ")) <= classes
    assert not classes & set(lacks.split(", "))


def test_what_wordnet_does_not_know_has_a_meaning_of_its_own() -> None:
    assert load_vocabulary("high heels, shoe").classes == ("high heels", "shoe")
    mine = load_vocabulary("High heels, stop sign, teapot")
    assert mine.only("shoe").classes == ("High heels",)


def test_classes_without_a_meaning_have_no_kind() -> None:
    assert Kinds([None, None]).most_specific(np.array([0.5, 0.5]), 0.1) is None


def test_a_class_may_be_the_kind_of_another() -> None:
    assert most_specific("dog, dalmatian, cup", 0.5, 0.4, 0.1) == "dog"


def test_all_classes_at_once() -> None:
    vocabulary = load_vocabulary("22k")
    kinds = vocabulary.kinds
    found = kinds.most_specific(np.full(len(vocabulary), 1 / len(vocabulary)), 0.15)
    assert found is not None


@pytest.mark.parametrize("name", builtin_vocabularies())
def test_every_vocabulary_has_food(name: str) -> None:
    assert len(load_vocabulary(name).only("food")) > 5


def test_a_kind_of_several_meanings() -> None:
    """Flora and not factories; what is cooked and what is not."""
    names = load_vocabulary("oak, steel mill, banana, stew, petunia")
    assert names.only("plant").classes == ("oak", "petunia")
    assert names.only("food").classes == ("banana", "stew")


def test_what_is_noted_for_a_built_in_vocabulary_is_for_no_other() -> None:
    mine = Vocabulary.from_names(["kite"], name="mine")
    [toy] = mine.synsets
    in_1k = load_vocabulary("imagenet1k").only("bird")
    assert in_1k.synsets[in_1k.classes.index("kite")] != toy


# Words of several meanings


@pytest.mark.parametrize(
    ("kind", "has", "lacks"),
    [
        ("telephone", "cell phone, pay-phone", "wake-up call, voice mail"),
        ("dress", "cocktail dress, sundress", "wig, tux"),
        ("rock", "outcrop", "kidney stone, urolith"),
        ("picture", "painting, poster", "mammogram"),
        ("pig", "hog, wild boar", "pig bed"),
        ("helmet", "crash helmet", "morion"),
        ("trousers", "trousers, slacks", "bloomers"),
    ],
)
def test_kinds_mean_what_people_mean(kind: str, has: str, lacks: str) -> None:
    every = load_vocabulary("22k")
    [said] = (synset for synset, word in hierarchy().kind_words.items() if word == kind)
    synsets = dict(zip(every.classes, every.synsets, strict=True))
    under = {
        name for name, synset in synsets.items() if synset and said in hierarchy().above(synset)
    }
    for classes in (under, set(every.only(kind).classes)):
        assert set(has.split(", ")) <= classes
        assert not classes & set(lacks.split(", "))


def test_everyday_words_mean_the_everyday_thing() -> None:
    assert load_vocabulary("pants, shirt").only("trousers").classes == ("pants",)
    with pytest.raises(VocabularyError, match="is a kind of person"):
        load_vocabulary("speaker, tv").only("person")
    every = load_vocabulary("22k")
    assert every.class_of("pants") == "trousers"
    of_22k = dict(zip(every.classes, every.synsets, strict=True))
    for name in ("coco", "lvis", "objects365"):
        mine = load_vocabulary(name)
        pairs = zip(mine.classes, mine.synsets, strict=True)
        other = [n for n, s in pairs if s and of_22k[every.class_of(n) or ""] != s]
        assert other == (["pepper", "slide"] if name == "objects365" else [])


def test_plurals_mean_their_singular() -> None:
    mine = load_vocabulary("cars, dogs, cat, buses, puppies")
    assert mine.only("Animals").classes == ("dogs", "cat", "puppies")
    assert mine.only("vehicles").classes == ("cars", "buses")
    assert hierarchy().find("glasses") != hierarchy().find("glass")


@pytest.mark.parametrize(
    ("plural", "singular"),
    [
        ("shoes", "shoe"),
        ("people", "person"),
        ("women", "woman"),
        ("knives", "knife"),
        ("children", "child"),
        ("mice", "mouse"),
        ("vases", "vase"),
        ("dishes", "dish"),
        ("lorries", "truck"),
    ],
)
def test_plurals_of_everyday_things_mean_no_more_than_those(plural: str, singular: str) -> None:
    assert hierarchy().find(plural) == hierarchy().find(singular) is not None
    every = load_vocabulary("22k")
    assert every.only(plural).classes == every.only(singular).classes


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("purse", "handbag"),
        ("trainers", "sneakers"),
        ("rubbish bin", "trash can"),
        ("human", "person"),
    ],
)
def test_everyday_words_find_their_class(word: str, name: str) -> None:
    assert load_vocabulary("22k").class_of(word) == name


def test_a_kind_that_the_list_itself_forces_is_not_said() -> None:
    animals = load_vocabulary("coco").only("animal")
    even = np.full(len(animals), 1 / len(animals))
    assert animals.kinds.most_specific(even, 0.8) is None
    animals = load_vocabulary("beagle, poodle, robin, goldfish")
    assert animals.kinds.most_specific(np.array([0.5, 0.4, 0.1, 0.0]), 0.8) == ("dog", 0.9)
    assert animals.kinds.most_specific(np.array([0.3, 0.2, 0.3, 0.2]), 0.8) is None
    # What is never the answer is no way out.
    with_cup = load_vocabulary("beagle, poodle, robin, goldfish, !cup")
    assert with_cup.kinds.most_specific(np.array([0.3, 0.2, 0.3, 0.2, 0.0]), 0.8) is None
    could_be = load_vocabulary("beagle, poodle, robin, goldfish, cup").kinds
    kind = could_be.most_specific(np.array([0.3, 0.2, 0.3, 0.2, 0.0]), 0.8)
    assert kind is not None and kind[0] == "animal"


def test_a_kind_that_one_class_alone_speaks_for_is_not_said() -> None:
    assert most_specific("couch, daybed, cup", 0.6, 0.02, 0.38, level=0.5) is None
    assert most_specific("couch, daybed, cup", 0.6, 0.2, 0.2, level=0.5) == "sofa"
    assert most_specific("couch, daybed, table, cup", 0.6, 0.02, 0.2, 0.18) == "furniture"
    assert most_specific("couch, daybed, table", 0.88, 0.02, 0.1) == "furniture"
