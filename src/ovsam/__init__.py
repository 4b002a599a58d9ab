"""Open-vocabulary SAM: point at an object in a photo, get its mask and its name.

    >>> import ovsam
    >>> predictor = ovsam.load("lite", vocabulary="cat, dog, coffee mug")  # doctest: +SKIP
    >>> photo = predictor.encode(ovsam.read_photo("photo.jpg"))  # doctest: +SKIP
    >>> found = predictor.predict(photo, ovsam.Prompt(points_xy=[[220, 130]]))  # doctest: +SKIP
    >>> found[0].mask.shape, found[0].labels[0][:3]  # doctest: +SKIP

Importing this package costs nothing: each name is imported where it is first used, torch with a
model.
"""

from __future__ import annotations

TYPE_CHECKING = False  # without `typing`: until the command handles Ctrl-C, it imports little
if TYPE_CHECKING:
    from typing import Any

    from ovsam.candidates import Candidates
    from ovsam.encoded_photo_cache import EncodedPhotoCache
    from ovsam.errors import OvsamError
    from ovsam.images.read import read_photo
    from ovsam.predictor.load import load
    from ovsam.predictor.predictor import Predictor
    from ovsam.predictor.views import EncodedImage
    from ovsam.sam import SamPredictor
    from ovsam.structures import Label, Names, Prediction, Prompt
    from ovsam.vocabulary.load import load_vocabulary
    from ovsam.vocabulary.vocabulary import Vocabulary

    __version__: str

__all__ = [
    "Candidates",
    "EncodedImage",
    "EncodedPhotoCache",
    "Label",
    "Names",
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

_HOMES = {
    "Candidates": "candidates",
    "EncodedImage": "predictor.views",
    "EncodedPhotoCache": "encoded_photo_cache",
    "Label": "structures",
    "Names": "structures",
    "OvsamError": "errors",
    "Prediction": "structures",
    "Predictor": "predictor.predictor",
    "Prompt": "structures",
    "SamPredictor": "sam",
    "Vocabulary": "vocabulary.vocabulary",
    "load": "predictor.load",
    "load_vocabulary": "vocabulary.load",
    "read_photo": "images.read",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib import metadata

        return metadata.version("ovsam")
    if name not in _HOMES:
        raise AttributeError(f"module 'ovsam' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"ovsam.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
