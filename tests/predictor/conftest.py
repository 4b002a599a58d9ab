from __future__ import annotations

import pytest

from ovsam.predictor.predictor import Predictor
from ovsam.predictor.views import EncodedImage
from predictor.scenes import blobs
from tiny_model import tiny_predictor


@pytest.fixture(scope="session")
def predictor() -> Predictor:
    """Of the tiny model, which zooms."""
    return tiny_predictor()


@pytest.fixture(scope="session")
def photo(predictor: Predictor) -> EncodedImage:
    """The first of the photos, 200 x 150 pixels."""
    return predictor.encode(blobs(0))
