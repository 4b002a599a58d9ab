"""Train `lite`: adapter, prompt encoder, decoder and region head on a frozen trunk.

One loop, no flags beyond the budget: each step draws squares with prompts (`data/crops.py`),
decodes them, clicks once more where the mask is wrong, and names the objects that have names.
"""

from __future__ import annotations

import csv
import json
import logging
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from ovsam.data.crops import Batch, SquareConfig, Squares
from ovsam.data.sources import (
    PhotoRecord,
    read_class_folders,
    read_coco,
    read_mask_files,
    read_sa1b,
)
from ovsam.errors import AnnotationError
from ovsam.model.label import class_logits
from ovsam.model.ovsam import OVSAM, Features
from ovsam.model.prompt import box_mask_logits
from ovsam.output import write_atomically
from ovsam.train.losses import prompt_loss
from ovsam.vocabulary import load_vocabulary

log = logging.getLogger(__name__)

NAME_SCALE = 20.0  # softer than the 100 of inference: a thousand names must not saturate
# The three ways in which the predictor looks at a photo: at the square around a box, at small
# squares around a click, at the whole.
ZOOMED = SquareConfig(
    256, count=16, prompts=1, named=2, boxes=1.0, zoomed=1.0, whole=0.0, pasted=0.3
)
CLICKED = SquareConfig(
    128, count=40, prompts=1, named=0, boxes=0.0, zoomed=0.0, whole=0.0, pasted=0.3, clicked=1.0
)
WHOLE = SquareConfig(512, count=2, prompts=6, named=2, boxes=0.5, zoomed=0.0, whole=0.6, pasted=0.3)
CYCLE = ("box", "click", "box", "click", "box", "whole")  # what a step's mask loss is called
LOG_EVERY = 5 * len(CYCLE)


@dataclass(frozen=True)
class LiteTrainConfig:
    """A training run of `lite`."""

    steps: int = 5000
    """Optimiser steps, one batch each, of a kind of `CYCLE`."""
    seed: int = 0
    """Of data order, augmentation and initial weights."""
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warm_up: int = 200
    clip: float = 1.0
    """Greatest norm of the gradient."""
    ema: float = 0.999
    """Decay of the averaged weights, which are the ones that ship."""
    save_every: int = 250


@dataclass(frozen=True)
class LiteData:
    """The photos with the share of squares that each source gets, and the classes they count."""

    sources: list[tuple[list[PhotoRecord], float]]
    vocabularies: dict[str, tuple[tuple[str, ...], ...]]
    """For each vocabulary the synonyms of its classes, in the order of `class_index`."""


def read_data(root: Path) -> LiteData:
    """The photos under `root`; held-out parts (COCO val, the test parts) are never read.

    Raises:
        AnnotationError: a folder is missing.
    """
    folders = ("coco_sample", "clothing", "ecssd", "bsds500", "imagenet_sample")
    missing = [name for name in folders if not (root / name).is_dir()]
    if missing:
        raise AnnotationError(
            f"The training data in '{root}' lacks {', '.join(missing)}: expected the folders "
            f"{', '.join(folders)}, laid out as docs/lite.md says."
        )
    coco, coco_names = read_coco(
        root / "coco_sample/annotations/instances_train2017.json",
        root / "coco_sample/train2017",
        "coco",
    )
    names = load_vocabulary("coco")
    if tuple(coco_names) != names.classes:
        raise AnnotationError(f"The categories in '{root / 'coco_sample'}' are not COCO's 80.")
    clothing, clothing_names = read_coco(
        root / "clothing/instances.json",
        root / "clothing/photos",
        "clothing",
        whole=lambda name: name == "person",
    )
    salient = read_mask_files(
        root / "ecssd/images", root / "ecssd/masks", keep=lambda stem: int(stem) <= 900
    )
    regions = read_sa1b(root / "bsds500", root / "bsds500/train.txt")
    classes = read_class_folders(root / "imagenet_sample", "imagenet1k")
    return LiteData(
        sources=[(coco, 0.5), (clothing, 0.12), (salient, 0.16), (regions, 0.12), (classes, 0.1)],
        vocabularies={
            "coco": names.synonyms,
            "clothing": tuple((name,) for name in clothing_names),
            "imagenet1k": load_vocabulary("imagenet1k").synonyms,
        },
    )


@dataclass(frozen=True)
class _Targets:
    """What N prompts should give: their square, mask at half size, and pixels outside of it."""

    square: Tensor
    half: Tensor
    hidden: Tensor


class LiteTrainer:
    """A run that can be stopped at any moment and started again from its last checkpoint.

    Args:
        model: the model with its trunk's weights.
        data: photos and names.
        prototypes: for each vocabulary `(C, P, D)` unit vectors.
        config: the budget.
        folder: where checkpoints and the log go.
    """

    def __init__(
        self,
        model: OVSAM,
        data: LiteData,
        prototypes: Mapping[str, Tensor],
        config: LiteTrainConfig,
        folder: Path,
    ) -> None:
        self.model, self.data, self.config, self.folder = model, data, config, folder
        self.prototypes = [prototypes[name] for name in data.vocabularies]
        self.mean = torch.tensor(model.config.encoder.pixel_mean)
        self.std = torch.tensor(model.config.encoder.pixel_std)
        parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.parameters = parameters
        self.ema = {name: p.detach().clone() for name, p in parameters.items()}
        matrices = [p for p in parameters.values() if p.ndim > 1]
        vectors = [p for p in parameters.values() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": config.weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
        )
        self.step = 0
        self.history: dict[str, list[float]] = {}  # losses since the last row of the log

    def run(self) -> dict[str, Tensor]:
        """Train to the end; returns the averaged weights of the trained parameters."""
        self._resume()
        self.model.train()
        started, first = time.monotonic(), self.step
        for batch in self._batches():
            losses = self._losses(batch)
            total = torch.stack(list(losses.values())).sum()
            if not torch.isfinite(total):
                raise FloatingPointError(f"The loss is not finite at step {self.step}: {losses}")
            self._update(total)
            self.step += 1
            for name, loss in losses.items():
                self.history.setdefault(name, []).append(loss.item())
            if self.step % LOG_EVERY == 0:
                means = {name: sum(values) / len(values) for name, values in self.history.items()}
                self.history.clear()
                self._record(means)
                pace = (time.monotonic() - started) / (self.step - first)
                log.info(
                    "step %d of %d, %.2f s a step, %.0f min to go, %s",
                    self.step,
                    self.config.steps,
                    pace,
                    pace * (self.config.steps - self.step) / 60,
                    " ".join(f"{name} {mean:.3f}" for name, mean in sorted(means.items())),
                )
            if self.step % self.config.save_every == 0 or self.step == self.config.steps:
                self._save()
        return self.ema

    def _batches(self) -> Iterator[Batch]:
        config, names = self.config, list(self.data.vocabularies)
        masked = [(r, share) for r, share in self.data.sources if any(_has_masks(x) for x in r)]
        kinds = {
            "box": Squares(self.data.sources, names, ZOOMED, config.seed, config.steps),
            "click": Squares(masked, names, CLICKED, config.seed + 1, config.steps),
            "whole": Squares(masked, names, WHOLE, config.seed + 2, config.steps),
        }
        steps = range(self.step, config.steps)
        order = _InOrder([(kinds[CYCLE[step % len(CYCLE)]], step) for step in steps])
        loader = DataLoader(order, batch_size=None, num_workers=1, prefetch_factor=8, shuffle=False)
        yield from loader

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            pixels = ((batch.photos - self.mean) / self.std).permute(0, 3, 1, 2)
            features = self.model.encode(pixels)
            mask = self._mask_loss(features, batch)
        return {CYCLE[self.step % len(CYCLE)]: mask, "name": self._name_loss(features, batch)}

    def _mask_loss(self, features: Features, batch: Batch) -> Tensor:
        # Boxes first, then points, each encoded as its kind; both are two tokens long.
        masked = batch.has_mask.nonzero()[:, 0]
        is_box = batch.is_box[masked]
        order = torch.cat([masked[is_box], masked[~is_box]])
        count = int(is_box.sum())
        boxes, points = batch.boxes_xyxy[order[:count]], batch.points_xy[order[count:]]
        labels = torch.ones(len(points), 1, dtype=torch.long)
        size, encode = features.input_hw, self.model.prompt_encoder
        targets = _Targets(
            square=batch.square[order],
            half=F.avg_pool2d(batch.masks[order, None].float() / 255, 2)[:, 0],
            hidden=batch.hidden[order] / 4,
        )
        logits, loss = self._decoded(
            features,
            [
                encode(None, None, boxes, box_mask_logits(boxes, size), size),
                encode(points, labels, None, None, size),
            ],
            targets,
            is_box=batch.is_box[order],
            whole=batch.whole[order],
        )
        # One corrective click, with the mask so far as a prompt (SAM, appendix A); three tokens.
        clicks, kinds = _corrective(logits, targets.half, self._generator())
        previous = logits[:, None].detach()
        points, labels = (
            torch.cat([points, clicks[count:]], 1),
            torch.cat([labels, kinds[count:]], 1),
        )
        clear = torch.ones_like(is_box)
        _, again = self._decoded(
            features,
            [
                encode(clicks[:count], kinds[:count], boxes, previous[:count], size),
                encode(points, labels, None, previous[count:], size),
            ],
            targets,
            is_box=clear,
            whole=clear,
        )
        return loss + 0.3 * again

    def _generator(self) -> torch.Generator:
        """Random numbers of this step alone, so that a resumed run repeats them."""
        return torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step)

    def _decoded(
        self,
        features: Features,
        encoded: Sequence[tuple[Tensor, Tensor]],
        targets: _Targets,
        *,
        is_box: Tensor,
        whole: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Decode prompts: the first mask's logits `(N, S / 4, S / 4)` and the loss."""
        sparse, dense = (torch.cat(parts) for parts in zip(*encoded, strict=True))
        logits, quality = self.model.decode_tokens(features, sparse, dense, targets.square)
        assert quality is not None
        logits = logits.float()
        loss = prompt_loss(
            F.interpolate(logits, scale_factor=2, mode="bilinear", align_corners=False),
            quality.float(),
            targets.half,
            hidden=targets.hidden,
            is_box=is_box,
            whole=whole,
        )
        return logits[:, 0], loss

    def _name_loss(self, features: Features, batch: Batch) -> Tensor:
        named = (batch.class_index >= 0).nonzero()[:, 0]
        with torch.autocast("cpu", torch.bfloat16):
            embeddings = self.model.region_head(
                features.fpn_maps, batch.boxes_xyxy[named], batch.square[named]
            ).float()
        losses = []
        for index, prototypes in enumerate(self.prototypes):
            mine = batch.vocabulary[named] == index
            logits = class_logits(embeddings[mine], prototypes, NAME_SCALE)[:, :-1]
            target = batch.class_index[named][mine]
            losses.append(F.cross_entropy(logits, target, reduction="none", label_smoothing=0.05))
        return torch.cat(losses).sum() / max(1, len(named))

    def _update(self, total: Tensor) -> None:
        config = self.config
        warm = min(1.0, (self.step + 1) / config.warm_up)
        cosine = 0.5 * (1 + math.cos(math.pi * self.step / config.steps))
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * warm * max(cosine, 0.01)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), config.clip)
        self.optimizer.step()
        decay = min(config.ema, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                self.ema[name].lerp_(parameter, 1 - decay)

    def _record(self, means: Mapping[str, float]) -> None:
        losses = {**dict.fromkeys((*CYCLE, "name"), math.nan), **means}
        path = self.folder / "log.csv"
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["step", "learning_rate", *losses])
            rate = self.optimizer.param_groups[0]["lr"]
            values = [f"{value:.5f}" for value in losses.values()]
            writer.writerow([self.step, f"{rate:.3e}", *values])

    def _forget_later_rows(self) -> None:
        """Rows of steps after the checkpoint will be written again."""
        path = self.folder / "log.csv"
        if path.exists():
            header, *rows = path.read_text().splitlines(keepends=True)
            kept = [row for row in rows if int(row.partition(",")[0]) <= self.step]
            write_atomically(path, "".join([header, *kept]).encode())

    def _save(self) -> None:
        state = {
            "step": self.step,
            "parameters": {name: p.detach() for name, p in self.parameters.items()},
            "ema": self.ema,
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
        }
        temporary = self.folder / "state.tmp"
        torch.save(state, temporary)
        os.replace(temporary, self.folder / "state.pt")

    def _resume(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "config.json").write_text(json.dumps(self.config.__dict__, indent=1))
        path = self.folder / "state.pt"
        if not path.exists():
            (self.folder / "log.csv").unlink(missing_ok=True)
            return
        state = torch.load(path, weights_only=True)
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(state["parameters"][name])
        self.ema = state["ema"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.history = state["step"], state["history"]
        self._forget_later_rows()
        log.info("continuing at step %d of %s", self.step, path)


class _InOrder(torch.utils.data.Dataset[Batch]):
    """Item i of the run, whichever kind of batch it is."""

    def __init__(self, order: Sequence[tuple[Squares, int]]) -> None:
        self.order = order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> Batch:
        squares, step = self.order[index]
        return squares[step]


def _has_masks(record: PhotoRecord) -> bool:
    return any(instance.rle is not None for instance in record.instances)


def _corrective(logits: Tensor, half: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A click on a random wrong pixel of each mask: points `(N, 1, 2)`, labels `(N, 1)`.

    Where nothing is wrong the click falls anywhere and says what is there.
    """
    truth = F.avg_pool2d(half[:, None], 2)[:, 0] > 0.5  # (N, S / 4, S / 4)
    wrong = (logits > 0) != truth
    chance = wrong.flatten(1).float() + 1e-6
    pick = torch.multinomial(chance, 1, generator=generator)  # (N, 1)
    width = truth.shape[2]
    points = torch.cat([pick % width, pick // width], 1)[:, None] * 4.0 + 2.0
    return points, truth.flatten(1).gather(1, pick).long()
