"""torchvision's detector with weights made here: its boxes are ones that the reader accepts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

from ovsam.errors import AnnotationError, CheckpointError
from ovsam.evaluate.detector import detect, load_detector
from ovsam.formats.coco_results import parse_detections, results_to_json
from ovsam.formats.ground_truth import GroundTruth, parse_ground_truth
from photo_folder import HEIGHT, WIDTH, rectangle, write_photo

CAT, DOG = 3, 18


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Random weights for two classes; scores of a third each pass for found."""
    with torch.random.fork_rng():
        torch.manual_seed(12)
        made = fasterrcnn_mobilenet_v3_large_320_fpn(
            weights=None, weights_backbone=None, num_classes=3
        )
    return dict(made.state_dict())


@pytest.fixture(scope="module")
def weights(state: Mapping[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "detector.pth"
    torch.save(state, path)
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for i in (1, 2):
        mask = rectangle(20, 10, 40 + 20 * i, 50, size_hw=(HEIGHT, WIDTH))
        write_photo(tmp_path / f"{i}.jpg", [mask])
    return tmp_path


def ground_truth(*ids: int) -> GroundTruth:
    return parse_ground_truth(
        {
            "images": [
                {"id": 70 + i, "file_name": f"{i}.jpg", "height": HEIGHT, "width": WIDTH}
                for i in (1, 2)
            ],
            "categories": [{"id": i, "name": f"class {i}"} for i in ids],
            "annotations": [],
        }
    )


def test_boxes_pass_the_reader(weights: Path, images: Path) -> None:
    ticks: list[tuple[int, int]] = []
    found = detect(
        load_detector(weights),
        ground_truth(DOG, CAT),
        images,
        progress=lambda done, total: ticks.append((done, total)),
    )
    assert {row["image_id"] for row in found} == {71, 72}
    assert {row["category_id"] for row in found} <= {CAT, DOG}
    read = parse_detections(json.loads(results_to_json(found)), ground_truth(DOG, CAT)).by_photo
    assert sum(map(len, read.values())) == len(found) > 0
    scores = [detection.score for detection in read[71]]
    assert scores == sorted(scores, reverse=True)
    assert ticks == [(1, 2), (2, 2)]
    assert detect(load_detector(weights), ground_truth(DOG, CAT), images, limit=1) == [
        row for row in found if row["image_id"] == 71
    ]


def test_other_files_with_the_same_weights(
    weights: Path, state: Mapping[str, Tensor], tmp_path: Path
) -> None:
    """Under "model" with a step beside it, as safetensors, and without counters of batch norms."""
    expected = load_detector(weights).state_dict()
    torch.save({"model": state, "epoch": 3}, tmp_path / "nested.pth")
    kept = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    save_file(kept, tmp_path / "frozen.safetensors")
    for name in ("nested.pth", "frozen.safetensors"):
        loaded = load_detector(tmp_path / name).state_dict()
        assert all(torch.equal(tensor, loaded[key]) for key, tensor in expected.items())


def test_weights_that_cannot_be_used(state: Mapping[str, Tensor], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="There is no file"):
        load_detector(tmp_path / "none.pth")
    (tmp_path / "damaged.pth").write_bytes(b"not to be read")
    with pytest.raises(CheckpointError, match="damaged"):
        load_detector(tmp_path / "damaged.pth")
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match="holds no weights of torchvision's"):
        load_detector(tmp_path / "foreign.safetensors")
    less = {k: v for k, v in state.items() if k != "rpn.head.cls_logits.bias"}
    save_file(less, tmp_path / "less.safetensors")
    with pytest.raises(CheckpointError, match=r"1 missing: rpn\.head\.cls_logits\.bias"):
        load_detector(tmp_path / "less.safetensors")


def test_labels_are_the_files_ids_where_numbers_of_classes_differ(
    weights: Path, images: Path
) -> None:
    detector: Any = load_detector(weights)
    all_found = detect(detector, ground_truth(CAT, DOG), images)
    only_second = detect(detector, ground_truth(2), images)
    assert {row["category_id"] for row in only_second} <= {2}
    assert len(only_second) == sum(row["category_id"] == DOG for row in all_found)
    with pytest.raises(AnnotationError, match=r"tells 2 classes apart, .* lists 1 with ids"):
        detect(detector, ground_truth(CAT), images)


def test_a_missing_photo_is_named_before_any_work(weights: Path, images: Path) -> None:
    (images / "2.jpg").unlink()
    with pytest.raises(AnnotationError, match=r"1 of 2 photos are missing"):
        detect(load_detector(weights), ground_truth(CAT, DOG), images)
