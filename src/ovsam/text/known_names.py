"""The text side of a model whose text tower is elsewhere: the names that came along are all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ovsam.errors import VocabularyError, first_few, quoted
from ovsam.text.encoder import Reading

SHOWN = 5  # names that an error lists


class KnownNames:
    """Embeds nothing: vectors of names come with the model, as the text store's seed.

    Args:
        identity: of the text model that made them.
        dim: width of the vectors.
        model: the model's name, for the message.
    """

    def __init__(self, identity: str, dim: int, model: str) -> None:
        self.identity, self.dim, self._model = identity, dim, model

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Refuses any text but none.

        Raises:
            VocabularyError: names that the export did not take along.
        """
        if texts:
            raise VocabularyError(
                f"'{self._model}' was exported without its text model, and without the names "
                f"{first_few(map(quoted, texts), SHOWN)}. Export it again with --vocabulary and "
                "the list that has them."
            )
        return np.zeros((0, self.dim), np.float32)

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """All of each text, as far as anybody knows here: two texts are two."""
        return [Reading(tuple(text.encode()), True, True) for text in texts]
