"""A predictor from a model's name or a checkpoint's path."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ovsam.config import ModelConfig
from ovsam.model.device import check_device
from ovsam.model.ovsam import OVSAM
from ovsam.predictor.backend import Backend
from ovsam.predictor.baselines import FeatureCropScorer, ImageCropScorer
from ovsam.predictor.naming import Namer, RegionScorer, Scorer
from ovsam.predictor.predictor import Predictor
from ovsam.predictor.torch_backend import TorchBackend
from ovsam.segmenter import Words
from ovsam.text.cache import TextStore
from ovsam.text.class_embedder import ClassEmbedder
from ovsam.text.encoder import TextEncoder
from ovsam.vocabulary.load import load_vocabulary
from ovsam.vocabulary.vocabulary import Vocabulary


def load(
    name_or_path: str | Path = "lite",
    *,
    vocabulary: Words = "coco",
    device: str = "cpu",
    cache_dir: str | Path | None = None,
    zoom: bool | None = None,
    clean: bool = True,
) -> Predictor:
    """A predictor by name, such as "lite" or "sam-b+rn50x16", or from a checkpoint's path.

    Args:
        name_or_path: "lite" ships with the package; the others that `ovsam models` lists are
            fetched and converted once. With "-image-crop" or "-feature-crop" behind it, a path
            too, a baseline of the paper names the model's masks.
        vocabulary: what the predictor answers from unless a call says otherwise.
        device: "cpu", "cuda", "mps".
        cache_dir: for downloads and text embeddings; by default the user's cache folder.
        zoom: see `Predictor.segment`; None = the model's own default.
        clean: whether masks come without specks and small holes.

    Raises:
        CheckpointError: no such model or file, or a file that cannot be used.
        VocabularyError: the vocabulary is not one.

    Example:
        >>> predictor = load("lite", vocabulary="cat, dog")  # doctest: +SKIP
    """
    from ovsam.hub import fetch_model
    from ovsam.model.baselines.coop import InContext
    from ovsam.model.minilm_torch import TorchMiniLM
    from ovsam.model.restore import restore
    from ovsam.text.encoder import PLAIN_TEMPLATES, openai_templates

    names = load_vocabulary(vocabulary)
    check_device(device)
    found = fetch_model(str(name_or_path), cache_dir)
    restored = restore(found.path, found.baseline)
    tower = restored.text_tower
    encoder: Any = TorchMiniLM() if tower is None else tower.to(device)
    templates = PLAIN_TEMPLATES if tower is None else openai_templates()
    if (context := restored.model.context) is not None:
        encoder, templates = InContext(encoder, context.tokens), PLAIN_TEMPLATES
    store = TextStore(_text_file(cache_dir), seed=restored.text_vectors)
    return torch_predictor(restored.model, encoder, templates, store, names, device, zoom, clean)


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
    scorer = _scorer(backend, config)
    namer = None if scorer is None else Namer(scorer, text, config.calibration)
    return Predictor(config, backend, namer, vocabulary, zoom, clean)


def _scorer(backend: Backend, config: ModelConfig) -> Scorer | None:
    """What compares masks with names; None for a model that has masks alone."""
    if config.baseline is None:
        return RegionScorer(backend) if config.region is not None else None
    match config.baseline.cuts:
        case "image":
            return ImageCropScorer(backend, 32 * config.encoder.pool_size)
        case "features":
            return FeatureCropScorer(backend)
        case _:
            return None


def _text_file(cache_dir: str | Path | None) -> Path | None:
    """Where embeddings of names are kept; None = nowhere, for there is no home."""
    import platformdirs

    try:
        folder = Path(cache_dir) if cache_dir else platformdirs.user_cache_path("ovsam")
    except RuntimeError:
        logging.getLogger(__name__).warning(
            "Text embeddings are not kept on disk: there is no home folder."
        )
        return None
    return folder / "text.sqlite"
