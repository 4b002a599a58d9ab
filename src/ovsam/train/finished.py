"""The checkpoint that a run ends with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ovsam.config import CalibrationConfig
from ovsam.model.checkpoint import save_checkpoint
from ovsam.model.presets import MODELS, SINGLE
from ovsam.model.text_vectors import TEXT_NAMES, TEXT_VECTORS, text_names
from ovsam.text.minilm import MiniLM
from ovsam.train.initial import InitialModel


def write_trained(
    path: Path,
    start: InitialModel,
    begun: Mapping[str, Tensor],
    averaged: Mapping[str, Tensor],
    said: Mapping[str, str],
    seen: Sequence[Sequence[str]] | None,
) -> None:
    """Write the finished checkpoint.

    A region head that has learnt nothing takes no part: until it has, the names are the
    frozen encoder's alone (Table 4, the row of SAM2CLIP).

    Args:
        path: where to.
        start: what the run began with.
        begun: the weights of its model then; those that did not learn are written.
        averaged: the trained weights by the model's names.
        said: what the metadata says of them: what made them, and their licence.
        seen: synonyms of the classes that the region head has learnt; for these the fusion trusts
            it, beside those that the start was trained on. None = it has not learnt.
    """
    config = start.model.config
    base = config.name.removesuffix(SINGLE)
    if seen is not None and not start.names_learnt and base in MODELS:
        usual = MODELS[base]
        config = replace(
            config, fusion_alpha=usual.fusion_alpha, fusion_beta=usual.fusion_beta, seen_classes=()
        )
    elif seen is None and not start.names_learnt:
        config = replace(config, fusion_alpha=1.0, fusion_beta=1.0, seen_classes=())
    seen = seen or ()
    firsts = dict.fromkeys((*config.seen_classes, *(names[0] for names in seen)))
    state = {**begun, **start.text, **averaged}
    metadata = {**start.metadata, **said}
    if start.model.context is not None:  # no name is embedded without it
        metadata.pop(TEXT_NAMES, None)
    elif config.encoder.kind == "lite":  # common names need no text tower
        known = text_names(metadata) or []
        new = sorted({text for synonyms in seen for text in synonyms} - set(known))
        if new:
            vectors = [state[TEXT_VECTORS].float()] if known else []
            state[TEXT_VECTORS] = torch.cat([*vectors, torch.from_numpy(MiniLM().embed(new))])
            metadata[TEXT_NAMES] = json.dumps([*known, *new])
    # What other weights were calibrated with says nothing of these.
    config = replace(config, seen_classes=tuple(firsts), calibration=CalibrationConfig())
    save_checkpoint(path, state, config, metadata, half=config.encoder.kind == "lite")
