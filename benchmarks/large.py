"""How fast `rn50x16`, the authors' model, is beside the models that it is made of.

python benchmarks/large.py [--only prompts] [--runs 3] [--threads 2]

All weights are random: what is measured does not depend on them. The ways are run by turns, and
what counts is the ratio of their medians. `pip install segment-anything` for SAM's own.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from segment_anything.modeling.image_encoder import ImageEncoderViT
from torch import Tensor

from ovsam.model.build import build
from ovsam.model.ovsam import OVSAM, Features
from ovsam.model.presets import named_config
from ovsam.model.prompt_batch import PromptBatch
from ovsam.model.roi_align import pool_boxes
from ovsam.predictor.torch_backend import TorchBackend

SIZE = 1024
SIZE_HW = (SIZE, SIZE)
Work = Callable[[], object]
PLAIN_AT_ONCE, SAM_AT_ONCE = 4, 4  # prompts; both take longer for each with more


def medians(ways: Mapping[str, Work], runs: int) -> dict[str, float]:
    """Seconds of each way, run by turns, so that all meet the same noise."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for run in range(runs + 1):  # the first warms up
        for name, work in ways.items():
            start = time.perf_counter()
            with torch.inference_mode():
                work()
            if run:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(each) for name, each in seconds.items()}


def print_table(title: str, found: Mapping[str, float], ours: str, limit: float | None) -> None:
    """Seconds, and how many times as long as ours each way takes."""
    bar = "" if limit is None else f", limit {limit:g}"
    print(f"\n{title}\n{'':46}{'median':>10}{'x ours' + bar:>20}")
    for name, seconds in found.items():
        print(f"{name:46}{seconds:>8.2f} s{seconds / found[ours]:>20.1f}")


def boxes(count: int) -> Tensor:
    """`(count, 4)` boxes of all sizes, model pixels."""
    torch.manual_seed(1)
    corner, size = 0.6 * SIZE * torch.rand(count, 2), 20 + 0.4 * SIZE * torch.rand(count, 2)
    return torch.cat([corner, (corner + size).clamp(max=SIZE)], 1)


class Plain:
    """The decoder in the straightforward order: all cells are projected for each prompt.

    Args:
        model: its weights are used, in the form of training, which is SAM's.
    """

    def __init__(self, model: OVSAM) -> None:
        self.model = model

    def decode(self, embedding: Tensor, given: Tensor) -> Tensor:
        """Mask logits `(N, 1, SIZE / 4, SIZE / 4)` of boxes `(N, 4)`."""
        decoder, masks = self.model.mask_decoder.train(), []
        for part in given.split(PLAIN_AT_ONCE):
            sparse, dense = self.model.encode_prompts(PromptBatch(boxes_xyxy=part), SIZE_HW)
            positions = self.model.prompt_encoder.dense_positions((SIZE // 16, SIZE // 16))
            masks.append(decoder(embedding, positions, sparse, dense)[0])
        decoder.eval()
        return torch.cat(masks)


def sams_decoder() -> tuple[Any, Any]:
    """segment-anything's prompt encoder and mask decoder, at SAM's sizes."""
    prompt_encoder = PromptEncoder(256, (SIZE // 16, SIZE // 16), SIZE_HW, mask_in_chans=16)
    decoder = MaskDecoder(
        transformer_dim=256,
        transformer=TwoWayTransformer(depth=2, embedding_dim=256, num_heads=8, mlp_dim=2048),
        num_multimask_outputs=3,
    )
    return prompt_encoder.eval(), decoder.eval()


@torch.inference_mode()
def prompts(model: OVSAM, count: int, runs: int) -> None:
    """Boxes on one photo: masks, and CLIP's embeddings of the boxes."""
    backend, plain, given = TorchBackend(model), Plain(model), boxes(count)
    channels, side = model.config.encoder.channels[3], model.config.encoder.pool_size
    embedding = torch.randn(1, 256, SIZE // 16, SIZE // 16)
    c5 = torch.randn(1, channels, SIZE // 32, SIZE // 32).relu()
    embedding, c5 = (x.to(memory_format=torch.channels_last) for x in (embedding, c5))
    features = model.with_shared(Features(c5, embedding, None, (), SIZE_HW))
    first = np.zeros(count, np.int64)
    batch = torch.from_numpy(first)
    prompt_encoder, decoder = sams_decoder()
    positions = prompt_encoder.get_dense_pe()

    def masks() -> Tensor:
        found, _ = backend.decode(features, PromptBatch(boxes_xyxy=given.numpy()), first)
        return torch.from_numpy(found)

    def embeddings() -> Tensor:
        return model.encoder.embed_regions(c5, given, batch, torch.empty(0))

    def plain_embeddings(at_once: int = PLAIN_AT_ONCE) -> Tensor:
        regions = pool_boxes(c5, given, batch, side, 32)
        pooling: Any = model.encoder.visual
        return torch.cat([pooling.attnpool(part) for part in regions.split(at_once)])

    def sam() -> None:
        for part in given.split(SAM_AT_ONCE):
            sparse, dense = prompt_encoder(None, part, None)
            decoder(embedding, positions, sparse, dense, multimask_output=False)

    def both(one: Work, other: Work) -> Work:
        return lambda: (one(), other())

    for what, ours, theirs in (
        ("masks", masks(), plain.decode(embedding, given)),
        ("embeddings", embeddings(), plain_embeddings()),
    ):
        difference = (ours - theirs).abs().max() / theirs.abs().max()
        print(f"largest relative difference of {what}: {difference:.1e}")
    ways: dict[str, Work] = {
        "ours": both(masks, embeddings),
        "plain order, same weights": both(lambda: plain.decode(embedding, given), plain_embeddings),
        "segment-anything + open_clip": both(sam, plain_embeddings),
        "  ours, masks": masks,
        "  ours, embeddings": embeddings,
    }
    print_table(f"{count} boxes on one photo", medians(ways, runs), "ours", 4)


@torch.inference_mode()
def encode(model: OVSAM, runs: int) -> None:
    """A photo of 1024 x 1024 pixels, and SAM's largest encoder on it."""
    pixels = torch.randn(1, 3, SIZE, SIZE).to(memory_format=torch.channels_last)
    vit_h = ImageEncoderViT(
        depth=32,
        embed_dim=1280,
        img_size=SIZE,
        num_heads=16,
        use_rel_pos=True,
        global_attn_indexes=(7, 15, 23, 31),
        window_size=14,
        out_chans=256,
    ).eval()
    model.eval().to(memory_format=torch.channels_last)

    def half() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            model.encode(pixels)

    ways: dict[str, Work] = {
        "ours, float32": lambda: model.encode(pixels),
        "ours, bfloat16": half,
        "segment-anything, ViT-H, float32": lambda: vit_h(pixels),
    }
    found = medians(ways, runs)
    print_table("one photo, float32", found, "ours, float32", 3.5)
    print_table("one photo, bfloat16", found, "ours, bfloat16", 6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("prompts", "encode"), help="one of the two tables")
    parser.add_argument("--boxes", type=int, default=64, help="prompts on one photo")
    parser.add_argument("--runs", type=int, default=3, help="of each way")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = build(named_config("rn50x16"))
    if options.only != "encode":
        prompts(model, options.boxes, options.runs)
    if options.only != "prompts":
        encode(model, options.runs)


if __name__ == "__main__":
    main()
