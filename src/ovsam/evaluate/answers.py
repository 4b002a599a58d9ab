"""What a model answers about annotated instances: its mask for each, and names or an oracle's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovsam.candidates import Candidates
from ovsam.errors import OvsamError
from ovsam.evaluate.kinds import POINTS, EvaluationKind, PromptKind
from ovsam.evaluate.objects import NamedInstance
from ovsam.evaluate.prompts import annotated_prompt
from ovsam.segmenter import Segmenter
from ovsam.structures import Label, Names, Prompt
from ovsam.vocabulary.vocabulary import Vocabulary

AT_ONCE = 64  # prompts; bounds the memory of masks. Without zoom as many are decoded together


@dataclass(frozen=True, eq=False)
class Answer:
    """What a model answers about one instance.

    Attributes:
        prompt: how it was pointed at, photo pixels.
        mask: `(H, W)` bool, photo pixels.
        labels: its names with scores, best first.
        none_score: of "none of these", in [0, 1].
        more_names: those over further vocabularies, of the same mask.
        sizes: of a click, all that it may mean; none of other prompts, and of models that have one
            mask for a prompt.
    """

    prompt: Prompt
    mask: NDArray[np.bool_]
    labels: tuple[Label, ...]
    none_score: float = 0.0
    more_names: tuple[Names, ...] = ()
    sizes: tuple[Candidates, ...] = ()


def answer_instances(
    predictor: Segmenter,
    pixels: NDArray[np.uint8],
    instances: Sequence[NamedInstance],
    kind: EvaluationKind,
    *,
    oracle_names: bool = False,
    top: int = 5,
    vocabularies: Sequence[Vocabulary] = (),
) -> Iterator[Answer]:
    """Point at instances of a photo as a kind of evaluation does, some at a time.

    Args:
        predictor: of the model.
        pixels: the photo `(H, W, 3)` uint8 RGB.
        instances: with their annotated names.
        kind: of prompts; with `point-true-box` what is in the annotated box is named.
        oracle_names: whether the annotated name is the answer, with a score of 1; then the model
            only segments.
        top: how many names.
        vocabularies: what each mask is named from; none = the predictor's own. With oracle names
            they do not matter.

    Raises:
        AnnotationError: a mask is malformed.
        OvsamError: the model's scores are no numbers, or it has none and the names are its own.
        PromptError: a box lies outside the photo.
    """
    if not oracle_names:
        check_names_objects(predictor)
    size_hw = pixels.shape[0], pixels.shape[1]
    prompt_kind: PromptKind = "point" if kind == "point-true-box" else kind
    image_size = predictor.config.image_size
    encoded = predictor.encode(pixels)
    for first in range(0, len(instances), AT_ONCE):
        some = instances[first : first + AT_ONCE]
        masks = (instance.mask(size_hw) if prompt_kind in POINTS else None for instance, _ in some)
        prompts = [
            annotated_prompt(instance, mask, prompt_kind, size_hw, image_size)
            for (instance, _), mask in zip(some, masks, strict=True)
        ]
        sizes: list[tuple[Candidates, ...]] = [()] * len(prompts)
        if prompt_kind in POINTS and predictor.config.decoder.mask_tokens > 1:
            sizes = [each.masks for each in predictor.sizes(encoded, prompts)]
        if oracle_names:
            yield from _with_oracle_names(predictor, encoded, prompts, some, sizes)
        else:
            boxes = None
            if kind == "point-true-box":
                boxes = [instance.box_xyxy for instance, _ in some]
            predictions = predictor.predict(
                encoded,
                prompts,
                vocabulary=vocabularies[0] if vocabularies else None,
                top=top,
                name_boxes_xyxy=boxes,
                more_vocabularies=vocabularies[1:],
            )
            for prompt, found, each in zip(prompts, predictions, sizes, strict=True):
                labels, more = found.labels[0], found.more_names
                for some_labels in (labels, *(names.labels[0] for names in more)):
                    _check_finite(predictor, some_labels)
                none_score = float(found.none_scores[0])
                yield Answer(prompt, found.mask, labels, none_score, more, each)


def _with_oracle_names(
    predictor: Segmenter,
    encoded: Any,
    prompts: Sequence[Prompt],
    instances: Sequence[NamedInstance],
    sizes: Sequence[tuple[Candidates, ...]],
) -> Iterator[Answer]:
    candidates = predictor.segment(encoded, prompts)
    rows = zip(prompts, candidates, instances, sizes, strict=True)
    for prompt, found, (_, name), each in rows:
        yield Answer(prompt, found.mask, (Label(name, 1.0),), sizes=each)


def _check_finite(predictor: Segmenter, labels: Iterable[Label]) -> None:
    if not all(math.isfinite(label.score) for label in labels):
        raise OvsamError(
            f"{predictor.model_name} gives scores that are no finite numbers, and nothing can be "
            "measured so. Its weights may be damaged: convert or download them again."
        )


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
