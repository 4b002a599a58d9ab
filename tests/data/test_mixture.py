"""The order of draws: epochs, repeats and shares, each from the seed and the number alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ovsam.data.dataset import DataSet
from ovsam.data.mixture import BLOCK, Mixture, PhotoOrder, repeat_factors
from ovsam.errors import AnnotationError
from ovsam.formats.annotations import Category
from ovsam.formats.listing import ListedPhoto, Photos


def same(photo: ListedPhoto) -> ListedPhoto:
    return photo


def labelled(labels: Sequence[str]) -> DataSet:
    photos = [ListedPhoto(Path(f"{i}.jpg"), label=label) for i, label in enumerate(labels)]
    categories = tuple(Category(name, (name,)) for name in dict.fromkeys(labels))
    return DataSet("labelled", categories, Photos(photos, same))


# Repeat factors


def test_repeat_factors_by_hand() -> None:
    # dog: 8 of 10 photos, cat: 4, ox: 1, none: 1. With t = 0.4 only ox is rare: sqrt(0.4 / 0.1).
    photos = [["dog"]] * 5 + [["dog", "cat"]] * 2 + [["dog", "cat", "ox"], ["cat", "cat"], []]
    assert repeat_factors(photos, 0.4).tolist() == [1] * 7 + [2] + [1] * 2
    # With t = 1.6: dog sqrt(2), cat 2, ox 4.
    root = 2**0.5
    expected = [root] * 5 + [2] * 2 + [4, 2, 1]
    assert repeat_factors(photos, 1.6).tolist() == pytest.approx(expected)
    assert repeat_factors(photos, 0).tolist() == [1] * 10


# One data set


def test_epochs_are_permutations() -> None:
    order = PhotoOrder(np.ones(50), (3,))
    epochs = [[order[epoch * 50 + i] for i in range(50)] for epoch in range(3)]
    assert len(order) == 50
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert epochs[0] != list(range(50))
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_a_draw_depends_on_seed_and_number_alone() -> None:
    factors = np.linspace(1, 3, 40)
    forward = [PhotoOrder(factors, (1, 2))[j] for j in range(200)]
    order = PhotoOrder(factors, (1, 2))
    assert [order[j] for j in reversed(range(200))] == forward[::-1]
    other = PhotoOrder(factors, (1, 3))
    assert [other[j] for j in range(200)] != forward


def test_rare_photos_come_more_often() -> None:
    """Factors 1, 1.25 and 2.5 of 8, 8 and 4 photos: 8 + 10 + 10 draws in an epoch."""
    factors = [1.0] * 8 + [1.25] * 8 + [2.5] * 4
    order = PhotoOrder(factors, (0,))
    assert len(order) == 28
    totals: Counter[int] = Counter()
    patterns = set()
    for epoch in range(200):
        counts = Counter(order[epoch * 28 + i] for i in range(28))
        for photo, factor in enumerate(factors):
            assert np.floor(factor) <= counts[photo] <= np.ceil(factor)
        patterns.add(tuple(counts[photo] for photo in range(20)))
        totals += counts
    assert len(patterns) > 100  # the fractions are drawn anew
    means = np.array([totals[photo] / 200 for photo in range(20)])
    assert np.abs(means - factors).max() < 0.15  # 4 standard deviations of 200 draws of 1/2


# Several data sets


def test_every_block_holds_the_shares() -> None:
    mixture = Mixture([labelled("a" * 7), labelled("b" * 90), labelled("c")], [5, 3, 2], seed=0)
    blocks = [[mixture[j] for j in range(k * BLOCK, (k + 1) * BLOCK)] for k in range(2)]
    for block in blocks:
        assert Counter(which for which, _ in block) == {0: 500, 1: 300, 2: 200}
    assert [which for which, _ in blocks[0]] != [which for which, _ in blocks[1]]
    first = [photo for which, photo in blocks[0] + blocks[1] if which == 0]
    for start in range(0, 994, 7):  # epoch after epoch, across blocks too
        assert sorted(first[start : start + 7]) == list(range(7))
    second = [photo for which, photo in blocks[0] + blocks[1] if which == 1]
    assert [sorted(second[k : k + 90]) for k in (0, 90, 270, 450)] == [list(range(90))] * 4


def test_shares_are_rounded_to_whole_draws() -> None:
    sets = [labelled("a"), labelled("b"), labelled("c")]
    assert Mixture(sets, [1, 1, 1], seed=0).counts.tolist() == [334, 333, 333]
    assert Mixture(sets, [0.7, 0.2994, 0.0006 * 2], seed=0).counts.tolist() == [700, 299, 1]


def test_a_mixture_depends_on_seed_and_number_alone() -> None:
    sets = [labelled("a" * 7), labelled("b" * 9)]
    mixture, other = Mixture(sets, [1, 2], seed=4), Mixture(sets, [1, 2], seed=5)
    numbers = [5, 2500, 999, 1000, 12_345, 0]
    drawn = [mixture[j] for j in numbers]
    assert [Mixture(sets, [1, 2], seed=4)[j] for j in numbers] == drawn
    assert [mixture[j] for j in range(20)] != [other[j] for j in range(20)]


def test_rare_classes_of_a_mixture_are_repeated() -> None:
    """ox: on 1 of 10 photos, factor sqrt(0.9 / 0.1) = 3; cat: on 9, factor 1: 12 an epoch."""
    mixture = Mixture([labelled(["cat"] * 9 + ["ox"])], [1], seed=0, repeat_threshold=0.9)
    for epoch in range(3):
        counts = Counter(mixture[epoch * 12 + i][1] for i in range(12))
        assert counts == {**dict.fromkeys(range(9), 1), 9: 3}


@pytest.mark.parametrize("shares", [[1], [1, 0], [1, -1], [1, float("nan")], [1, 1e-4], [1, 1, 1]])
def test_shares_that_make_no_sense(shares: list[float]) -> None:
    with pytest.raises(AnnotationError, match="a share for each of its 2 data sets"):
        Mixture([labelled("a"), labelled("b")], shares, seed=0)
