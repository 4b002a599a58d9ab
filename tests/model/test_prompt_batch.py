"""SAM's half pixel and boxes as coarse masks, by hand, for numpy's arrays and for tensors."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ovsam.config import DecoderConfig
from ovsam.model.prompt_batch import PromptBatch, box_mask_logits
from tiny_model import TINY, tiny_model

SIZE = (64, 96)
WITH, WITHOUT = DecoderConfig(box_as_mask=True), DecoderConfig(box_as_mask=False)

arrays = pytest.mark.parametrize("made", [np.array, torch.tensor], ids=["numpy", "torch"])


@arrays
def test_box_mask_logits_by_hand(made: Callable[[Any], Any]) -> None:
    # Cells are 4 pixels wide: the box fills half of the first column and all of the second.
    logits = box_mask_logits(made([[2.0, 4.0, 8.0, 7.0]]), (16, 16))
    assert logits.shape == (1, 4, 4)
    expected = np.full((4, 4), -4.0)
    expected[1, 0] = 8 * 0.5 * 0.75 - 4
    expected[1, 1] = 8 * 1.0 * 0.75 - 4
    np.testing.assert_allclose(logits[0], expected, rtol=1e-6)


@arrays
def test_box_mask_logits_of_the_whole_input_and_beyond(made: Callable[[Any], Any]) -> None:
    boxes = made([[0.0, 0.0, 24.0, 8.0], [-9.0, -9.0, 99.0, 99.0]])
    assert (box_mask_logits(boxes, (8, 24)) == 4).all()
    outside = made([[-20.0, 0.0, -4.0, 8.0]])
    assert (box_mask_logits(outside, (8, 24)) == -4).all()


corners = st.tuples(st.floats(0, 60), st.floats(0, 60), st.floats(1, 36), st.floats(1, 4))


@given(corners)
def test_box_mask_logits_keep_the_area(corner: tuple[float, float, float, float]) -> None:
    x, y, width, height = corner
    box = torch.tensor([[x, y, x + width, y + height]], dtype=torch.float64)
    covered = (box_mask_logits(box, SIZE) + 4) / 8 * 16
    assert covered.sum().item() == pytest.approx(width * height, abs=1e-3)


@given(corners)
def test_numpy_and_torch_agree_to_the_bit(corner: tuple[float, float, float, float]) -> None:
    x, y, width, height = corner
    box = np.array([[x, y, x + width, y + height]], np.float32)
    expected = box_mask_logits(torch.from_numpy(box), SIZE)
    assert np.array_equal(box_mask_logits(box, SIZE), expected.numpy())


@arrays
def test_a_pixels_centre_is_its_index_to_sam(made: Callable[[Any], Any]) -> None:
    """The centre of the fourth pixel of the sixth row is (3.5, 5.5) to us and (3, 5) to SAM."""
    batch = PromptBatch(made([[[3.5, 5.5]]]), made([[1]]))
    found: Any = batch.sam_points_xy()
    assert np.array_equal(found, [[[3.0, 5.0]]])
    assert len(batch) == 1
    assert PromptBatch(made(np.zeros((2, 0, 2))), made(np.zeros((2, 0)))).sam_points_xy() is None


@arrays
def test_a_box_is_a_mask_where_the_decoder_was_made_for_it(made: Callable[[Any], Any]) -> None:
    box, mask = made([[2.0, 4.0, 8.0, 7.0]]), made(np.full((1, 4, 4), 2.0))
    found: Any = PromptBatch(boxes_xyxy=box).dense_logits(WITH, (16, 16))
    assert np.array_equal(found, box_mask_logits(box, (16, 16))[:, None])
    assert PromptBatch(boxes_xyxy=box).dense_logits(WITHOUT, (16, 16)) is None
    for decoder in (WITH, WITHOUT):  # a mask that is given goes before
        found = PromptBatch(boxes_xyxy=box, mask_logits=mask).dense_logits(decoder, (16, 16))
        assert np.array_equal(found, mask[:, None])
    points = PromptBatch(made([[[3.5, 5.5]]]), made([[1]]))
    assert points.dense_logits(WITH, (16, 16)) is None


def test_what_the_model_makes_of_a_batch() -> None:
    """`encode_prompts` gives SAM's prompt encoder SAM's coordinates, in float32."""
    model = tiny_model(replace(TINY, decoder=replace(TINY.decoder, box_as_mask=False)))
    points, labels = torch.tensor([[[10.25, 20.5], [1, 2]]]).double(), torch.tensor([[1, 0]])
    boxes = torch.tensor([[3.0, 4.0, 50.0, 60.0]]).double()
    found = model.encode_prompts(PromptBatch(points, labels, boxes), SIZE)
    by_sam = (points - 0.5).float(), labels, boxes.float(), None, SIZE
    expected: tuple[Tensor, Tensor] = model.prompt_encoder(*by_sam)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


def test_the_module_does_without_torch() -> None:
    code = "import sys, ovsam.model.prompt_batch; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
