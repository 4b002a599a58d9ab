"""Open-vocabulary SAM: point at an object in a photo, get its mask and its name.

    >>> import ovsam
    >>> predictor = ovsam.load("lite", vocabulary="cat, dog, coffee mug")  # doctest: +SKIP
    >>> photo = predictor.encode(ovsam.read_photo("photo.jpg"))  # doctest: +SKIP
    >>> found = predictor.predict(photo, ovsam.Prompt(points_xy=[[220, 130]]))  # doctest: +SKIP
    >>> found[0].mask.shape, found[0].labels[0][:3]  # doctest: +SKIP

Importing this package is cheap: torch is imported when a model is.
"""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Any

from ovsam.errors import OvsamError
from ovsam.photo import read_photo
from ovsam.structures import Label, Prediction, Prompt
from ovsam.vocabulary import Vocabulary, load_vocabulary

if TYPE_CHECKING:
    from ovsam.predictor import EncodedImage, Predictor, load
    from ovsam.sam import SamPredictor

__version__ = metadata.version("ovsam")

__all__ = [
    "EncodedImage",
    "Label",
    "OvsamError",
    "Prediction",
    "Predictor",
    "Prompt",
    "SamPredictor",
    "Vocabulary",
    "load",
    "load_vocabulary",
    "read_photo",
]

_LAZY = {
    "EncodedImage": "ovsam.predictor",
    "Predictor": "ovsam.predictor",
    "load": "ovsam.predictor",
    "SamPredictor": "ovsam.sam",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'ovsam' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
