"""The weights that ship: small, whole, and able to do the main job."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import ovsam
from ovsam.cli.app import app
from ovsam.config import CalibrationConfig
from ovsam.evaluate.instances import evaluate
from ovsam.evaluate.kinds import PromptKind
from ovsam.evaluate.photos import chosen_photos
from ovsam.formats.coco import read_annotations
from ovsam.model.presets import MODELS
from ovsam.model.restore import restore
from ovsam.predictor.predictor import Predictor
from ovsam.text.minilm import MiniLM

EXAMPLES = Path(__file__).parent.parent / "examples"
WEIGHTS = Path(ovsam.__file__).parent / "weights"


@pytest.fixture(scope="module")
def lite() -> Predictor:
    return ovsam.load("lite")


def test_the_photos_in_the_clone_can_be_evaluated(tmp_path: Path) -> None:
    """As the README says."""
    report = tmp_path / "report.json"
    annotations = str(EXAMPLES / "annotations.json")
    words = ["evaluate", annotations, "--images", str(EXAMPLES), "--json", str(report)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    cat, cup, spoon = json.loads(report.read_text())["outcomes"]
    assert (cat["category"], cat["name"]) == ("cat", "cat")
    assert cat["iou"] > 0.9 and cup["iou"] > 0.85
    assert spoon["category"] == "spoon"


def test_small_enough_to_ship() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) <= 70e6


def test_configuration_is_the_one_in_the_code(lite: Predictor) -> None:
    # The calibration and the ranking of clicks are of the weights: they are in their file alone.
    zoom = lite.config.zoom
    assert zoom is not None and zoom.click_ranking is not None
    assert lite.config.calibration.fits
    plain = replace(zoom, click_ranking=None)
    assert replace(lite.config, zoom=plain, calibration=CalibrationConfig()) == MODELS["lite"]


def test_a_cat_is_outlined_and_named(lite: Predictor) -> None:
    photo = lite.encode(ovsam.read_photo(EXAMPLES / "chelsea.png"))
    [cat] = lite.predict(photo, ovsam.Prompt(box_xyxy=[0, 0, 395, 300]))
    assert cat.name == "cat"
    assert cat.mask[150, 200] and not cat.mask[20, 430]
    assert 0.5 < cat.mask[:, :395].mean() < 0.95
    [kitten] = lite.predict(
        photo, ovsam.Prompt(box_xyxy=[0, 0, 395, 300]), vocabulary="kitten, car, bench, pizza"
    )
    assert kitten.name == "kitten"
    assert np.array_equal(kitten.mask, cat.mask)


def test_the_vectors_that_come_along_are_the_text_models() -> None:
    """They were made before its weights were rounded, and differ by no more than that."""
    vectors = restore(WEIGHTS / "lite.safetensors").text_vectors
    assert len(vectors) > 80
    made = MiniLM().embed(list(vectors))
    cosines = [vector @ one for vector, one in zip(made, vectors.values(), strict=True)]
    assert min(cosines) > 0.999 and max(cosines) < 1.001


@pytest.mark.data
@pytest.mark.parametrize(("prompts", "iou", "top5"), [("box", 0.7, 0.6), ("point", 0.3, 0.5)])
def test_held_out_photos(
    lite: Predictor, photos_root: Path, prompts: PromptKind, iou: float, top5: float
) -> None:
    """A coarse net for accidents; the figures of the README come from `ovsam evaluate`."""
    root = photos_root / "coco_sample"
    annotations = read_annotations(root / "annotations" / "instances_val2017.json")
    photos = chosen_photos(annotations, root / "val2017", 2)
    report = evaluate(lite, annotations, root / "val2017", prompts=prompts, photos=photos)
    assert report.summary.iou is not None and report.summary.iou > iou
    assert report.summary.accuracy_top5 is not None and report.summary.accuracy_top5 > top5
