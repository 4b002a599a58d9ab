"""How ordinary a thing is, by hand-worked sums."""

from __future__ import annotations

import math

import pytest

from tiny_wordnet import n
from tools.vocabularies.choices import Prior
from tools.vocabularies.entry import Entry
from tools.vocabularies.prior import Ordinariness, sense_counts, weight_files

PRIOR = Prior(
    everyday=2.0,
    objects365_rank=0.5,
    imagenet1k=1.0,
    sense_count=0.25,
    lvis={"rare": -1.0, "common": 0.0, "frequent": 3.0},
)
VOCABULARIES = {
    "lvis": [
        Entry(["shoe"], n(10), "frequent"),
        Entry(["puppy"], n(4), "rare"),
        Entry(["hound"], n(3), "common"),
    ],
    "objects365": [Entry(["shoe"], n(10)), Entry(["dog"], n(3)), Entry(["a"]), Entry(["b"])],
}
COUNTS = {n(3): 7, n(12): 1}
KNOWN = Ordinariness(VOCABULARIES, COUNTS, PRIOR)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (Entry(["unicorn"], None, parts=[("imagenet21k", ["unicorn"])]), 0.0),
        (Entry(["cup"], None, parts=[("coco", ["cup"])]), 2.0),
        (Entry(["puppy"], n(4), parts=[("lvis", ["puppy"]), ("imagenet1k", ["pup"])]), 2 - 1 + 1),
        (Entry(["shoe"], n(10), parts=[("lvis", ["shoe"])]), 2 + 3),
        (Entry(["shoe"], n(10), parts=[("objects365", ["shoe"])]), 2 + 0.5 * math.log(4)),
        (Entry(["person"], n(12), parts=[("imagenet21k", ["person"])]), 0.25 * math.log(2)),
        (  # the better of two classes of LVIS, the second of Objects365, seven times in texts
            Entry(
                ["dog"],
                n(3),
                parts=[("lvis", ["puppy"]), ("lvis", ["hound"]), ("objects365", ["dog"])],
            ),
            2 + 0 + 0.5 * math.log(2) + 0.25 * math.log(8),
        ),
    ],
)
def test_a_log_weight_is_the_sum_of_what_sources_say(entry: Entry, expected: float) -> None:
    assert KNOWN.log_weight(entry) == pytest.approx(expected)


def test_a_meaning_counts_with_those_that_it_stands_for() -> None:
    counts = {n(3): 7, n(4): 2, n(5): 1}
    assert sense_counts(counts, {n(4): n(3), n(6): n(5)}) == {n(3): 9, n(5): 1}


def test_files_have_the_classes_whose_weight_is_not_1() -> None:
    union = [
        Entry(["cup"], None, parts=[("coco", ["cup"])]),
        Entry(["unicorn"], n(13), parts=[("imagenet21k", ["unicorn"])]),
        Entry(["dog"], n(3), parts=[("coco", ["dog"]), ("imagenet21k", ["hound"])]),
    ]
    imagenet21k = [
        Entry(["hound"], n(3)),
        Entry(["pooch"], n(4)),  # which dog stands for in the union
        Entry(["unicorn"], n(13)),
        Entry(["person"], n(12)),  # left out of the union
    ]
    files = weight_files(union, imagenet21k, {n(4): n(3)}, KNOWN)
    # e^2 = 7.389, e^(2 + log(8) / 4) = 7.389 * 8^0.25 = 12.43, 2^0.25 = 1.189
    assert files["22k_weights"].lines == ("cup, 7.39", "dog, 12.4")
    assert files["imagenet21k_weights"].lines == ("hound, 12.4", "pooch, 12.4", "person, 1.19")
