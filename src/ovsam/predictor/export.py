"""`ovsam export`: from a model's name to a folder that `load` takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovsam.errors import CheckpointError
from ovsam.hub import fetch_model
from ovsam.model.onnx_examples import check_exportable
from ovsam.model.onnx_export import Precision, export
from ovsam.model.onnx_files import is_exported
from ovsam.model.restore import Restored, restore
from ovsam.text.cache import TextStore, default_text_file
from ovsam.text.encoder import openai_templates, templates_of
from ovsam.text.minilm import MiniLM
from ovsam.text.prototypes import name_vectors
from ovsam.vocabulary.load import load_vocabulary


def export_model(
    name: str,
    folder: Path,
    precision: Precision,
    vocabularies: Sequence[str],
    progress: Callable[[str], None] | None = None,
) -> None:
    """Write a model as ONNX files.

    Args:
        name: of the model, or a checkpoint's path.
        folder: that is made; must not be there.
        precision: what weights are stored as.
        vocabularies: whose names go along, where the text tower does not.
        progress: called with the name of each graph before it is made.

    Raises:
        CheckpointError: the model cannot be exported, or the folder is there or cannot be written.
        VocabularyError: a vocabulary is none.
    """
    lists = [load_vocabulary(each) for each in vocabularies]
    found = fetch_model(name)
    if is_exported(found.path):
        raise CheckpointError(f"'{found.path}' is exported already: give the model it was made of.")
    restored = restore(found.path, found.baseline)
    check_exportable(restored.model.config)
    texts = sorted({text for each in lists for names in each.synonyms for text in names})
    identity, vectors = _text_side(restored, texts, templates_of(lists[0], openai_templates()))
    export(
        restored.model,
        folder,
        precision,
        text=identity,
        text_vectors=vectors,
        progress=progress,
    )


def _text_side(
    restored: Restored, texts: Sequence[str], templates: Sequence[str]
) -> tuple[str, dict[str, NDArray[np.float32]]]:
    """The identity of a model's text side, and the vectors of names that go along."""
    tower = restored.text_tower
    if tower is None:
        return MiniLM.identity, restored.text_vectors
    vectors = name_vectors(texts, tower, templates, TextStore(default_text_file(None)), None)
    return tower.identity, dict(zip(texts, vectors, strict=True))
