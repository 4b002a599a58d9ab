"""Specks and holes: small parts of a mask that no person would draw."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ovsam.images.frame import STRIDE, Frame
from ovsam.structures import Prompt

SPECK = 0.1  # a part apart from the largest one is a speck if it has less than this share of it
HOLE = 0.1  # a hole is filled if it has less than this share of the largest part


def cleaned(mask_logits: NDArray[np.float32], frame: Frame, prompt: Prompt) -> NDArray[np.float32]:
    """Masks without specks, and without small holes that they enclose.

    Their logits change sign, so that whatever is made of these sees the same mask. A part that a
    click on the object lies on stays, and so does a hole with a click that is not on it.

    Args:
        mask_logits: `(M, L, L)` in the frame, positive = object.
        frame: of the masks.
        prompt: what they are of.
    """
    cells = np.floor(frame.to_model(prompt.points_xy) / STRIDE).astype(int)
    shown = ((cells >= 0) & (cells < mask_logits.shape[-1])).all(1)
    on, off = (cells[shown & (prompt.point_labels == label)] for label in (1, 0))
    return np.stack([_cleaned(mask, on, off) for mask in mask_logits])


def _cleaned(
    logits: NDArray[np.float32], on: NDArray[np.int64], off: NDArray[np.int64]
) -> NDArray[np.float32]:
    """One mask `(L, L)`; the cells `(N, 2)`, x and y, of clicks that are on the object or not."""
    parts, sizes = _regions(logits > 0)
    if not len(sizes):
        return logits
    specks = sizes < SPECK * sizes.max()
    clicked = parts[on[:, 1], on[:, 0]]
    specks[clicked[clicked > 0] - 1] = False
    kept = np.where(np.isin(parts, np.flatnonzero(specks) + 1), -np.abs(logits), logits)
    gaps, gap_sizes = _regions(kept <= 0)
    holes = gap_sizes < HOLE * sizes.max()
    for outside in (gaps[0], gaps[-1], gaps[:, 0], gaps[:, -1], gaps[off[:, 1], off[:, 0]]):
        holes[outside[outside > 0] - 1] = False
    return np.where(np.isin(gaps, np.flatnonzero(holes) + 1), np.abs(kept), kept)


def _regions(cells: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Connected parts of `(L, L)` cells, numbered from 1, and how many cells each has."""
    count, labels = cv2.connectedComponents(cells.astype(np.uint8), connectivity=4)
    return np.asarray(labels), np.bincount(labels.ravel(), minlength=count)[1:]
