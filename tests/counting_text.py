"""A text model for tests, made up."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ovsam.text.cache import TextStore
from ovsam.text.encoder import PLAIN_TEMPLATES, Reading
from ovsam.text.prototypes import ClassPrototypes, class_prototypes
from ovsam.vocabulary.vocabulary import Vocabulary


class CountingEncoder:
    """Made-up unit vectors that depend on the text alone; remembers what it embedded and read.

    It reads all of a text but `unreadable` ones, of which it knows nothing.
    """

    identity = "counting"
    dim = 8

    def __init__(self, unreadable: Sequence[str] = ()) -> None:
        self.embedded: list[str] = []
        self.was_read: list[str] = []
        self.unreadable = tuple(unreadable)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.embedded += texts
        return np.concatenate([vector_of(text) for text in texts])

    def read(self, texts: Sequence[str]) -> list[Reading]:
        self.was_read += texts
        return [
            Reading((), False, False)
            if text in self.unreadable
            else Reading(tuple(text.encode()), True, True)
            for text in texts
        ]


def vector_of(text: str) -> NDArray[np.float32]:
    """The unit vector `(1, 8)` of a text."""
    digest = np.array([list(hashlib.sha256(text.encode()).digest()[:8])], np.float32) - 128
    unit: NDArray[np.float32] = digest / np.linalg.norm(digest)
    return unit


def prototypes_of(
    names: Sequence[str], store: TextStore, encoder: CountingEncoder | None = None
) -> ClassPrototypes:
    """Those of a list of names, by themselves."""
    vocabulary = Vocabulary.from_names(names)
    return class_prototypes(vocabulary, encoder or CountingEncoder(), PLAIN_TEMPLATES, store, ())
