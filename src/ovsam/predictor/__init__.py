"""Masks and names for prompts on a photo."""

from __future__ import annotations

TYPE_CHECKING = False  # without `typing`: what needs no model stays light
if TYPE_CHECKING:
    from ovsam.predictor.predictor import Predictor
    from ovsam.predictor.views import EncodedImage

__all__ = ["EncodedImage", "Predictor"]


def __getattr__(name: str) -> object:
    if name == "EncodedImage":
        from ovsam.predictor.views import EncodedImage

        return EncodedImage
    if name == "Predictor":
        from ovsam.predictor.predictor import Predictor

        return Predictor
    raise AttributeError(f"module 'ovsam.predictor' has no attribute '{name}'")
