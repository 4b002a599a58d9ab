"""The text side of a predictor: vocabularies as the text model reads them, and their prototypes."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Generic, TypeVar

from ovsam.text.cache import TextStore
from ovsam.text.encoder import Progress, TextEncoder, templates_of
from ovsam.text.prototypes import ClassPrototypes, class_prototypes
from ovsam.text.readable import readable_vocabulary
from ovsam.vocabulary.load import is_builtin
from ovsam.vocabulary.vocabulary import Vocabulary

VOCABULARIES_KEPT = 16  # prototypes of the last used ones; 22,000 classes of `lite` take 29 MB

_log = logging.getLogger("ovsam.predictor")  # whose user gave the names
_T = TypeVar("_T")


class ClassEmbedder:
    """Turns vocabularies into class prototypes; keeps the last used, and threads may share it.

    Args:
        encoder: the text model.
        templates: prompts around a name, `{}` = the name, for vocabularies without their own.
        store: known text embeddings, made with `templates`.
        seen_classes: names of the classes that the region head was trained on.
        own_templates: whether a vocabulary's own templates count; not where learned tokens stand
            in the place of a template.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        templates: Sequence[str],
        store: TextStore,
        *,
        seen_classes: Collection[str] = (),
        own_templates: bool = True,
    ) -> None:
        self._encoder = encoder
        self._templates = tuple(templates)
        self._store = store
        self._seen_classes = tuple(seen_classes)
        self._own_templates = own_templates
        self._prototypes: _LastUsed[ClassPrototypes] = _LastUsed(VOCABULARIES_KEPT)
        self._readable: _LastUsed[Vocabulary] = _LastUsed(2 * VOCABULARIES_KEPT)

    @property
    def identity(self) -> str:
        """What tells the text model's embeddings from those of any other."""
        return self._encoder.identity

    def readable(self, vocabulary: Vocabulary) -> Vocabulary:
        """The vocabulary with no class as an answer that the text model cannot read.

        Its `notes` say which these are and what is read in part or alike; the log says so, once.

        Raises:
            UnreadableNamesError: the text model can read no name, or tell none from another.
        """
        if is_builtin(vocabulary):  # whose names are read well
            return vocabulary
        key = f"{vocabulary.names_fingerprint} {vocabulary.name}"
        read = self._readable.get(key)
        if read is None:
            read = readable_vocabulary(replace(vocabulary, notes=()), self._encoder)
            for note in read.notes:
                if note not in vocabulary.notes:
                    _log.warning("%s", note)
            self._readable.put(key, read)
        if not read.notes:
            return vocabulary
        pairs = zip(vocabulary.entries, read.entries, strict=True)
        entries = (
            given if given.answerable == found.answerable else replace(given, answerable=False)
            for given, found in pairs
        )
        notes = dict.fromkeys((*vocabulary.notes, *read.notes))
        return replace(vocabulary, entries=tuple(entries), notes=tuple(notes))

    def prototypes(
        self, vocabulary: Vocabulary, progress: Progress | None = None
    ) -> ClassPrototypes:
        """The class prototypes of what `readable` gave.

        Args:
            vocabulary: `C` classes.
            progress: called while names are embedded, not when all are known.
        """
        key = vocabulary.names_fingerprint
        known = self._prototypes.get(key)
        if known is not None:
            return known
        templates, store = self._templates, self._store
        if self._own_templates:
            templates = templates_of(vocabulary, self._templates)
        if templates != self._templates:
            store = store.without_seed()
        bases = dict.fromkeys(made.base for made in self._prototypes if made.base is not None)
        made = class_prototypes(
            vocabulary,
            self._encoder,
            templates,
            store,
            self._seen_classes,
            progress,
            bases=bases,
        )
        self._prototypes.put(key, made)
        return made


class _LastUsed(Generic[_T]):
    """The last used values by their keys; threads may share it."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._values: OrderedDict[str, _T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> _T | None:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: str, value: _T) -> None:
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self._count:
                self._values.popitem(last=False)

    def __iter__(self) -> Iterator[_T]:
        """The values, the last used first."""
        with self._lock:
            return iter(list(reversed(self._values.values())))
