"""Micro-batches of stage 2 from small data sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ovsam.data.dataset import DataSet, read_data_set
from ovsam.data.mixture import Mixture
from ovsam.data.prompts import PromptConfig
from ovsam.data.scene_batches import SceneBatches
from ovsam.data.scene_crops import SceneCropConfig
from photo_folder import write_folder

SCENE = SceneCropConfig(size=64, min_area=4)
PROMPTS = PromptConfig(count=6, negatives=0.5)


def written_data_sets(folder: Path) -> list[DataSet]:
    root = write_folder(folder)
    return [
        read_data_set(
            root / "coco_sample/annotations/instances_train2017.json",
            root / "coco_sample/train2017",
        ),
        read_data_set(root / "imagenet_sample"),
    ]


def batches(
    data_sets: Sequence[DataSet], size: int = 2, prompts: PromptConfig = PROMPTS
) -> SceneBatches:
    mixture = Mixture(data_sets, [1.0] * len(data_sets), seed=0)
    return SceneBatches(data_sets, mixture, SCENE, prompts, size)
