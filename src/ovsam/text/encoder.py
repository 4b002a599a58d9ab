"""The text side of a frozen vision-language encoder, as an interface, and its prompt templates.

`minilm.py` implements it for `lite`, `ovsam.model.clip` for CLIP.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ovsam.extras import check_installed
from ovsam.vocabulary.vocabulary import Vocabulary

PLAIN_TEMPLATES = ("{}",)
"""The name alone, for a model of sentences such as MiniLM."""

Progress = Callable[[int, int], None]
"""Called with how many names are done, and of how many."""


class Reading(NamedTuple):
    """What a text model reads of a text before it embeds it.

    Attributes:
        tokens: the same for two texts that get one vector.
        has_letters: whether it knows a letter of the text, and not only digits and signs.
        is_whole: whether it knows all of the text, and none of it is cut off as too long.
    """

    tokens: tuple[int, ...]
    has_letters: bool
    is_whole: bool

    @property
    def is_read(self) -> bool:
        """Whether the vector says something of the text."""
        return self.is_whole or self.has_letters


class TextEncoder(Protocol):
    """The text side of a frozen vision-language encoder."""

    @property
    def identity(self) -> str:
        """What tells its embeddings from those of any other text model; part of the cache's key."""

    @property
    def dim(self) -> int:
        """Width of its embeddings."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts -> unit vectors `(N, dim)`, float32."""

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """What it reads of each text."""


def openai_templates() -> tuple[str, ...]:
    """The 80 prompt templates that OpenAI's CLIP was measured with on ImageNet.

    Raises:
        MissingPackageError: open_clip, which has them, is not installed.
    """
    check_installed("'{openai}' in a vocabulary's templates", ("open_clip",), "ovsam[torch]")

    from open_clip import OPENAI_IMAGENET_TEMPLATES

    return tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)


def simple_templates() -> tuple[str, ...]:
    """The 7 of them that OpenAI found to be nearly as good.

    Raises:
        MissingPackageError: open_clip, which has them, is not installed.
    """
    check_installed("'{simple}' in a vocabulary's templates", ("open_clip",), "ovsam[torch]")

    from open_clip import SIMPLE_IMAGENET_TEMPLATES

    return tuple(template("{}") for template in SIMPLE_IMAGENET_TEMPLATES)


def templates_of(vocabulary: Vocabulary, default: Sequence[str]) -> tuple[str, ...]:
    """The templates to embed a vocabulary with: its own, or else the text model's default."""
    if not vocabulary.templates:
        return tuple(default)
    templates: list[str] = []
    for template in vocabulary.templates:
        if template == "{openai}":
            templates += openai_templates()
        elif template == "{simple}":
            templates += simple_templates()
        else:
            templates.append(template)
    return tuple(templates)
