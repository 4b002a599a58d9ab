"""How fast and how big a training step of stage 2 is.

python benchmarks/step.py --data FOLDER [--steps 8] [--batch 1] [--json step.json]
python benchmarks/step.py --memory rn50x16 [--device cuda]

The first times whole steps of `lite` (drawing, losses, gradient, AdamW; 512 pixels, 40 prompts a
photo) beside a straightforward reference in float32, by turns, on the same model and photos: ours
in float32, too, and in bfloat16 as the recipes run. FOLDER holds coco_sample/. The reference draws
with the plain pipeline of `data.py`, decodes the prompts one after the other and compares upsampled
logits with whole masks, where ours decodes prompts of one kind together and compares 12,544 points.

The second takes one step of batch 1 at 1024 pixels with 40 prompts and random weights, in float32,
and reports the most memory it held, with activations kept and computed again
(`checkpoint_activations`). It needs no data. Each is a fresh process, since a process's peak never
falls.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from processes import in_fresh_process
from processes import peak_gb as peak_gb_of_process
from torch import Tensor

from data import GOAL, Drawn, drawn_plainly
from ovsam.data.dataset import DataSet, read_data_set
from ovsam.data.mixture import Mixture
from ovsam.data.prompts import PromptConfig
from ovsam.data.scene_batches import TRIES, SceneBatches
from ovsam.data.scene_crops import SceneCropConfig
from ovsam.hub import SHIPPED
from ovsam.model.build import build
from ovsam.model.ovsam import OVSAM, Features
from ovsam.model.presets import MODELS, named_config
from ovsam.model.prompt_batch import PromptBatch
from ovsam.model.region import class_logits
from ovsam.model.restore import restore
from ovsam.model.torch_bank import TorchBank
from ovsam.train.loop import on_device
from ovsam.train.losses import BCE_WEIGHT, CLASS_WEIGHT, DICE_WEIGHT, mask_iou
from ovsam.train.stages.label import LabelStage

SCENES = SceneCropConfig(size=512)  # what `lite` sees
PROMPTS = PromptConfig()
PARTS = ("region_head", "mask_decoder")  # what learns: both, as in the paper
WARM_UP = 1  # steps of each that do not count


@dataclass(frozen=True)
class Figure:
    """One line of the table: images a second, from the mean time of a step."""

    what: str
    ours: float
    reference: float
    steps: int

    @property
    def ratio(self) -> float:
        return self.ours / self.reference


@dataclass(frozen=True)
class Memory:
    """The most memory that a process held, in GB: by the time the step begins, and in all."""

    model: str
    checkpoint_activations: bool
    device: str
    before: float
    peak: float
    seconds: float  # of the step


def labelled(model: OVSAM, data_set: DataSet, checkpoint_activations: bool = False) -> LabelStage:
    """The stage in training, with random directions for names: what they are costs no time."""
    shape = (max(1, len(data_set.classes)), model.config.encoder.text_dim)
    bank = TorchBank.of_single_names(F.normalize(torch.randn(shape), dim=-1))
    stage = LabelStage(
        model, [bank], PARTS, rounds=0, checkpoint_activations=checkpoint_activations
    )
    stage.train()
    return stage


def optimiser(stage: LabelStage) -> torch.optim.AdamW:
    """As the engine sets it up: no decay for norms and biases."""
    learnt = [p for p in stage.parameters() if p.requires_grad]
    matrices, vectors = [p for p in learnt if p.ndim > 1], [p for p in learnt if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=1e-4)


def learn(adamw: torch.optim.AdamW, loss: Callable[[], Tensor]) -> None:
    adamw.zero_grad(set_to_none=True)
    loss().backward()
    adamw.step()


# The reference


@dataclass(frozen=True, eq=False)
class Plain:
    """A crop of the reference and the class of each of its objects."""

    drawn: Drawn
    classes: Tensor  # (K,)


class PlainBatches:
    """The reference's crops, of the photos that ours come from."""

    def __init__(self, data_set: DataSet, mixture: Mixture, size: int) -> None:
        self.data_set, self.mixture, self.size = data_set, mixture, size

    def __getitem__(self, index: int) -> list[Plain]:
        return [self._crop(index * self.size + i) for i in range(self.size)]

    def _crop(self, draw: int) -> Plain:
        for attempt in range(TRIES):
            _, index = self.mixture[draw + attempt * 7919]  # as `SceneBatches` goes on
            photo = self.data_set[index]
            found = drawn_plainly(photo, draw, SCENES, PROMPTS)
            if found is not None:
                names = [photo.instances[i].category for i in found.instances]
                return Plain(found, torch.tensor([self.data_set.class_index(n) for n in names]))
        raise SystemExit(f"error: {TRIES} photos in a row show no object.")


def plain_loss(stage: LabelStage, crops: list[Plain]) -> Tensor:
    """What `LabelStage` minimises, prompt by prompt and over whole masks.

    Only what one would write differently is: the trunk sees the batch at once, and only masks that
    learn are upsampled.
    """
    model = stage.model
    photos = torch.stack([crop.drawn.photo for crop in crops])
    pixels = (photos - stage.mean[:, None, None]) / stage.std[:, None, None]
    features = model.encode(pixels)
    total = pixels.new_zeros(())
    for image, crop in enumerate(crops):
        drawn = crop.drawn
        where = torch.full((len(drawn.boxes),), image)
        embeddings = model.region_head(features.fpn_maps, drawn.boxes, where, None)
        scores = class_logits(
            embeddings, stage.banks[0].to(embeddings.device), model.config.logit_scale
        )
        labels = crop.classes[drawn.object_index]
        total = total + CLASS_WEIGHT * F.cross_entropy(scores, labels, ignore_index=-1)
        for number in range(len(drawn.boxes)):
            one = prompt_loss(model, features, drawn, number, image)
            total = total + one / len(drawn.boxes)
    return total / len(crops)


def prompt_loss(model: OVSAM, features: Features, drawn: Drawn, number: int, image: int) -> Tensor:
    """Of one prompt: mask and predicted IoU, by SAM's rule for the alternatives to a lone point."""
    mask = drawn.masks[drawn.object_index[number]][None, None].float()  # (1, 1, S, S)
    boxes = len(drawn.boxes) - len(drawn.points)
    where = torch.tensor([image])
    if number < boxes:
        box = drawn.boxes[number : number + 1]
        logits, predicted_iou = model.decode(features, PromptBatch(boxes_xyxy=box), where)
    else:
        point = drawn.points[None, number - boxes : number - boxes + 1]
        label = torch.ones(1, 1, dtype=torch.long)
        logits, predicted_iou = model.decode(features, PromptBatch(point, label), where)
    learning = logits[:, :1] if number < boxes else logits
    whole = F.interpolate(learning, mask.shape[2:], mode="bilinear", align_corners=False)
    target = mask.expand_as(whole)
    bce = F.binary_cross_entropy_with_logits(whole, target, reduction="none").mean((0, 2, 3))
    chance = whole.sigmoid()
    overlap, sums = (chance * target).sum((0, 2, 3)), (chance + target).sum((0, 2, 3))
    losses = BCE_WEIGHT * bce + DICE_WEIGHT * (1 - (2 * overlap + 1) / (sums + 1))  # (M,)
    loss = losses[0] if len(losses) == 1 else (losses[0] + losses[1:].min()) / 2
    if predicted_iou is not None:
        with torch.no_grad():
            iou = mask_iou(logits, F.avg_pool2d(mask, 4)[:, 0], logits.new_zeros(1))
        loss = loss + F.mse_loss(predicted_iou, iou)
    return loss


# Time


def seconds(draw: Callable[[], Any], learnt_from: Callable[[Any], None]) -> tuple[float, float]:
    """Processor time of drawing a batch and of learning from it; other work does not count."""
    start = time.process_time()
    batch = draw()
    middle = time.process_time()
    learnt_from(batch)
    return middle - start, time.process_time() - middle


def timed(folder: Path, steps: int, size: int) -> list[Figure]:
    """Both kinds of step by turns, of one model with one optimiser."""
    listing = folder / "annotations/instances_train2017.json"
    if not listing.exists():
        raise SystemExit(f"error: there is no '{listing}'; give --data the folder of coco_sample.")
    every = read_data_set(listing, folder / "train2017")
    data_set = every.where(lambda photo: bool(photo.instances))
    mixture = Mixture([data_set], [1.0], seed=0)
    ours = SceneBatches([data_set], mixture, SCENES, PROMPTS, size)
    plain = PlainBatches(data_set, mixture, size)
    stage = labelled(restore(SHIPPED).model, data_set)
    adamw = optimiser(stage)

    def loss(batch: Any, mixed: bool) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            return torch.stack([*stage.losses(batch).values()]).sum()

    def our_step(index: int, mixed: bool) -> tuple[float, float]:
        return seconds(lambda: ours[index], lambda batch: learn(adamw, lambda: loss(batch, mixed)))

    def plain_step(index: int) -> tuple[float, float]:
        return seconds(
            lambda: plain[index],
            lambda crops: learn(adamw, lambda: plain_loss(stage, crops)),
        )

    order = [0] * WARM_UP + list(range(steps))
    rows = [(our_step(i, True), our_step(i, False), plain_step(i)) for i in order][WARM_UP:]
    mixed, full, theirs = np.array(rows).transpose(1, 0, 2)  # (steps, 2) each
    parts = [
        ("drawing", mixed[:, 0], theirs[:, 0]),
        ("whole step, float32", full.sum(1), theirs.sum(1)),
        ("whole step, bf16-mixed", mixed.sum(1), theirs.sum(1)),
    ]
    return [Figure(what, size / a.mean(), size / b.mean(), steps) for what, a, b in parts]


# Memory


def peak_gb(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    return peak_gb_of_process()


def tiny_data_set(folder: Path, side: int) -> DataSet:
    """Noise with a few rectangles, in COCO's layout: what is seen makes no difference to memory."""
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(noise).save(folder / "noise.png")
    corners = [(0.1, 0.1, 0.3, 0.5), (0.4, 0.1, 0.9, 0.4), (0.2, 0.6, 0.5, 0.9), (0.6, 0.5, 1, 1)]
    marks = []
    for number, corner in enumerate(corners, start=1):
        x0, y0, x1, y1 = (share * side for share in corner)
        marks.append(
            {
                "id": number,
                "image_id": 1,
                "category_id": number % 2 + 1,
                "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]],
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": (x1 - x0) * (y1 - y0),
                "iscrowd": 0,
            }
        )
    document = {
        "images": [{"id": 1, "file_name": "noise.png", "width": side, "height": side}],
        "categories": [{"id": 1, "name": "sheet"}, {"id": 2, "name": "board"}],
        "annotations": marks,
    }
    (folder / "noise.json").write_text(json.dumps(document))
    return read_data_set(folder / "noise.json", folder)


def one_step(name: str, checkpoint_activations: bool, device: str) -> Memory:
    """Take one step in this process."""
    config = named_config(name)
    scenes = SceneCropConfig(size=config.image_size, scale_range=(1.0, 1.0))  # the photo fills it
    with tempfile.TemporaryDirectory() as folder:
        data_set = tiny_data_set(Path(folder), config.image_size)
        mixture = Mixture([data_set], [1.0], seed=0)
        batch = SceneBatches([data_set], mixture, scenes, PROMPTS, 1)[0]
    stage = labelled(build(config), data_set, checkpoint_activations).to(device)
    adamw, batch = optimiser(stage), on_device(batch, torch.device(device))
    before, start = peak_gb(device), time.perf_counter()
    learn(adamw, lambda: torch.stack([*stage.losses(batch).values()]).sum())
    peak = peak_gb(device)
    if device == "cuda":
        torch.cuda.synchronize()
    return Memory(name, checkpoint_activations, device, before, peak, time.perf_counter() - start)


def measured(name: str, checkpoint_activations: bool, device: str, threads: int) -> Memory:
    """`one_step` in this process, which has done nothing before."""
    set_up(threads)
    return one_step(name, checkpoint_activations, device)


def set_up(threads: int) -> None:
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    torch.manual_seed(0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="time steps on coco_sample in this folder")
    parser.add_argument("--steps", type=int, default=8, help="of each kind")
    parser.add_argument("--batch", type=int, default=1, help="photos of a step")
    parser.add_argument("--memory", choices=list(MODELS), help="measure a step of this model")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="for --memory")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.data is None and options.memory is None:
        parser.error("give --data, --memory or both")
    set_up(options.threads)
    document: dict[str, Any] = {"prompts": PROMPTS.count, "threads": options.threads}
    if options.memory:  # first: on Linux a process begins with the peak of the one that started it
        print(f"{'one step, batch 1':30}{'checkpointed':>14}{'before':>9}{'peak':>9}{'s':>8}  GB")
        document["memory"] = []
        for checkpointed in (False, True):
            arguments = (options.memory, checkpointed, options.device, options.threads)
            row = in_fresh_process(measured, *arguments)
            print(
                f"{f'{row.model}, {row.device}':30}{'yes' if checkpointed else 'no':>14}"
                f"{row.before:>9.2f}{row.peak:>9.2f}{row.seconds:>8.1f}",
                flush=True,
            )
            document["memory"].append(asdict(row))
    if options.data:
        figures = timed(options.data / "coco_sample", options.steps, options.batch)
        print(f"{'':30}{'ours':>9}{'reference':>11}{'ratio':>8}{'steps':>7}  images/s")
        for figure in figures:
            # The goal is one of whole steps; their parts show where the time goes.
            under = "  under" if figure is figures[-1] and figure.ratio < GOAL else ""
            print(
                f"{figure.what:30}{figure.ours:>9.2f}{figure.reference:>11.2f}"
                f"{figure.ratio:>8.1f}{figure.steps:>7}{under}"
            )
        document |= {"size": SCENES.size, "batch": options.batch}
        document["figures"] = [asdict(figure) | {"ratio": figure.ratio} for figure in figures]
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
