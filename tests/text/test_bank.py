from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ovsam.text import bank as banks
from ovsam.text.bank import Bank, grouped_order
from tiny_model import names_of

COUNTS = [2, 1, 3, 1, 2]  # in the bank's order: classes 1, 3, 0, 4, 2
FIRSTS = [[2, 4], [0], [6, 7, 8], [1], [3, 5]]  # rows of each class

Floats = NDArray[np.float32]


def random_vectors(count: int, seed: int = 0) -> Floats:
    vectors = np.random.default_rng(seed).normal(size=(count, 8))
    unit: Floats = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def by_hand(vectors: Floats, embeddings: Floats) -> Floats:
    """`(N, C)`: class by class."""
    best: Floats = np.stack([(embeddings @ vectors[rows].T).max(1) for rows in FIRSTS], 1)
    return best


def test_vectors_lie_in_the_order_of_the_names() -> None:
    names = [["a0", "a1"], ["b0"], ["c0", "c1", "c2"], ["d0"], ["e0", "e1"]]
    order = grouped_order(names)
    assert order == ["b0", "d0", "a0", "e0", "a1", "e1", "c0", "c1", "c2"]
    assert [[order[row] for row in rows] for rows in FIRSTS] == names


@pytest.mark.parametrize("chunk", [1, 2, 1024])
def test_the_best_name_of_each_class_counts(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(banks, "_CHUNK", chunk)
    vectors, embeddings = random_vectors(9), random_vectors(4, seed=1)
    bank = Bank.of(vectors, COUNTS)
    assert len(bank) == 5 and bank.class_order.dtype == np.int64
    for number, rows in enumerate(FIRSTS):
        assert np.array_equal(names_of(bank, number), vectors[rows])
    found = bank.best_products(embeddings)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_hand(vectors, embeddings), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("chunk", [2, 1024])
def test_half_precision_is_compared_in_single(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(banks, "_CHUNK", chunk)
    vectors, embeddings = random_vectors(9).astype(np.float16), random_vectors(4, seed=1)
    products = Bank.of(vectors, COUNTS).best_products(embeddings)
    expected = by_hand(vectors.astype(np.float32), embeddings)
    np.testing.assert_allclose(products, expected, rtol=1e-5, atol=1e-6)


def test_nothing_is_padded_to_the_class_with_most_names() -> None:
    counts = [1] * 1000 + [10]
    bank = Bank.of(random_vectors(1010), counts)
    assert sum(group.size for group in bank.groups) == 1010 * 8


def test_joined_banks_share_their_vectors() -> None:
    vectors, more, embeddings = random_vectors(9), random_vectors(3, 2), random_vectors(4, 1)
    bank, other = Bank.of(vectors, COUNTS), Bank.of(more, [2, 1])
    joined = bank.joined(other, [6, 0, 4, 5, 0])
    expected = np.concatenate([bank.best_products(embeddings), other.best_products(embeddings)], 1)
    found = joined.best_products(embeddings)
    np.testing.assert_allclose(found, expected[:, [6, 0, 4, 5, 0]], rtol=1e-5, atol=1e-6)
    pairs = zip(joined.groups[:3], bank.groups, strict=True)
    assert all(one is other for one, other in pairs)
