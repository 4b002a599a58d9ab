"""What a backend is asked: prompts in model pixels, of one kind at a time, in their order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovsam.images.frame import Frame
from ovsam.model.prompt_batch import PromptBatch
from ovsam.predictor.views import EncodedImage, View, decode, encode_frames, whole_view
from ovsam.structures import Prompt

LEFT = Frame((0.0, 0.0), (32.0, 32.0), (64, 64), (64, 64))  # twice as large
RIGHT = Frame((10.0, 20.0), (16.0, 16.0), (64, 64), (64, 64))  # four times


class Recorder:
    """Remembers what it is asked; answers with the index and the first number of each prompt."""

    device = engine = fingerprint = "none"
    threads = 1

    def use_threads(self, count: int) -> None:
        raise AssertionError(f"nobody wants {count} threads")

    def __init__(self) -> None:
        self.batches: list[tuple[PromptBatch[NDArray[Any]], list[int]]] = []
        self.encoded: list[tuple[list[tuple[int, ...]], tuple[int, int], bool, bool]] = []

    def encode(self, contents: Any, input_hw: tuple[int, int], **needs: bool) -> Any:
        needed = needs.get("masked", True), needs.get("named", True)
        self.encoded.append(([content.shape for content in contents], input_hw, *needed))
        return "features"

    def decode(
        self, features: Any, prompts: PromptBatch[NDArray[Any]], index: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        assert features == "features"
        self.batches.append((prompts, index.tolist()))
        masks = np.zeros((len(prompts), 1, 16, 16), np.float32)
        given: Any = prompts.points_xy if prompts.points_xy is not None else prompts.boxes_xyxy
        masks[:, 0, 0, 0] = given.reshape(len(prompts), -1)[:, 0]
        return masks, index[:, None].astype(np.float32)

    def score(self, *_: Any) -> Any:
        raise AssertionError("nobody asked for names")


def test_prompts_of_a_kind_go_together_in_model_pixels() -> None:
    views = [View(LEFT, "features", 0), View(RIGHT, "features", 1)]
    mask = np.ones((16, 16))
    prompts = [
        Prompt(points_xy=[[11, 21]]),
        Prompt(box_xyxy=[12, 22, 20, 30]),
        Prompt(points_xy=[[12, 24]]),
        Prompt(points_xy=[[11, 21], [13, 25]], point_labels=[1, 0]),
        Prompt(box_xyxy=[12, 22, 20, 30], mask_logits=mask),
    ]
    backend = Recorder()
    pairs = [(views[i % 2], prompt) for i, prompt in enumerate(prompts)]
    found = decode(backend, pairs)
    points, box, two, masked = (batch for batch, _ in backend.batches)
    assert [index for _, index in backend.batches] == [[0, 0], [1], [1], [0]]
    assert points.points_xy is not None and points.point_labels is not None
    assert points.points_xy.tolist() == [[[22, 42]], [[24, 48]]]  # corners of pixels, not centres
    assert points.point_labels.tolist() == [[1], [1]]
    assert box.boxes_xyxy is not None and box.boxes_xyxy.tolist() == [[8, 8, 40, 40]]
    assert box.points_xy is None and box.mask_logits is None
    assert two.points_xy is not None and two.points_xy.tolist() == [[[4, 4], [12, 20]]]
    assert two.point_labels is not None and two.point_labels.tolist() == [[1, 0]]
    assert masked.mask_logits is not None and np.array_equal(masked.mask_logits, mask[None])
    # The answers come in the order of the prompts.
    assert [each.mask_logits[0, 0, 0] for each in found] == [22, 8, 24, 4, 24]
    assert [each.predicted_iou[0] for each in found] == [0, 1, 0, 1, 0]


def test_frames_are_encoded_together() -> None:
    photo = np.zeros((40, 60, 3), np.uint8)
    backend = Recorder()
    views = encode_frames(backend, photo, [LEFT, RIGHT], named=False)
    assert backend.encoded == [([(64, 64, 3), (64, 64, 3)], (64, 64), True, False)]
    assert [(view.frame, view.index) for view in views] == [(LEFT, 0), (RIGHT, 1)]


def test_the_whole_photo() -> None:
    frame = Frame.whole_photo((40, 60), 96)
    encoded = EncodedImage(np.zeros((40, 60, 3), np.uint8), frame, "features")
    view = whole_view(encoded)
    assert (view.frame, view.features, view.index) == (frame, "features", 0)
    assert encoded.size_hw == (40, 60)
