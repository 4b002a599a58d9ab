from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ovsam.text import bank as banks
from ovsam.text.bank import Bank, grouped_order
from tiny_model import names_of

COUNTS = [2, 1, 3, 1, 2]  # in the bank's order: classes 1, 3, 0, 4, 2
FIRSTS = [[2, 4], [0], [6, 7, 8], [1], [3, 5]]  # rows of each class


def random_vectors(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, 8, generator=generator), dim=-1)


def by_hand(vectors: Tensor, embeddings: Tensor) -> Tensor:
    """`(N, C)`: class by class."""
    return torch.stack([(embeddings @ vectors[rows].T).amax(1) for rows in FIRSTS], 1)


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
    assert len(bank) == 5
    for number, rows in enumerate(FIRSTS):
        assert torch.equal(names_of(bank, number), vectors[rows])
    torch.testing.assert_close(bank.best_products(embeddings), by_hand(vectors, embeddings))


def test_half_precision_is_compared_in_the_embeddings_own() -> None:
    vectors, embeddings = random_vectors(9).half(), random_vectors(4, seed=1)
    products = Bank.of(vectors, COUNTS).best_products(embeddings)
    torch.testing.assert_close(products, by_hand(vectors.float(), embeddings))


@pytest.mark.parametrize("precision", [torch.float32, torch.float16])
def test_the_gradient_goes_to_the_best_name(precision: torch.dtype) -> None:
    vectors = random_vectors(9).to(precision)
    embeddings = random_vectors(1, seed=1).requires_grad_()
    of_class = Bank.of(vectors, COUNTS).best_products(embeddings)[0, 2]
    [gradient] = torch.autograd.grad(of_class, embeddings)
    best = (embeddings[0] @ vectors[6:].float().T).argmax()
    torch.testing.assert_close(gradient[0], vectors[6 + best].float())


def test_nothing_is_padded_to_the_class_with_most_names() -> None:
    counts = [1] * 1000 + [10]
    bank = Bank.of(random_vectors(1010), counts)
    assert sum(group.numel() for group in bank.groups) == 1010 * 8


def test_joined_banks_share_their_vectors() -> None:
    vectors, more, embeddings = random_vectors(9), random_vectors(3, 2), random_vectors(4, 1)
    bank, other = Bank.of(vectors, COUNTS), Bank.of(more, [2, 1])
    joined = bank.joined(other, [6, 0, 4, 5, 0])
    expected = torch.cat([bank.best_products(embeddings), other.best_products(embeddings)], 1)
    torch.testing.assert_close(joined.best_products(embeddings), expected[:, [6, 0, 4, 5, 0]])
    assert [group.data_ptr() for group in joined.groups[:3]] == [
        group.data_ptr() for group in bank.groups
    ]
