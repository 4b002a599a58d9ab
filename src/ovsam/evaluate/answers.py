"""What a model answers about annotated instances: its mask for each, and names or an oracle's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ovsam.candidates import Candidates
from ovsam.errors import OvsamError
from ovsam.evaluate.kinds import POINTS, EvaluationKind
from ovsam.evaluate.objects import NamedInstance
from ovsam.evaluate.prompts import annotated_prompt
from ovsam.segmenter import Segmenter
from ovsam.structures import Label, Prompt

AT_ONCE = 64  # prompts; bounds the memory of candidates. Without zoom as many are decoded together


@dataclass(frozen=True, eq=False)
class Answer:
    """What a model answers about one instance.

    Attributes:
        prompt: how it was pointed at, photo pixels.
        candidates: its mask.
        labels: its names with scores, best first.
        none_score: of "none of these", in [0, 1].
    """

    prompt: Prompt
    candidates: Candidates
    labels: tuple[Label, ...]
    none_score: float = 0.0

    @property
    def mask(self) -> NDArray[np.bool_]:
        """`(H, W)` bool, photo pixels; painted now."""
        return self.candidates.mask


def answer_instances(
    predictor: Segmenter,
    pixels: NDArray[np.uint8],
    instances: Sequence[NamedInstance],
    kind: EvaluationKind,
    *,
    oracle_names: bool = False,
    zoom: bool | None = None,
    top: int = 5,
) -> Iterator[Answer]:
    """Point at instances of a photo as a kind of evaluation does, some at a time.

    Args:
        predictor: of the model.
        pixels: the photo `(H, W, 3)` uint8 RGB.
        instances: with their annotated names.
        kind: of prompts; `point-true-box` also names what is in the annotated box.
        oracle_names: whether the annotated name is the answer, with a score of 1; then the model
            only segments.
        zoom: as for `Predictor.predict`.
        top: how many names.

    Raises:
        AnnotationError: a mask is malformed.
        OvsamError: the model's scores are no numbers, or it has none and the names are its own.
        PromptError: a box lies outside the photo.
    """
    if not oracle_names:
        check_names_objects(predictor)
    size_hw = pixels.shape[0], pixels.shape[1]
    prompt_kind = "point" if kind == "point-true-box" else kind
    image_size = predictor.config.image_size
    encoded = predictor.encode(pixels)
    for first in range(0, len(instances), AT_ONCE):
        some = instances[first : first + AT_ONCE]
        prompts = [
            annotated_prompt(
                instance,
                instance.mask(size_hw) if prompt_kind in POINTS else None,
                prompt_kind,
                size_hw,
                image_size,
            )
            for instance, _ in some
        ]
        candidates = predictor.segment(encoded, prompts, zoom=zoom)
        if oracle_names:
            for prompt, found, (_, name) in zip(prompts, candidates, some, strict=True):
                yield Answer(prompt, found, (Label(name, 1.0),))
            continue
        if kind == "point-true-box":
            boxes = [np.array(instance.box_xyxy) for instance, _ in some]
            candidates = [
                replace(found, box_xyxy=box) for found, box in zip(candidates, boxes, strict=True)
            ]
        names = predictor.name(encoded, candidates, top=top)
        for prompt, found, named in zip(prompts, candidates, names, strict=True):
            if not all(math.isfinite(score) for _, score in named.labels[0]):
                raise OvsamError(
                    f"{predictor.model_name} gives scores that are no finite numbers, and nothing "
                    "can be measured so. Its weights may be damaged: convert or download them "
                    "again."
                )
            yield Answer(prompt, found, named.labels[0], float(named.none_scores[0]))


def check_names_objects(predictor: Segmenter) -> None:
    """Refuse a model that makes masks alone where its names are to be measured.

    Raises:
        OvsamError: says what to do instead.
    """
    if not predictor.names_objects:
        raise OvsamError(
            f"{predictor.model_name} makes masks and has no names to measure. Add --oracle-names, "
            "which counts the annotated name of each object as given, or choose another model."
        )
