"""Prompts -> candidates, group by group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ovsam.candidates import SIZES, Candidates, FramedMasks, Sizes
from ovsam.geometry import mask_iou
from ovsam.predictor.backend import Backend
from ovsam.predictor.cleaning import cleaned
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

CLEAR = np.zeros(1, np.int64)  # the token of the clear mask
UNLIKE = 0.8  # masks of several sizes that overlap less are not the same

Found = tuple[Candidates, list[View]]
"""The masks for a prompt, and what was encoded for each of their `views`."""


def find_masks(
    backend: Backend,
    encoded: EncodedImage,
    prompts: Sequence[Prompt],
    zoom: Zoom | None,
    *,
    multimask: bool,
    clean: bool,
    named: bool = False,
) -> Iterator[list[Found]]:
    """The candidates of prompts in groups, of which one is encoded at a time.

    Args:
        backend: what decodes.
        encoded: the photo.
        prompts: within it.
        zoom: what finds the squares to decode in; None = all are decoded in the whole photo.
        multimask: whether the three alternatives are wanted in place of the clear mask.
        clean: whether specks and holes are taken out.
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
            scores = answers[0].predicted_iou
            tokens = np.argsort(-scores[1:], kind="stable") + 1 if multimask else CLEAR
            found.append((_candidates(encoded, prompt, views, answers, tokens, clean), views))
        yield found


def find_sizes(
    backend: Backend, encoded: EncodedImage, prompt: Prompt, zoom: Zoom | None, *, clean: bool
) -> Sizes:
    """What clicks may mean; arguments as for `find_masks`."""
    if zoom is None:
        [decoded] = decode(backend, [(whole_view(encoded), prompt)])
        order = np.argsort(-decoded.clear_mask_first, kind="stable")
        views, answers, tokens = [whole_view(encoded)] * len(order), [decoded] * len(order), order
    else:
        pairs = zoom.views_of_sizes(encoded, prompt)
        views, answers = [view for view, _ in pairs], decode(backend, pairs)
        tokens = np.zeros(len(views), np.int64)
    found: list[tuple[Candidates, NDArray[np.bool_]]] = []
    for view, answer, token in zip(views, answers, tokens.tolist(), strict=True):
        one = _candidates(encoded, prompt, [view], [answer], np.array([token]), clean)
        mask = one.mask
        unlike = all(mask_iou(mask, other) < UNLIKE for _, other in found)
        if not found or (unlike and len(found) < len(SIZES) and mask.any()):
            found.append((one, mask))
    ordered = sorted(found, key=lambda pair: int(pair[1].sum()))
    return Sizes(tuple(one for one, _ in ordered), best=ordered.index(found[0]))


def _candidates(
    encoded: EncodedImage,
    prompt: Prompt,
    views: Sequence[View],
    decoded: Sequence[Decoded],
    tokens: NDArray[np.int64],
    clean: bool,
) -> Candidates:
    """The masks of these tokens; the first of them is averaged over views."""
    # Indexing copies: else candidates would hold all masks that were decoded beside theirs.
    masks = [
        FramedMasks(view.frame, each.mask_logits[tokens])
        for view, each in zip(views, decoded, strict=True)
    ]
    found = averaged(masks)
    if clean:
        tidy = [
            FramedMasks(each.frame, cleaned(each.mask_logits, each.frame, prompt))
            for each in ([found, *masks] if len(masks) > 1 else masks)
        ]
        found, masks = tidy[0], tidy[1:] or tidy
    predicted_iou = np.clip(decoded[0].predicted_iou[tokens], 0, 1)
    return Candidates(found, predicted_iou, encoded.frame, tuple(masks), prompt.box_xyxy)
