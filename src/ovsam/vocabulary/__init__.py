"""Class names: lists, files, built-in vocabularies, WordNet."""

from __future__ import annotations

TYPE_CHECKING = False  # without `typing`: what reads names alone stays light
if TYPE_CHECKING:
    from ovsam.vocabulary.load import load_vocabulary
    from ovsam.vocabulary.vocabulary import Vocabulary

__all__ = ["Vocabulary", "load_vocabulary"]


def __getattr__(name: str) -> object:
    if name == "Vocabulary":
        from ovsam.vocabulary.vocabulary import Vocabulary

        return Vocabulary
    if name == "load_vocabulary":
        from ovsam.vocabulary.load import load_vocabulary

        return load_vocabulary
    raise AttributeError(f"module 'ovsam.vocabulary' has no attribute '{name}'")
