"""What a model's configuration makes of its predictor; names and paths are in test_baselines.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ovsam.config import BaselineConfig
from ovsam.predictor.baselines import FeatureCropScorer, ImageCropScorer
from ovsam.predictor.naming import RegionScorer
from ovsam.segmenter import Segmenter
from tiny_model import TINY, HashedText, tiny_model, tiny_predictor


@pytest.mark.parametrize(
    ("baseline", "scorer", "reads"),
    [
        (None, RegionScorer, (True, True)),
        (BaselineConfig(cuts="features"), FeatureCropScorer, (True, False)),
        (BaselineConfig(cuts="image"), ImageCropScorer, (False, False)),
    ],
)
def test_who_names_and_from_what(
    baseline: BaselineConfig | None, scorer: type, reads: tuple[bool, bool]
) -> None:
    predictor = tiny_predictor(replace(TINY, baseline=baseline))
    assert predictor._namer is not None
    made = predictor._namer.scorer
    assert isinstance(made, scorer)
    assert (made.reads_photo, made.reads_squares) == reads


def test_a_predictor_is_a_segmenter() -> None:
    segmenter: Segmenter = tiny_predictor(vocabulary="cat, 2 dogs")
    assert (segmenter.model_name, segmenter.config) == ("tiny", TINY)
    assert (segmenter.names_objects, segmenter.zoom, segmenter.device) == (True, True, "cpu")
    assert segmenter.vocabulary.classes == ("cat", "2 dogs")


def test_a_fingerprint_tells_weights_numbers_and_text_models_apart() -> None:
    class OtherText(HashedText):
        identity = "other"

    same = [tiny_predictor(), tiny_predictor(vocabulary="mug"), tiny_predictor(zoom=False)]
    assert len({predictor.fingerprint for predictor in same}) == 1
    others = [
        tiny_predictor(model=tiny_model(seed=3)),
        tiny_predictor(replace(TINY, logit_scale=21.0)),
        tiny_predictor(text=OtherText()),
    ]
    assert len({predictor.fingerprint for predictor in (same[0], *others)}) == 4
