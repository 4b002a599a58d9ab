"""Vocabulary -> class prototypes: unit vectors in the text space, computed once and kept on disk.

The text side of the frozen encoder is an interface: `minilm.py` implements it for `lite`, `clip.py`
for CLIP. It is needed only for names that the store does not hold.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ovsam.model.text_store import TextStore
from ovsam.vocabulary import Vocabulary

PLAIN_TEMPLATES = ("{}",)
"""The name alone, for a model of sentences such as MiniLM."""

_CHUNK = 1024  # texts between two reports of progress; what is done by then is on disk

Progress = Callable[[int, int], None]
"""Told how many names are done, and of how many."""


class TextEncoder(Protocol):
    """The text side of a frozen vision-language encoder."""

    @property
    def identity(self) -> str:
        """What tells its embeddings from those of any other text model; part of the cache's key."""

    @property
    def dim(self) -> int:
        """Width of its embeddings."""

    def embed(self, texts: Sequence[str]) -> Tensor:
        """Texts -> unit vectors `(N, dim)`, float32."""


@dataclass(frozen=True, eq=False)
class ClassPrototypes:
    """A vocabulary in the text space.

    Attributes:
        vectors: `(C, P, D)` unit vectors, the synonyms of each class (repeated to fill P).
        seen: `(C,)` bool, classes that the region head was trained on.
        answerable: `(C,)` bool, False for classes that may never be the answer.
    """

    vectors: Tensor
    seen: Tensor
    answerable: Tensor


def openai_templates() -> tuple[str, ...]:
    """The 80 prompt templates that OpenAI's CLIP was measured with on ImageNet."""
    from open_clip import OPENAI_IMAGENET_TEMPLATES

    return tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)


def templates_of(vocabulary: Vocabulary, own: Sequence[str]) -> tuple[str, ...]:
    """The templates to embed a vocabulary with: those that it asks for, or else the model's own."""
    if not vocabulary.templates:
        return tuple(own)
    from open_clip import SIMPLE_IMAGENET_TEMPLATES

    templates: list[str] = []
    for template in vocabulary.templates:
        if template == "{openai}":
            templates += openai_templates()
        elif template == "{simple}":
            templates += (simple("{}") for simple in SIMPLE_IMAGENET_TEMPLATES)
        else:
            templates.append(template)
    return tuple(templates)


def class_prototypes(
    vocabulary: Vocabulary,
    encoder: TextEncoder,
    templates: Sequence[str],
    store: TextStore,
    seen_classes: Collection[str],
    progress: Progress | None = None,
) -> ClassPrototypes:
    """Embed the synonyms of every class; only what the store lacks is computed.

    Args:
        vocabulary: `C` classes.
        encoder: the text model.
        templates: prompts in which `{}` stands for the name; a synonym's vector is the mean of
            its unit vectors over them, normalised again, as CLIP does.
        store: what is known already; gets what is not.
        seen_classes: names of the classes that the region head was trained on; a class counts as
            one of them if any of its synonyms does.
        progress: called while names are computed, not when all are known.
    """
    seen = {name.lower() for name in seen_classes}
    return ClassPrototypes(
        vectors=synonym_vectors(vocabulary.synonyms, encoder, templates, store, progress),
        seen=torch.tensor([not seen.isdisjoint(synonyms) for synonyms in vocabulary.synonyms]),
        answerable=torch.tensor(vocabulary.answerable),
    )


def synonym_vectors(
    synonyms: Sequence[Sequence[str]],
    encoder: TextEncoder,
    templates: Sequence[str],
    store: TextStore,
    progress: Progress | None = None,
) -> Tensor:
    """Unit vectors `(C, P, D)` of the synonyms of C classes; see `class_prototypes`.

    P is the number of synonyms of the class that has most; the others' are repeated.
    """
    texts = sorted({text for names in synonyms for text in names})
    vectors = _embeddings(texts, encoder, templates, store, progress)  # (T, D)
    row = {text: i for i, text in enumerate(texts)}
    width = max(map(len, synonyms))
    rows = [[row[names[i % len(names)]] for i in range(width)] for names in synonyms]
    return torch.from_numpy(vectors)[torch.tensor(rows)]


def _embeddings(
    texts: Sequence[str],
    encoder: TextEncoder,
    templates: Sequence[str],
    store: TextStore,
    progress: Progress | None,
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Unit vectors `(T, D)` of texts, from the store or computed and stored chunk by chunk."""
    key = f"{encoder.identity} {_fingerprint(templates)}"
    known = store.get(key, texts, encoder.dim)
    missing = [text for text in texts if text not in known]
    step = max(1, _CHUNK // len(templates))
    for start in range(0, len(missing), step):
        chunk = missing[start : start + step]
        prompts = [template.format(text) for text in chunk for template in templates]
        unit = encoder.embed(prompts).reshape(len(chunk), len(templates), encoder.dim)
        mean = F.normalize(unit.mean(1), dim=-1).cpu().numpy()
        computed = dict(zip(chunk, mean, strict=True))
        store.put(key, computed)
        known.update(computed)
        if progress:
            progress(start + len(chunk), len(missing))
    return np.stack([known[text] for text in texts])


def _fingerprint(templates: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(templates)).encode()).hexdigest()[:16]
