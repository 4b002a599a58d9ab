"""`python -m tools.click_ranking OUTPUT ANNOTATIONS PHOTOS [ANNOTATIONS PHOTOS ...]`.

Clicks every annotated object in its centre and anywhere on it, as `ovsam evaluate --prompts point`
and `random-point` do, fits what tells which of the masks found there is the object, and writes the
model with it to OUTPUT. Photos that the model's masks were trained on have better masks than others
will have: give those behind `--trained-on`, for which they count less.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovsam.candidates import Candidates
from ovsam.evaluate.kinds import PromptKind
from ovsam.evaluate.photos import chosen_photos, read_annotated_photo
from ovsam.evaluate.prompts import annotated_prompt
from ovsam.formats.layouts import read_annotated
from ovsam.geometry import mask_iou
from ovsam.hub import fetch_model
from ovsam.model.checkpoint import save_with_config
from ovsam.predictor.click_ranking import features, overlaps
from ovsam.predictor.load import load
from ovsam.predictor.predictor import Predictor
from ovsam.predictor.zoom import Zoom
from tools.click_ranking.fit import fit

Floats = NDArray[np.float64]
# Which clicks, and how much each counts.
CLICKS: dict[PromptKind, float] = {"point": 1.0, "random-point": 0.4}
TRAINED_ON = 0.25  # how much objects count that the masks were trained on


def main() -> None:
    """Fit, and write the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--trained-on", type=Path, nargs="+", default=[])
    parser.add_argument("--model", default="lite")
    given = parser.parse_args()
    predictor, rows = load(given.model), list[_Click]()
    for data, counts in ((given.data, 1.0), (given.trained_on, TRAINED_ON)):
        for file, photos in zip(data[::2], data[1::2], strict=True):
            rows += _clicks(predictor, file, photos, counts)
    ranking = fit(*(np.stack(each) for each in zip(*rows, strict=True)))
    config = predictor.config
    assert config.zoom is not None, "the model does not zoom"
    config = replace(config, zoom=replace(config.zoom, click_ranking=ranking))
    save_with_config(fetch_model(given.model).path, given.output, config)
    print(f"fitted on {len(rows):,} clicks; wrote {given.output}")


_Click = tuple[Floats, Floats, Floats, float]


def _clicks(
    predictor: Predictor, annotations: Path, photos: Path, counts: float
) -> Iterator[_Click]:
    """For each click the features `(K, F)` of its masks, their IoU, and how much it counts.

    The IoU are `(K, K)` with each other, and `(K,)` with the annotated mask.
    """
    content, folder = read_annotated(annotations, photos)
    zoom = Zoom(predictor._backend, predictor.config)
    for photo in chosen_photos(content, folder):
        encoded = predictor.encode(read_annotated_photo(photo, folder))
        for instance in content.by_photo[photo.id]:
            truth = instance.mask(photo.size_hw)
            if not truth.any():
                continue
            side = predictor.config.image_size
            for kind, weight in CLICKS.items():
                prompt = annotated_prompt(instance, truth, kind, photo.size_hw, side)
                squares, sure = zoom.search(encoded, prompt)
                common = overlaps(squares)
                seen = features(squares, sure, common, prompt.points_xy, photo.size_hw)
                found = [
                    Candidates(one, sure[: len(one.mask_logits)], encoded.frame) for one in squares
                ]
                painted = [mask for each in found for mask in each.masks]
                iou = np.array([mask_iou(mask, truth) for mask in painted])
                yield seen, common.iou, iou, counts * weight


if __name__ == "__main__":
    main()
