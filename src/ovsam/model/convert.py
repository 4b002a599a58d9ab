"""Released weights -> one ovsam checkpoint.

The authors publish the adapter (`sam2clip_*.pth`) and the head with its decoder
(`clip2sam_*.pth`); SAM ViT-H's file brings the prompt encoder, CLIP's the trunk and the text tower.
How their names become ours is `KEY_MAP`, a table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ovsam.bounded_json import parse_json
from ovsam.config import DecoderConfig, ModelConfig
from ovsam.errors import CheckpointError, UsageError
from ovsam.model.build import expected_state
from ovsam.model.checkpoint import save_checkpoint
from ovsam.model.presets import MODELS, named_config, split_baseline
from ovsam.model.state_dict import check_finite, differences, listed, shapes_of
from ovsam.model.tensors import as_arrays, check_kinds
from ovsam.model.weights_file import read_tensors
from ovsam.vocabulary.builtin import COCO_BASE
from ovsam.vocabulary.load import load_vocabulary

Table = tuple[tuple[str, str | None], ...]
"""Patterns of full names and what replaces them; None = not used, on purpose."""

_RESNET_STEM = (("0", "conv1"), ("1", "bn1"), ("3", "conv2"), ("4", "bn2"), ("6", "conv3"))
# The frozen parts, should a file of the authors' carry them too; CLIP's and SAM's own files win.
_FROZEN: Table = (
    *((rf"backbone\.stem\.{i}\.(.+)", rf"encoder.visual.{name}.\1") for i, name in _RESNET_STEM),
    (r"backbone\.stem\.7\.(.+)", r"encoder.visual.bn3.\1"),
    (r"backbone\.(layer[1-4]\..+)", r"encoder.visual.\1"),
    (r"backbone\.head\.(.+)", r"encoder.visual.attnpool.\1"),
    (r"pe\.(.+)", r"prompt_encoder.\1"),
)
_ADAPTER: Table = ((r"neck_student\.(.+)", r"adapter.\1"),)
_REGION_HEAD: Table = (
    (r"fpn_neck\.(lateral_convs|fpn_convs)\.(\d)\.conv\.(.+)", r"region_head.fpn.\1.\2.\3"),
    (r"mask_decoder\.roi_conv\.0\.conv\.(.+)", r"region_head.roi_conv.\1"),
    (r"mask_decoder\.label_mlp\..+", None),  # the release multiplies its output by zero
)
_RELEASED_DECODER: Table = (
    (r"mask_decoder\.mask_decoder\.(.+)", r"mask_decoder.\1"),
    (r"mask_decoder\.(label_token\..+)", r"mask_decoder.\1"),
)
_NO_RELEASED_DECODER: Table = ((r"mask_decoder\.(mask_decoder|label_token)\..+", None),)
_SAM_PROMPT: Table = ((r"prompt_encoder\.(.+)", r"prompt_encoder.\1"), (r"image_encoder\..+", None))
_SAM_DECODER: Table = ((r"mask_decoder\.(.+)", r"mask_decoder.\1"),)
_SAM_ENCODER: Table = (
    (r"image_encoder\.(norm_head|head)\..+", None),  # MobileSAM's trunk as a classifier
    (r"image_encoder\.(.+)", r"sam.\1"),
)
_NO_SAM_DECODER: Table = ((r"mask_decoder\..+", None),)
_CLIP: Table = (
    (r"visual\.(.+)", r"encoder.visual.\1"),
    (r"((transformer|token_embedding|ln_final)\..+)", r"text.tower.\1"),
    (r"(positional_embedding|text_projection)", r"text.tower.\1"),
    (r"logit_scale|attn_mask|input_resolution|context_length|vocab_size", None),
)

KEY_MAP: dict[str, Table] = {
    "sam2clip": _ADAPTER + _FROZEN,
    "clip2sam": _REGION_HEAD + _RELEASED_DECODER + _FROZEN,
    "sam": _SAM_PROMPT + _NO_SAM_DECODER,
    "clip": _CLIP,
}
"""How the names of each file become ours, with the authors' one-token decoder."""

KEY_MAP_SAM_DECODER: dict[str, Table] = {
    **KEY_MAP,
    "clip2sam": _REGION_HEAD + _NO_RELEASED_DECODER + _FROZEN,
    "sam": _SAM_PROMPT + _SAM_DECODER,
}
"""The same with SAM's own four-token decoder."""

KEY_MAP_SAM: dict[str, Table] = {"sam": _SAM_ENCODER + _SAM_PROMPT + _SAM_DECODER, "clip": _CLIP}
"""The same for a baseline that consists of a SAM and a CLIP; SAM alone needs no CLIP."""

SAM_LICENCE = "SAM: Apache-2.0."
SAM_CLIP_LICENCE = f"{SAM_LICENCE} CLIP: MIT."
LICENCE = (
    f"Adapter and CLIP2SAM head: S-Lab License 1.0, non-commercial use only. {SAM_CLIP_LICENCE}"
)


def convert(
    output: str | Path,
    *,
    sam2clip: str | Path | None = None,
    clip2sam: str | Path | None = None,
    sam: str | Path,
    clip: str | Path | None = None,
    model: str = "rn50x16",
    sam_decoder: bool = False,
    seen_classes: Sequence[str] = COCO_BASE,
) -> ModelConfig:
    """Write one checkpoint from released files, or refuse what does not fit.

    Args:
        output: the safetensors file to write.
        sam2clip: the authors' adapter, `sam2clip_*.pth`; None for a SAM and a CLIP.
        clip2sam: the authors' decoder and region head, `clip2sam_*.pth`; None likewise.
        sam: SAM ViT-H, `sam_vit_h_4b8939.pth`, or the SAM that `model` names.
        clip: CLIP, `open_clip_model.safetensors` of the same trunk; None for SAM alone.
        model: see `named_config`; with "+" in it a baseline of a SAM and a CLIP, "sam-h" and
            its like SAM alone, which has masks and no names.
        sam_decoder: take SAM's own decoder in place of the authors'.
        seen_classes: names of the classes that the region head was trained on.

    Returns:
        The configuration that was written.

    Raises:
        CheckpointError: names every tensor that is missing, unknown, or of another shape.
        UsageError: other files than `model` is made from.
    """
    config = released_config(model, sam_decoder=sam_decoder, seen_classes=seen_classes)
    table, licence = _made_of(config, sam_decoder)
    given = {"sam2clip": sam2clip, "clip2sam": clip2sam, "sam": sam, "clip": clip}
    paths = {name: path for name, path in given.items() if path is not None}
    if paths.keys() != table.keys():
        raise UsageError(
            f"'{model}' is made from {', '.join(table)}; got {', '.join(paths)}. Give just these."
        )
    sources = {name: read_tensors(path) for name, path in paths.items()}
    state = assemble(sources, table, expected_state(config))
    files = ", ".join(Path(path).name for path in paths.values())
    save_checkpoint(output, state, config, {"licence": licence, "source": f"converted: {files}"})
    return config


def released_config(
    model: str, *, sam_decoder: bool = False, seen_classes: Sequence[str] = COCO_BASE
) -> ModelConfig:
    """The configuration of a released model by its name, for instance "rn50x16".

    Raises:
        CheckpointError: no such model, or one that is not made of released files.
    """
    config = named_config(model)
    if config.encoder.kind == "lite":
        names = ", ".join(n for n, c in MODELS.items() if c.encoder.kind == "open_clip")
        raise CheckpointError(f"'{model}' is not made from released files. Choose one of: {names}.")
    if config.baseline is not None and config.baseline.learns:
        raise CheckpointError(
            f"'{model}' has to be trained: convert '{split_baseline(model)[0]}-feature-crop' and "
            "train from it (docs/baselines.md)."
        )
    if config.baseline is not None or not config.names_objects:
        seen_classes = ()  # no region head was trained
    if sam_decoder:
        config = replace(config, decoder=DecoderConfig())
    return replace(config, seen_classes=tuple(seen_classes))


def _made_of(config: ModelConfig, sam_decoder: bool) -> tuple[Mapping[str, Table], str]:
    """The files that a model is made of, with the names in them, and their licence."""
    if config.encoder.kind == "none":
        return {"sam": KEY_MAP_SAM["sam"]}, SAM_LICENCE
    if config.sam is not None:
        return KEY_MAP_SAM, SAM_CLIP_LICENCE
    return KEY_MAP_SAM_DECODER if sam_decoder else KEY_MAP, LICENCE


def assemble(
    sources: Mapping[str, Mapping[str, Tensor]],
    table: Mapping[str, Table],
    expected: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """Rename and join the tensors of all files; a later file wins.

    Args:
        sources: the tensors of each file, by the names of `table`.
        table: `KEY_MAP` or `KEY_MAP_SAM_DECODER`.
        expected: the tensors that the model wants, which may live on `meta`.

    Raises:
        CheckpointError: see `convert`.
    """
    state: dict[str, Tensor] = {}
    unknown: list[str] = []
    for source, tensors in sources.items():
        for name, tensor in tensors.items():
            renamed, is_known = rename(name, table[source])
            if not is_known:
                unknown.append(f"{source}: {name} {tuple(tensor.shape)}")
            elif renamed is not None:
                state[renamed] = tensor
    add_counters(state, expected)
    problems = differences(shapes_of(expected), shapes_of(state))
    if unknown:
        problems = f"{len(unknown)} unknown: {listed(unknown)}; {problems}".removesuffix("; ")
    if problems:
        raise CheckpointError(
            f"The files do not make up this model: {problems}. "
            "Check that each file was given in its place and belongs to this model."
        )
    check_kinds(expected, state, "the files")
    check_finite(as_arrays(state), "the files")
    return {name: state[name] for name in expected}


def add_counters(state: dict[str, Tensor], expected: Iterable[str]) -> None:
    """Add the counters of training that a model has and some files drop."""
    for name in expected:
        if name.endswith(".num_batches_tracked") and name not in state:
            state[name] = torch.zeros((), dtype=torch.long)


def rename(name: str, table: Table) -> tuple[str | None, bool]:
    """Our name for a released one, or None where it is not used; and whether it is known at all.

    Example:
        >>> rename("neck_student.neck.0.weight", KEY_MAP["sam2clip"])
        ('adapter.neck.0.weight', True)
        >>> rename("mask_decoder.label_mlp.layers.0.bias", KEY_MAP["clip2sam"])
        (None, True)
    """
    for pattern, replacement in table:
        match = re.fullmatch(pattern, name)
        if match:
            return (None if replacement is None else match.expand(replacement)), True
    return None, False


def seen_classes_of(path: str | Path) -> tuple[str, ...]:
    """The classes that a region head was trained on, from a list or from LVIS's annotations.

    Args:
        path: a text file, one class a line; or an annotation `.json`, of which classes whose
            `frequency` is "r" (rare: LVIS's novel classes) are left out.
    """
    path = Path(path)
    vocabulary = load_vocabulary(path)
    content = None
    if path.suffix.lower() == ".json":
        content = parse_json(path.read_text(encoding="utf-8-sig"))
    if not isinstance(content, dict):
        return tuple(names[0] for names in vocabulary.synonyms)
    pairs = zip(vocabulary.synonyms, vocabulary.unseen, strict=True)
    return tuple(names[0] for names, unseen in pairs if not unseen)
