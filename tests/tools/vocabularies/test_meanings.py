"""What classes mean."""

from __future__ import annotations

import pytest

from tiny_wordnet import n, tiny_wordnet
from tools.vocabularies.entry import Entry
from tools.vocabularies.meanings import give_synsets, kinds_among, merged_synsets

LVIS = [
    Entry(["mouse (computer equipment)"], n(15)),
    Entry(["hound", "dogs"], n(4)),
    Entry(["loafer", "shoe"], n(11)),
    Entry(["shoe"], n(10)),
]


@pytest.mark.parametrize(
    ("name", "synset"),
    [
        ("Mouse", n(15)),  # LVIS's, without brackets
        ("mice", n(15)),  # a plural of that
        ("shoe", n(10)),  # a first name of LVIS before another's synonym
        ("dogs", n(4)),  # a synonym of LVIS before the singular that WordNet has
        ("bird", n(5)),  # LVIS has none
        ("cranes", n(6)),  # WordNet's first
        ("crane truck", n(8)),  # as people chose
        ("animal", None),  # so, too
        ("street light", None),  # no noun of WordNet
    ],
)
def test_a_name_means_what_people_chose_or_lvis_or_wordnet_says(
    name: str, synset: str | None
) -> None:
    entry = Entry([name, "bird"])
    senses = {"crane truck": "crane.n.02", "animal": ""}
    give_synsets([entry], LVIS, tiny_wordnet(), senses)
    assert entry.synset == synset


def test_one_sense_stands_for_others() -> None:
    same = {"dog.n.01": ["puppy.n.01", "domestic_dog.n.01"], "crane.n.02": ["crane.n.01"]}
    assert merged_synsets(same, tiny_wordnet()) == {n(4): n(3), n(3): n(3), n(6): n(8)}
    with pytest.raises(ValueError, match=r"kitty\.n\.01"):
        merged_synsets({"dog.n.01": ["kitty.n.01"]}, tiny_wordnet())


def test_kinds_among_have_all_below_them() -> None:
    synsets = [n(1), n(3), n(4), n(13)]
    assert kinds_among(synsets, ["dog.n.01", "bigot.n.01"], tiny_wordnet()) == {n(3), n(4), n(13)}
    assert kinds_among(synsets, [], tiny_wordnet()) == set()
