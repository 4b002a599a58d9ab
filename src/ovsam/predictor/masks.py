"""Prompts -> candidates, group by group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from ovsam.candidates import Candidates, FramedMasks
from ovsam.predictor.backend import Backend
from ovsam.predictor.views import (
    PROMPTS_AT_ONCE,
    Decoded,
    EncodedImage,
    View,
    decode,
    whole_view,
)
from ovsam.predictor.zoom import Zoom, averaged
from ovsam.structures import Prompt

Found = tuple[Candidates, list[View]]
"""The masks for a prompt, and what was encoded for each of their `views`."""


def find_masks(
    backend: Backend,
    encoded: EncodedImage,
    prompts: Sequence[Prompt],
    zoom: Zoom | None,
    *,
    multimask: bool,
    named: bool = False,
) -> Iterator[list[Found]]:
    """The candidates of prompts in groups, of which one is encoded at a time.

    Args:
        backend: what decodes.
        encoded: the photo.
        prompts: within it.
        zoom: what finds the squares to decode in; None = all are decoded in the whole photo.
        multimask: whether the three alternatives are wanted in place of the clear mask.
        named: whether names will be read from the squares.
    """
    whole, at_once = whole_view(encoded), PROMPTS_AT_ONCE if zoom is None else zoom.prompts_at_once
    for start in range(0, len(prompts), at_once):
        group = prompts[start : start + at_once]
        if zoom is None:
            pairs = [[(whole, prompt)] for prompt in group]
        else:
            pairs = zoom.views(encoded, group, multimask=multimask, named=named)
        decoded = iter(decode(backend, [pair for of_one in pairs for pair in of_one]))
        found = []
        for prompt, of_one in zip(group, pairs, strict=True):
            views = [view for view, _ in of_one]
            answers = list(islice(decoded, len(views)))
            found.append((_candidates(encoded, prompt, views, answers, multimask), views))
        yield found


def _candidates(
    encoded: EncodedImage,
    prompt: Prompt,
    views: Sequence[View],
    decoded: Sequence[Decoded],
    multimask: bool,
) -> Candidates:
    """The clear mask of a prompt, averaged over views, or its three alternatives, best first."""
    scores = decoded[0].predicted_iou
    tokens = np.argsort(-scores[1:], kind="stable") + 1 if multimask else np.zeros(1, np.int64)
    # Indexing copies: else candidates would hold all masks that were decoded beside theirs.
    masks = tuple(
        FramedMasks(view.frame, each.mask_logits[tokens])
        for view, each in zip(views, decoded, strict=True)
    )
    predicted_iou = np.clip(scores[tokens], 0, 1)
    return Candidates(averaged(masks), predicted_iou, encoded.frame, masks, prompt.box_xyxy)
