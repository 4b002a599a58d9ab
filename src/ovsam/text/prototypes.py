"""Vocabulary -> class prototypes: unit vectors in the text space, computed once and kept on disk.

The text side of the frozen encoder is an interface: `minilm.py` implements it for `lite`, `clip.py`
for CLIP. It is needed only for names that the store does not hold.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, compress
from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ovsam.errors import UnreadableNamesError
from ovsam.text.bank import Bank, grouped_order
from ovsam.text.bank_file import read_vectors, write_vectors
from ovsam.text.cache import TextStore
from ovsam.vocabulary.vocabulary import Vocabulary, some

PLAIN_TEMPLATES = ("{}",)
"""The name alone, for a model of sentences such as MiniLM."""

LARGE = 4096
"""Up to so many names a vocabulary is put together from the store, which takes milliseconds."""
EDITED = 8
"""One part in so many of a base's classes may be new or gone; with more it is no edit any more."""

_CHUNK = 1024  # texts between two reports of progress; what is done by then is on disk

Progress = Callable[[int, int], None]
"""Told how many names are done, and of how many."""


class Reading(NamedTuple):
    """What a text model reads of a text before it embeds it.

    Attributes:
        tokens: the same for two texts that get one vector.
        has_letters: whether it knows a letter of the text, and not only digits and signs.
        is_whole: whether it knows all of the text, and none of it is cut off as too long.
    """

    tokens: tuple[int, ...]
    has_letters: bool
    is_whole: bool

    @property
    def is_read(self) -> bool:
        """Whether the vector says something of the text."""
        return self.is_whole or self.has_letters


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

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """What it reads of each text."""


@dataclass(frozen=True, eq=False)
class Embedded:
    """A long vocabulary's names with their bank: what edits of it share.

    `key` says by which text model, in which templates.
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
        base: what an edited vocabulary may share with this one; None for a short one.
    """

    bank: Bank
    seen: Tensor
    answerable: Tensor
    base: Embedded | None = None


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


def readable_names(
    synonyms: Sequence[tuple[str, ...]], encoder: TextEncoder
) -> Sequence[tuple[str, ...]]:
    """The names of each class without those that a text model cannot read.

    Of names that it cannot read, all of one class and of another, it makes one vector. A class with
    no other name keeps its own; see `as_read`.
    """
    unsure = sorted({text for text in chain.from_iterable(synonyms) if not _is_sure(text)})
    if not unsure:
        return synonyms
    readings = zip(unsure, encoder.read(unsure), strict=True)
    unread = {text for text, reading in readings if not reading.is_read}
    return [
        tuple(text for text in of_class if text not in unread) or of_class for of_class in synonyms
    ]


def as_read(vocabulary: Vocabulary, encoder: TextEncoder) -> Vocabulary:
    """A vocabulary as a text model can tell its classes, with `notes` on those that it cannot.

    A class without any name that is read is never the answer. Of more than `LARGE` names only those
    with other letters than ASCII's are looked at, so that an edit takes milliseconds.

    Raises:
        UnreadableNamesError: no class that may be the answer has a name that is read, or all are
            read alike.
    """
    is_long = sum(map(len, vocabulary.synonyms)) > LARGE
    doubted = [not (is_long and all(map(_is_sure, texts))) for texts in vocabulary.synonyms]
    texts = sorted(set(chain.from_iterable(compress(vocabulary.synonyms, doubted))))
    readings = dict(zip(texts, encoder.read(texts), strict=True)) if texts else {}
    answerable: list[bool] = []
    unread: list[str] = []
    partly: list[str] = []
    alike: dict[object, list[str]] = {}  # answers by what is read of their names
    every = zip(vocabulary.classes, vocabulary.synonyms, vocabulary.answerable, strict=True)
    for (display, names, may), doubt in zip(every, doubted, strict=True):
        kept = [text for text in names if not doubt or readings[text].is_read]
        answerable.append(may and bool(kept))
        if not may or not doubt:
            continue
        lost = [text for text in names if text not in kept]
        unread += [f"'{text}'" for text in lost] if kept else [f"'{display}'"]
        partly += [f"'{text}'" for text in kept if not readings[text].is_whole]
        tokens = [readings[text].tokens for text in kept]
        for read in (tokens[0], frozenset(tokens)) if tokens else ():
            alike.setdefault(read, []).append(f"'{display}'")
    name, advice = f"vocabulary '{vocabulary.name}'", "Give names in English, or another model."
    if not any(answerable):
        raise UnreadableNamesError(
            f"The text model cannot read any name of {name}, {some(unread)}. {advice}"
        )
    same = {group[0]: group for group in alike.values() if len(group) > 1}
    for group in same.values():
        if len(group) == sum(answerable):
            raise UnreadableNamesError(
                f"The text model reads all names of {name} alike, {some(group)}: it cannot tell "
                f"them apart. {advice}"
            )
    notes = []
    if unread:
        notes.append(
            f"Of {name} the text model cannot read {some(unread)}: a class without another name "
            "is never the answer."
        )
    if partly:
        notes.append(f"Of {name} the text model reads only a part of {some(partly)}.")
    notes += (
        f"Of {name} the text model reads {some(group)} alike: it cannot tell them apart."
        for group in same.values()
    )
    if not notes:
        return vocabulary
    notes = [*vocabulary.notes, *notes]
    return replace(vocabulary, answerable=tuple(answerable), notes=tuple(notes))


def _is_sure(text: str) -> bool:
    """Whether any text model reads a name."""
    return text.isascii() and len(text) <= 100  # beyond, a word may be too long


def class_prototypes(
    vocabulary: Vocabulary,
    encoder: TextEncoder,
    templates: Sequence[str],
    store: TextStore,
    seen_classes: Collection[str],
    progress: Progress | None = None,
    *,
    bases: Iterable[Embedded] = (),
    device: torch.device | str = "cpu",
) -> ClassPrototypes:
    """Embed the synonyms of every class; only what the store lacks is computed.

    Above `LARGE` names a vocabulary is kept in half precision, and on disk as one file beside the
    store's, which is opened memory-mapped.

    Args:
        vocabulary: `C` classes.
        encoder: the text model.
        templates: prompts in which `{}` stands for the name; a synonym's vector is the mean of
            its unit vectors over them, normalised again, as CLIP does.
        store: what is known already; gets what is not.
        seen_classes: names of the classes that the region head was trained on; a class counts as
            one of them if any of its synonyms does.
        progress: called while names are computed, not when all are known.
        bases: of vocabularies on this device. If a long vocabulary is an edit of one, by the same
            text model and in the same templates, it shares that one's vectors.
        device: where the bank is to be.
    """
    seen = {name.lower() for name in seen_classes}
    synonyms = readable_names(vocabulary.synonyms, encoder)
    bank, base = None, None
    if sum(map(len, synonyms)) <= LARGE:
        bank = name_bank(synonyms, encoder, templates, store, progress).to(device)
    else:
        for base in bases:
            if (bank := _edited(base, synonyms, encoder, templates, store)) is not None:
                break
    if bank is None:
        bank = _large_bank(synonyms, encoder, templates, store, progress).to(device)
        base = Embedded(_key(encoder, templates), tuple(synonyms), bank)
    return ClassPrototypes(
        bank=bank,
        seen=_flags(not seen.isdisjoint(names) for names in vocabulary.synonyms).to(device),
        answerable=_flags(vocabulary.answerable).to(device),
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
    vectors = _embeddings(names, encoder, templates, store, progress)
    return Bank.of(torch.from_numpy(vectors), list(map(len, synonyms)))


def _large_bank(
    synonyms: Sequence[Sequence[str]],
    encoder: TextEncoder,
    templates: Sequence[str],
    store: TextStore,
    progress: Progress | None,
) -> Bank:
    """The same in half precision, from one file if it is there."""
    # Names have no control characters, so no two lists are joined to the same text.
    content = "\0".join([_key(encoder, templates), *map("\t".join, synonyms)])
    name = f"{hashlib.sha256(content.encode()).hexdigest()[:32]}.safetensors"
    path = None if store.folder is None else store.folder / "banks" / name
    counts = list(map(len, synonyms))
    vectors = None if path is None else read_vectors(path, (sum(counts), encoder.dim))
    if vectors is None:
        computed = _embeddings(grouped_order(synonyms), encoder, templates, store, progress)
        vectors = torch.from_numpy(computed.astype(np.float16))
        if path is not None and store.writes:
            write_vectors(path, vectors)
    return Bank.of(vectors, counts)


def _edited(
    base: Embedded,
    synonyms: Sequence[tuple[str, ...]],
    encoder: TextEncoder,
    templates: Sequence[str],
    store: TextStore,
) -> Bank | None:
    """The bank of a vocabulary that has most classes from a base; None if it has not."""
    if base.key != _key(encoder, templates):
        return None
    number = {of_class: i for i, of_class in enumerate(base.synonyms)}
    new = list(dict.fromkeys(of_class for of_class in synonyms if of_class not in number))
    kept = len(synonyms) - len(new)
    if max(len(new), len(base.bank) - kept) > len(base.bank) // EDITED:
        return None
    number |= {of_class: len(base.bank) + i for i, of_class in enumerate(new)}
    added = name_bank(new, encoder, templates, store) if new else Bank((), base.bank.place[:0])
    added = added.to(base.bank.place.device, torch.float16)
    return base.bank.joined(added, [number[of_class] for of_class in synonyms])


def _embeddings(
    names: Sequence[str],
    encoder: TextEncoder,
    templates: Sequence[str],
    store: TextStore,
    progress: Progress | None,
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Unit vectors `(S, D)` of names, from the store or computed and stored chunk by chunk."""
    key, texts = _key(encoder, templates), sorted(set(names))
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
    return np.stack([known[name] for name in names])


def _flags(values: Iterable[bool]) -> Tensor:
    return torch.from_numpy(np.fromiter(values, np.bool_))


def _key(encoder: TextEncoder, templates: Sequence[str]) -> str:
    """Under which the store keeps what a text model makes of names with these templates."""
    fingerprint = hashlib.sha256(json.dumps(list(templates)).encode()).hexdigest()[:16]
    return f"{encoder.identity} {fingerprint}"
