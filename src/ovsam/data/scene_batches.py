"""Micro-batches of stage 2 (CLIP2SAM): crops of photos with their prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from ovsam.data.dataset import DataSet, all_annotations
from ovsam.data.mixture import Mixture
from ovsam.data.prompts import PromptConfig, Prompts, draw_prompts
from ovsam.data.scene_crops import SceneCrop, SceneCropConfig, draw_scene_crop
from ovsam.errors import AnnotationError, PhotoError, TrainingError
from ovsam.formats.listing import ListedPhoto
from ovsam.formats.skipped import Skipped

TRIES = 100  # photos in a row that may be unreadable or show nothing


@dataclass(frozen=True, eq=False)
class SceneBatch:
    """B crops with N prompts each; objects and prompts of all crops stand one after the other.

    Attributes:
        photos: `(B, S, S, 3)` uint8.
        content_hw: `(B, 2)` how much of each crop is photo.
        source: `(B,)` which data set each comes from.
        masks: `(K, S, S)` bool, of all objects.
        has_mask: `(K,)` bool.
        class_index: `(K,)` within the vocabulary of its data set, -1 without a name.
        image: `(P,)` which crop each of the P = B N prompts belongs to.
        prompts: all of them; `object_index` counts the K objects.
        seeds: for each crop, of what the stage draws at random with it.
        verified_classes: for each crop those of its photo, see `DataSet.verified_classes`.
        names: of the photos.
        skipped: photos that cannot be read, and annotations that cannot be used.
    """

    photos: Tensor
    content_hw: Tensor
    source: Tensor
    masks: Tensor
    has_mask: Tensor
    class_index: Tensor
    image: Tensor
    prompts: Prompts
    seeds: tuple[int, ...]
    verified_classes: tuple[tuple[int, ...] | None, ...]
    names: tuple[str, ...]
    skipped: tuple[Skipped, ...]


class SceneBatches:
    """Micro-batches of crops; item i depends on the seed and i alone.

    Args:
        data_sets: what is drawn from.
        mixture: which photo comes next.
        scene: how crops are drawn.
        prompts: how prompts are drawn on them.
        size: crops of a micro-batch.
    """

    def __init__(
        self,
        data_sets: Sequence[DataSet],
        mixture: Mixture,
        scene: SceneCropConfig,
        prompts: PromptConfig,
        size: int,
    ) -> None:
        self.data_sets, self.mixture = list(data_sets), mixture
        self.scene, self.prompts, self.size = scene, prompts, size

    @property
    def photos(self) -> int:
        """How many photos there are to draw from."""
        return sum(map(len, self.data_sets))

    @property
    def annotations(self) -> int | None:
        """How many annotations there are; None = unknown."""
        return all_annotations(self.data_sets)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What was left out when listing."""
        return sum((data_set.skipped for data_set in self.data_sets), ())

    def __getitem__(self, index: int) -> SceneBatch:
        """Micro-batch `index`.

        Raises:
            TrainingError: many photos in a row cannot be used.
        """
        skipped: list[Skipped] = []
        drawn = [self._drawn(index * self.size + i, skipped) for i in range(self.size)]
        scenes = [scene for _, _, scene, _ in drawn]
        starts = np.cumsum([0, *(len(scene.masks) for scene in scenes)])[:-1].tolist()
        prompts = [
            replace(p, object_index=p.object_index + start)
            for (_, _, _, p), start in zip(drawn, starts, strict=True)
        ]
        classes = [
            self.data_sets[which].class_index(category)
            for which, _, scene, _ in drawn
            for category in scene.categories
        ]
        return SceneBatch(
            photos=torch.stack([scene.photo for scene in scenes]),
            content_hw=torch.tensor([scene.content_hw for scene in scenes]),
            source=torch.tensor([which for which, *_ in drawn]),
            masks=torch.cat([scene.masks for scene in scenes]),
            has_mask=torch.cat([scene.has_mask for scene in scenes]),
            class_index=torch.tensor(classes),
            image=torch.arange(len(drawn)).repeat_interleave(self.prompts.count),
            prompts=_joined(prompts),
            seeds=tuple(
                self.mixture.seed * 1_000_003 + index * self.size + i for i in range(self.size)
            ),
            verified_classes=tuple(
                self.data_sets[which].verified_classes(listed) for which, listed, _, _ in drawn
            ),
            names=tuple(scene.name for scene in scenes),
            skipped=tuple(skipped),
        )

    def _drawn(
        self, draw: int, skipped: list[Skipped]
    ) -> tuple[int, ListedPhoto, SceneCrop, Prompts]:
        """A crop; where a photo cannot be read or shows nothing, of the next of the same order."""
        rng = np.random.default_rng((self.mixture.seed, draw))
        for attempt in range(TRIES):
            which, index = self.mixture[draw + attempt * 7919]  # a prime: far from the neighbours
            listed = self.data_sets[which][index]
            skipped += listed.skipped
            try:
                scene = draw_scene_crop(rng, listed, self.scene, skipped)
            except (PhotoError, AnnotationError) as error:
                skipped.append(Skipped(listed.name, str(error)))
                continue
            if scene is not None:
                return which, listed, scene, draw_prompts(rng, scene, self.prompts)
        raise TrainingError(
            f"{TRIES} photos in a row cannot be read or show no object, the last of them "
            f"'{listed.name}'. Check the data with 'ovsam data check'."
        )


def _joined(prompts: Sequence[Prompts]) -> Prompts:
    names = [field.name for field in fields(Prompts)]
    return Prompts(**{name: torch.cat([getattr(p, name) for p in prompts]) for name in names})
