from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ovsam.images.frame import Frame
from ovsam.predictor.cleaning import cleaned
from ovsam.structures import Prompt

FRAME = Frame((10.0, 20.0), (32.0, 32.0), (64, 64), (64, 64))  # cells of 2 photo pixels
BOX = Prompt(box_xyxy=[10, 20, 42, 52])


def pattern() -> NDArray[np.float32]:
    """A square of 10 x 10 cells with a hole of 1 and one of 2 x 5, a speck and a part of 4 x 4."""
    logits = np.full((1, 16, 16), -3, np.float32)
    logits[0, :10, :10] = 2
    logits[0, 4, 7] = -1  # one cell
    logits[0, 1:6, 2:4] = -1  # ten cells
    logits[0, 14, 2] = 1  # a speck
    logits[0, 12:16, 12:16] = 1  # sixteen cells of 89
    return logits


def test_specks_and_small_holes_go() -> None:
    before = pattern()
    [after] = cleaned(before, FRAME, BOX)
    assert after[4, 7] == 1 and after[14, 2] == -1
    assert (after[1:6, 2:4] == -1).all(), "a hole of more than a tenth stays"
    assert (after[12:16, 12:16] == 1).all(), "so does a part"
    changed = after != before[0]
    assert changed.sum() == 2


def test_what_is_clicked_on_stays() -> None:
    """Cell (2, 14) is pixels 14 to 16 and 48 to 50, the hole (7, 4) is 24 to 26 and 28 to 30."""
    clicks = Prompt([[15, 49], [25, 29]], [1, 0])
    assert (cleaned(pattern(), FRAME, clicks)[0] == pattern()[0]).all()
    other_way = Prompt([[15, 49], [25, 29]], [0, 1], box_xyxy=[10, 20, 42, 52])
    assert (cleaned(pattern(), FRAME, other_way)[0] != pattern()[0]).sum() == 2
    elsewhere = Prompt([[0, 0], [99, 99]], [1, 0])  # not in the frame
    assert (cleaned(pattern(), FRAME, elsewhere)[0] != pattern()[0]).sum() == 2


def test_a_gap_at_the_border_is_no_hole_and_an_empty_mask_stays_empty() -> None:
    logits = np.full((2, 16, 16), 2, np.float32)
    logits[0, 0, 5] = -1
    logits[1] = -1
    assert (cleaned(logits, FRAME, BOX) == logits).all()
