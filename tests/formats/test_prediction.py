"""Predictions as JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ovsam.candidates import Candidates, FramedMasks
from ovsam.formats.prediction import object_to_json, photo_to_json, to_json_bytes
from ovsam.images.frame import Frame
from ovsam.structures import Label, Prediction, Prompt
from ovsam.vocabulary.load import load_vocabulary

MASK = np.array([[[0, 1, 1], [0, 1, 0]]], dtype=bool)  # runs down the columns: 2 off, 3 on, 1 off


def prediction(predicted_iou: float) -> Prediction:
    return Prediction(
        masks=MASK,
        predicted_iou=np.array([predicted_iou], np.float32),
        boxes_xyxy=np.array([[1.0, 0.0, 3.0, 2.0]]),
        low_res_logits=np.zeros((1, 4, 4), np.float32),
        labels=((Label("cat", 0.75), Label("dog", 0.125)),),
        none_scores=np.array([0.125], np.float32),
        kinds=(Label("animal", 0.875),),
        calibrated=True,
    )


def test_an_object_with_all_that_is_known_of_it() -> None:
    prompt = Prompt([[1.5, 0.5], [0.0, 1.0]], [1, 0], box_xyxy=[1, 0, 3, 2])
    assert object_to_json(prompt, prediction(0.5)) == {
        "prompt": {"points": [[1.5, 0.5, 1], [0, 1, 0]], "box_xyxy": [1, 0, 3, 2]},
        "segmentation": {"size": [2, 3], "counts": "231"},
        "box_xyxy": [1, 0, 3, 2],
        "mask_score": 0.5,
        "labels": [{"name": "cat", "score": 0.75}, {"name": "dog", "score": 0.125}],
        "none_of_these": False,
        "none_score": 0.125,
        "kind": {"name": "animal", "score": 0.875},
        "calibrated": True,
    }


def test_candidates_without_names() -> None:
    frame = Frame.whole_photo((2, 3), 12)  # the low resolution has the photo's own pixels
    logits = np.full((1, 3, 3), -1, np.float32)
    logits[0, :2][MASK[0]] = 1
    candidates = Candidates(FramedMasks(frame, logits), np.array([np.nan], np.float32), frame)
    found = object_to_json(Prompt([[1.5, 0.5]]), candidates.painted())
    assert found["segmentation"] == {"size": [2, 3], "counts": "231"}
    assert found["box_xyxy"] == [1, 0, 3, 2]
    assert found["mask_score"] is None
    assert (found["labels"], found["none_of_these"], found["kind"]) == ([], True, None)
    assert (found["none_score"], found["calibrated"]) == (1, False)


def test_a_photo_whose_name_is_no_text() -> None:
    document = photo_to_json(
        model="lite",
        vocabulary=load_vocabulary("cat, dog"),
        photo="caf\udce9.png",
        size_hw=(2, 3),
        prompts=[],
        predictions=[],
    )
    content = to_json_bytes(document)
    assert content.endswith(b"\n") and b"caf\\udce9.png" in content
    assert json.loads(content) == document
    assert document["size"] == {"width": 3, "height": 2}


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_json_bytes({"score": float("nan")})
