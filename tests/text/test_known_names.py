"""A text side that knows the names which came with the model, and no others."""

from __future__ import annotations

import numpy as np
import pytest

from ovsam.errors import VocabularyError
from ovsam.text.cache import TextStore
from ovsam.text.class_embedder import ClassEmbedder
from ovsam.text.encoder import PLAIN_TEMPLATES
from ovsam.text.known_names import KnownNames
from ovsam.vocabulary.load import load_vocabulary

VECTORS = {name: np.eye(4, dtype=np.float32)[i] for i, name in enumerate(("cat", "kitten", "dog"))}


def embedder() -> ClassEmbedder:
    encoder = KnownNames("CLIP", 4, "mine")
    return ClassEmbedder(encoder, PLAIN_TEMPLATES, TextStore(None).with_seed(VECTORS))


def test_names_that_came_along_are_answered_from() -> None:
    text = embedder()
    made = text.prototypes(text.readable(load_vocabulary("dog, cat/kitten")))
    products = made.bank.best_products(np.eye(4, dtype=np.float32)[:3])
    np.testing.assert_allclose(products, [[0, 1], [0, 1], [1, 0]], atol=1e-3)


def test_others_are_refused_by_name() -> None:
    text = embedder()
    with pytest.raises(VocabularyError) as caught:
        text.prototypes(text.readable(load_vocabulary("dog, quokka, numbat/kitten")))
    assert str(caught.value) == (
        "'mine' was exported without its text model, and without the names 'numbat', 'quokka'. "
        "Export it again with --vocabulary and the list that has them."
    )


def test_many_of_them_are_counted() -> None:
    with pytest.raises(VocabularyError, match=r"'name 0', .*'name 4' and 25 more\. Export"):
        KnownNames("CLIP", 4, "mine").embed([f"name {i}" for i in range(30)])


def test_none_are_nothing() -> None:
    encoder = KnownNames("CLIP", 4, "mine")
    assert encoder.embed([]).shape == (0, 4)
    assert encoder.identity == "CLIP"


def test_any_text_counts_as_read() -> None:
    """Whether its own text model would have read it cannot be known: two texts are two."""
    one, other = KnownNames("CLIP", 4, "mine").read(["猫", "dog"])
    assert one.is_whole and one.is_read and one.tokens != other.tokens
