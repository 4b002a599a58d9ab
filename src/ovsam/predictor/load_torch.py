"""A predictor that computes with torch: the engine of training and of released models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ovsam.hub import ModelFile
from ovsam.model.baselines.coop import InContext
from ovsam.model.device import check_device
from ovsam.model.minilm_torch import TorchMiniLM
from ovsam.model.ovsam import OVSAM
from ovsam.model.restore import restore
from ovsam.predictor.baselines import scorer_of
from ovsam.predictor.naming import Namer
from ovsam.predictor.predictor import Predictor
from ovsam.predictor.torch_backend import TorchBackend
from ovsam.text.cache import TextStore
from ovsam.text.class_embedder import ClassEmbedder
from ovsam.text.encoder import PLAIN_TEMPLATES, TextEncoder, openai_templates
from ovsam.vocabulary.vocabulary import Vocabulary


def load_torch(
    found: ModelFile,
    store: TextStore,
    vocabulary: Vocabulary,
    device: str = "cpu",
    zoom: bool | None = None,
    clean: bool = True,
) -> Predictor:
    """A predictor of a model's file; see `load`.

    Args:
        found: the file, and the baseline that is to name.
        store: known text embeddings; those that come with the file are looked at first.
        vocabulary: the one that answers where none is given.
        device: "cpu", "cuda", "mps".
        zoom: see `Predictor`.
        clean: see `Predictor`.
    """
    check_device(device)
    restored = restore(found.path, found.baseline)
    tower = restored.text_tower
    encoder: Any = TorchMiniLM() if tower is None else tower.to(device)
    templates = PLAIN_TEMPLATES if tower is None else openai_templates()
    if (context := restored.model.context) is not None:
        encoder, templates = InContext(encoder, context.tokens), PLAIN_TEMPLATES
    seeded = store.with_seed(restored.text_vectors)
    return torch_predictor(
        restored.model, encoder, templates, seeded, vocabulary, device, zoom, clean
    )


def torch_predictor(
    model: OVSAM,
    encoder: TextEncoder,
    templates: Sequence[str],
    store: TextStore,
    vocabulary: Vocabulary,
    device: str = "cpu",
    zoom: bool | None = None,
    clean: bool = True,
) -> Predictor:
    """A predictor that computes with torch.

    Args:
        model: with its weights.
        encoder: the text side of the model's encoder.
        templates: prompts around a name, `{}` = the name.
        store: known text embeddings.
        vocabulary: the one that answers where none is given.
        device: where the model computes.
        zoom: see `Predictor`.
        clean: see `Predictor`.
    """
    config, backend = model.config, TorchBackend(model, device)
    text = ClassEmbedder(
        encoder,
        templates,
        store,
        seen_classes=config.seen_classes,
        own_templates=model.context is None,
    )
    scorer = scorer_of(backend, config)
    namer = None if scorer is None else Namer(scorer, text, config.calibration)
    return Predictor(config, backend, namer, vocabulary, zoom, clean)
