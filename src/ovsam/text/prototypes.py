"""Class prototypes: the unit vectors of a vocabulary's names in the text space.

They are computed once and kept on disk; the text model is needed only for names that the store
lacks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovsam.text.bank import Bank, grouped_order
from ovsam.text.cache import TextStore
from ovsam.text.encoder import Progress, TextEncoder
from ovsam.text.readable import readable_names
from ovsam.vocabulary.vocabulary import Vocabulary

LARGE = 4096
"""Up to so many names a vocabulary is put together from the store, which takes milliseconds."""
EDITED = 8
"""One class in so many of a vocabulary may be new or gone; with more it is no edit of it."""

_TINY = 1e-12  # the least that a vector is divided by
_CHUNK = 1024  # texts between two reports of progress; what is done by then is on disk


@dataclass(frozen=True, eq=False)
class EmbeddedVocabulary:
    """A long vocabulary's names and their vectors, which edits of it share.

    Attributes:
        key: by which text model, in which templates.
        synonyms: for each class its names.
        bank: their vectors.
    """

    key: str
    synonyms: tuple[tuple[str, ...], ...]
    bank: Bank


@dataclass(frozen=True, eq=False)
class ClassPrototypes:
    """A vocabulary in the text space.

    Attributes:
        bank: the synonyms of C classes.
        seen: `(C,)` bool, classes that the region head was trained on.
        answerable: `(C,)` bool, False for classes that may never be the answer.
        base: whose vectors an edit of this vocabulary may share; None for a short one.
    """

    bank: Bank
    seen: NDArray[np.bool_]
    answerable: NDArray[np.bool_]
    base: EmbeddedVocabulary | None = None


def class_prototypes(
    vocabulary: Vocabulary,
    encoder: TextEncoder,
    templates: Sequence[str],
    store: TextStore,
    seen_classes: Collection[str],
    progress: Progress | None = None,
    *,
    bases: Iterable[EmbeddedVocabulary] = (),
) -> ClassPrototypes:
    """Embed the synonyms of every class; only what the store lacks is computed.

    Above `LARGE` names a vocabulary is kept in half precision, and on disk as one file, which is
    opened memory-mapped.

    Args:
        vocabulary: `C` classes.
        encoder: the text model.
        templates: prompts in which `{}` stands for the name; a synonym's vector is the mean of
            its unit vectors over them, normalised again, as CLIP does.
        store: what is known already; gets what is not.
        seen_classes: names of the classes that the region head was trained on; a class counts as
            one of them if any of its synonyms does.
        progress: called while names are computed, not when all are known.
        bases: known vocabularies. If a long vocabulary is an edit of one, by the same
            text model and in the same templates, it shares that one's vectors.
    """
    synonyms = readable_names(vocabulary.synonyms, encoder)
    base = None
    if sum(map(len, synonyms)) <= LARGE:
        bank = name_bank(synonyms, encoder, templates, store, progress)
    else:
        bank, base = _large_bank(synonyms, encoder, templates, store, progress, bases)
    seen = {name.lower() for name in seen_classes}
    return ClassPrototypes(
        bank=bank,
        seen=_flags(not seen.isdisjoint(names) for names in vocabulary.synonyms),
        answerable=_flags(vocabulary.answerable),
        base=base,
    )


def name_bank(
    synonyms: Sequence[Sequence[str]],
    encoder: TextEncoder,
    templates: Sequence[str],
    store: TextStore,
    progress: Progress | None = None,
) -> Bank:
    """The bank of C classes in float32, each given by its synonyms; see `class_prototypes`."""
    names = grouped_order(synonyms)
    vectors = name_vectors(names, encoder, templates, store, progress)
    return Bank.of(vectors, list(map(len, synonyms)))


def _large_bank(
    synonyms: Sequence[tuple[str, ...]],
    encoder: TextEncoder,
    templates: Sequence[str],
    store: TextStore,
    progress: Progress | None,
    bases: Iterable[EmbeddedVocabulary],
) -> tuple[Bank, EmbeddedVocabulary]:
    """A bank in half precision and what its edits may share: of a base, of a file, or computed."""
    key = _key(encoder, templates)
    for base in bases:
        if base.key == key:
            bank = _edited_bank(base, synonyms, encoder, templates, store)
            if bank is not None:
                return bank, base
    # Names have no control characters, so no two lists are joined to the same text.
    content = "\0".join([key, *map("\t".join, synonyms)])
    name = hashlib.sha256(content.encode()).hexdigest()[:32]
    counts = list(map(len, synonyms))
    vectors = store.get_matrix(name, (sum(counts), encoder.dim))
    if vectors is None:
        computed = name_vectors(grouped_order(synonyms), encoder, templates, store, progress)
        vectors = computed.astype(np.float16)
        store.put_matrix(name, vectors)
    bank = Bank.of(vectors, counts)
    return bank, EmbeddedVocabulary(key, tuple(synonyms), bank)


def _edited_bank(
    base: EmbeddedVocabulary,
    synonyms: Sequence[tuple[str, ...]],
    encoder: TextEncoder,
    templates: Sequence[str],
    store: TextStore,
) -> Bank | None:
    """The bank of a vocabulary that has most classes from a base; None if it has not."""
    number = {of_class: i for i, of_class in enumerate(base.synonyms)}
    new = list(dict.fromkeys(of_class for of_class in synonyms if of_class not in number))
    kept = len(synonyms) - len(new)
    if max(len(new), len(base.bank) - kept) > len(base.bank) // EDITED:
        return None
    number |= {of_class: len(base.bank) + i for i, of_class in enumerate(new)}
    added = Bank((), base.bank.class_order[:0])
    if new:
        known = name_bank(new, encoder, templates, store)
        groups = tuple(group.astype(np.float16) for group in known.groups)
        added = Bank(groups, known.class_order)
    return base.bank.joined(added, [number[of_class] for of_class in synonyms])


def name_vectors(
    names: Sequence[str],
    encoder: TextEncoder,
    templates: Sequence[str],
    store: TextStore,
    progress: Progress | None,
) -> NDArray[np.float32]:
    """Unit vectors `(S, D)` of names, from the store or computed and stored chunk by chunk."""
    key, texts = _key(encoder, templates), sorted(set(names))
    known = store.get(key, texts, encoder.dim)
    missing = [text for text in texts if text not in known]
    step = max(1, _CHUNK // len(templates))
    for start in range(0, len(missing), step):
        chunk = missing[start : start + step]
        prompts = [template.format(text) for text in chunk for template in templates]
        unit = encoder.embed(prompts).reshape(len(chunk), len(templates), encoder.dim)
        mean = unit.mean(1)
        mean /= np.maximum(np.linalg.norm(mean, axis=-1, keepdims=True), _TINY)
        computed = dict(zip(chunk, mean, strict=True))
        store.put(key, computed)
        known.update(computed)
        if progress:
            progress(start + len(chunk), len(missing))
    return np.stack([known[name] for name in names])


def _flags(values: Iterable[bool]) -> NDArray[np.bool_]:
    return np.fromiter(values, np.bool_)


def _key(encoder: TextEncoder, templates: Sequence[str]) -> str:
    """Under which the store keeps what a text model makes of names with these templates."""
    fingerprint = hashlib.sha256(json.dumps(list(templates)).encode()).hexdigest()[:16]
    return f"{encoder.identity} {fingerprint}"
