"""A predictor from a model's name or a checkpoint's path, and which engine it runs on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ovsam.errors import UsageError, quoted
from ovsam.extras import TORCH, check_installed
from ovsam.hub import ModelFile, fetch_model
from ovsam.model.checkpoint import read_config
from ovsam.model.onnx_files import (
    OnnxModel,
    checkpoint_on_onnx,
    exported_model,
    fits_shipped_graphs,
    is_exported,
)
from ovsam.predictor.naming import Namer, RegionScorer
from ovsam.predictor.predictor import Predictor
from ovsam.segmenter import Words
from ovsam.text.cache import TextStore, default_text_file
from ovsam.text.class_embedder import ClassEmbedder
from ovsam.text.encoder import PLAIN_TEMPLATES, TextEncoder
from ovsam.text.known_names import KnownNames
from ovsam.text.minilm import MiniLM
from ovsam.vocabulary.load import load_vocabulary
from ovsam.vocabulary.vocabulary import Vocabulary

Engine = Literal["onnx", "torch"]
ENGINES: tuple[Engine, ...] = ("onnx", "torch")
TORCH_DEVICES = ("cuda", "mps")  # what a device means where no engine is chosen


def load(
    name_or_path: str | Path = "lite",
    *,
    vocabulary: Words = "coco",
    device: str = "cpu",
    backend: Engine | None = None,
    cache_dir: str | Path | None = None,
    zoom: bool | None = None,
    clean: bool = True,
) -> Predictor:
    """A predictor by name, such as "lite" or "sam-b+rn50x16", or from a checkpoint's path.

    Args:
        name_or_path: "lite" ships with the package; the others that `ovsam models` lists are
            fetched and converted once. With "-image-crop" or "-feature-crop" behind it, a path
            too, a baseline of the paper names the model's masks. A folder is what `ovsam export`
            wrote. "@onnx" or "@torch" behind it chooses the engine, as `backend` does.
        vocabulary: what the predictor answers from unless a call says otherwise.
        device: "cpu", "cuda", "mps"; with ONNX Runtime also "openvino", "coreml", "tensorrt",
            where its package for that device is installed.
        backend: "onnx" computes with ONNX Runtime, "torch" with PyTorch; None = ONNX Runtime where
            it runs the model on that device: exported models, and `lite`, however trained.
        cache_dir: for downloads and text embeddings; by default the user's cache folder.
        zoom: see `Predictor.segment`; None = the model's own default.
        clean: whether masks come without specks and small holes.

    Raises:
        CheckpointError: no such model or file, or a file that cannot be used.
        MissingPackageError: the model needs torch, which is not installed.
        UsageError: the engine cannot run the model, or there is no such engine or device.
        VocabularyError: the vocabulary is not one.

    Example:
        >>> predictor = load("lite", vocabulary="cat, dog")  # doctest: +SKIP
    """
    name, engine = split_engine(str(name_or_path))
    if backend is not None and backend not in ENGINES:
        raise UsageError(f"backend must be 'onnx' or 'torch', got {quoted(backend)}.")
    if backend is not None and engine not in (None, backend):
        raise UsageError(f"'{name_or_path}' names another engine than backend='{backend}'.")
    names = load_vocabulary(vocabulary)
    found = fetch_model(name, cache_dir)
    engine = backend or engine or _default_engine(found, device)
    store = TextStore(default_text_file(cache_dir))
    if engine == "onnx":
        return _load_onnx(_on_onnx(found), store, names, device, zoom, clean)
    if is_exported(found.path):
        raise UsageError(f"'{found.path}' was exported for ONNX Runtime: leave backend out.")
    where = "" if device == "cpu" else f" on '{device}'"
    check_installed(f"'{name}'{where}", TORCH, "ovsam[torch]")

    from ovsam.predictor.load_torch import load_torch

    return load_torch(found, store, names, device, zoom, clean)


def split_engine(name: str) -> tuple[str, Engine | None]:
    """A model's name without the engine behind it, and that engine.

    >>> split_engine("lite@torch"), split_engine("lite")
    (('lite', 'torch'), ('lite', None))
    """
    for engine in ENGINES:
        if name.endswith(f"@{engine}"):
            return name.removesuffix(f"@{engine}"), engine
    return name, None


def _default_engine(found: ModelFile, device: str) -> Engine:
    if is_exported(found.path):
        return "onnx"
    on_torch = device.partition(":")[0] in TORCH_DEVICES
    return "torch" if on_torch or found.baseline or not _runs_on_onnx(found) else "onnx"


def _runs_on_onnx(found: ModelFile) -> bool:
    return fits_shipped_graphs(read_config(found.path))


def _on_onnx(found: ModelFile) -> OnnxModel:
    """A model's graphs and weights."""
    if found.baseline:
        raise UsageError(f"'{found.name}{found.baseline}' runs on torch alone.")
    if is_exported(found.path):
        return exported_model(found.path)
    if not _runs_on_onnx(found):
        raise UsageError(
            f"'{found.name}' has no graphs for ONNX Runtime yet: make them with 'ovsam export "
            f"{found.name} -o FOLDER' and give that folder as the model."
        )
    return checkpoint_on_onnx(found.path)


def _load_onnx(
    model: OnnxModel,
    store: TextStore,
    vocabulary: Vocabulary,
    device: str,
    zoom: bool | None,
    clean: bool,
) -> Predictor:
    """A predictor that computes with ONNX Runtime."""
    from ovsam.predictor.onnx_backend import OnnxBackend

    config, backend = model.config, OnnxBackend(model, device)
    namer = None
    if "regions" in model.graphs:
        encoder: TextEncoder = MiniLM()
        if model.text != encoder.identity:
            encoder = KnownNames(model.text, config.encoder.text_dim, config.name)
        text = ClassEmbedder(
            encoder,
            PLAIN_TEMPLATES,
            store.with_seed(model.text_vectors),
            seen_classes=config.seen_classes,
        )
        namer = Namer(RegionScorer(backend), text, config.calibration)
    return Predictor(config, backend, namer, vocabulary, zoom, clean)
