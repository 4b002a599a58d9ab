"""Vocabularies as tensors."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counting_text import CountingEncoder
from ovsam.model import torch_bank
from ovsam.model.torch_bank import PrototypesOnDevice, TorchBank
from ovsam.text import prototypes
from ovsam.text.bank import Bank
from ovsam.text.cache import TextStore
from ovsam.text.class_embedder import ClassEmbedder
from ovsam.text.encoder import PLAIN_TEMPLATES
from ovsam.vocabulary.vocabulary import Vocabulary

COUNTS = [2, 1, 3, 1, 2]  # of class 2 the last three rows
CPU = torch.device("cpu")


def random_vectors(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, 8, generator=generator), dim=-1)


def bank_of(vectors: Tensor) -> Bank:
    return Bank.of(vectors.numpy(), COUNTS)


@pytest.mark.parametrize("chunk", [1, 2, 1024])
@pytest.mark.parametrize("precision", [torch.float32, torch.float16], ids=str)
def test_products_are_those_of_numpy(
    monkeypatch: pytest.MonkeyPatch, chunk: int, precision: torch.dtype
) -> None:
    monkeypatch.setattr(torch_bank, "_CHUNK", chunk)
    bank, embeddings = bank_of(random_vectors(9).to(precision)), random_vectors(4, seed=1)
    found = TorchBank.of(bank)
    assert len(found) == 5
    expected = bank.best_products(embeddings.numpy())
    np.testing.assert_allclose(found.best_products(embeddings), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("precision", [torch.float32, torch.float16], ids=str)
def test_the_gradient_goes_to_the_best_name(precision: torch.dtype) -> None:
    vectors = random_vectors(9).to(precision)
    embeddings = random_vectors(1, seed=1).requires_grad_()
    of_class = TorchBank.of(bank_of(vectors)).best_products(embeddings)[0, 2]
    [gradient] = torch.autograd.grad(of_class, embeddings)
    best = (embeddings[0] @ vectors[6:].float().T).argmax()
    torch.testing.assert_close(gradient[0], vectors[6 + best].float())


def test_single_names_keep_their_gradient() -> None:
    vectors = random_vectors(3).requires_grad_()
    embeddings = random_vectors(2, seed=1)
    products = TorchBank.of_single_names(vectors).best_products(embeddings)
    torch.testing.assert_close(products, embeddings @ vectors.T)
    [gradient] = torch.autograd.grad(products[0, 1], vectors)
    torch.testing.assert_close(gradient[1], embeddings[0])


def test_on_the_cpu_nothing_is_copied() -> None:
    bank = bank_of(random_vectors(9))
    for array, tensor in zip(bank.groups, TorchBank.of(bank).groups, strict=True):
        assert tensor.data_ptr() == array.ctypes.data


def test_a_vocabulary_is_moved_once_and_let_go_with_it() -> None:
    text = ClassEmbedder(CountingEncoder(), PLAIN_TEMPLATES, TextStore(None), seen_classes=["dog"])
    made = text.prototypes(Vocabulary.from_names(["cat/kitten", "dog"]))
    moved = PrototypesOnDevice(CPU)
    tensors = moved.of(made)
    assert moved.of(made) is tensors
    assert tensors.seen.tolist() == [False, True] and tensors.answerable.tolist() == [True, True]
    left = weakref.ref(tensors)
    del text, made, tensors
    gc.collect()
    assert left() is None


def test_edits_share_the_tensors_of_a_long_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prototypes, "LARGE", 8)
    text = ClassEmbedder(CountingEncoder(), PLAIN_TEMPLATES, TextStore(None))
    names = Vocabulary.from_names([f"thing {i}" for i in range(40)])
    made, edited = text.prototypes(names), text.prototypes(names.with_class("mug/cup"))
    moved = PrototypesOnDevice(CPU)
    first, second = moved.of(made).bank, moved.of(edited).bank
    assert second.groups[0] is first.groups[0] and len(second) == 41
    embeddings = random_vectors(3)
    expected = edited.bank.best_products(embeddings.numpy())
    np.testing.assert_allclose(second.best_products(embeddings), expected, rtol=1e-5, atol=1e-6)
    assert second.groups[1].dtype == torch.float16
