"""The names a model may give: classes with synonyms, built in or the user's own."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ovsam.errors import VocabularyError, first_few
from ovsam.vocabulary.builtin import builtin_vocabularies, objects365_spellings
from ovsam.vocabulary.entry import Entry, checked_entries, new_entry, typed_entries
from ovsam.vocabulary.merge import merge_meanings
from ovsam.vocabulary.names import plain_name, plain_names, split_names
from ovsam.vocabulary.wordnet import Kinds, hierarchy

TEMPLATE_SETS = ("{openai}", "{simple}")
"""open_clip's sets of templates for ImageNet, of 80 and of 7."""

_EDITED = ", edited"  # after the name of a vocabulary that is no more what it was
_UNWEIGHTED = ", without prior"  # after the name of one whose weights were taken away

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Vocabulary:
    """The classes that compete for an object's name.

    Names are composed letters (NFC) without characters that nobody sees, and single blanks
    between words. Two that look the same are the same, see `plain_name`.

    Attributes:
        name: what to call the vocabulary in reports.
        entries: `C` classes, whose names are unique however they are written.
        templates: the prompts in which names are embedded, each with one `{}` for the name, or one
            of `TEMPLATE_SETS`. The model's own when left out.
        notes: sentences for people on what became of names that were given.

    Raises:
        VocabularyError: no class, none that may be the answer, a name given twice, a class without
            text, or a template that is none.
    """

    name: str
    entries: tuple[Entry, ...]
    templates: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", checked_entries(self.name, tuple(self.entries)))
        object.__setattr__(self, "templates", tuple(self.templates))
        object.__setattr__(self, "notes", tuple(self.notes))
        for template in self.templates:
            rest = template.replace("{}", "", 1)
            if template not in TEMPLATE_SETS and (rest == template or set("{}") & set(rest)):
                raise VocabularyError(
                    f"Vocabulary '{self.name}' has the template {template[:60]!r}. Give a text "
                    f"with one {{}} for the name, or {' or '.join(TEMPLATE_SETS)}."
                )

    @classmethod
    def from_names(cls, names: Iterable[str], name: str = "custom") -> Vocabulary:
        """A vocabulary of one class for each name, by the paper's rule for synonyms.

        A name is split at `_or_`, `,` and slashes that separate (see `load_vocabulary`);
        underscores become blanks. The first part is the display name; all parts, without
        repetition, are embedded. A name in quotes is not split. What means the same becomes one
        class, see `load_vocabulary`, as do the marks `!` and `~`.

        >>> Vocabulary.from_names(["coffee_mug/cup", "Dog", "w/o helmet"]).synonyms
        (('coffee mug', 'cup'), ('dog',), ('w/o helmet',))
        """
        merged, notes = merge_meanings(name, typed_entries(name, names), by_wordnet=True)
        return cls(name, tuple(merged), notes=tuple(notes))

    def __len__(self) -> int:
        return len(self.entries)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The `C` names that classes are shown by."""
        return tuple(entry.name for entry in self.entries)

    @cached_property
    def synonyms(self) -> tuple[tuple[str, ...], ...]:
        """For each class the texts that are embedded."""
        return tuple(entry.synonyms for entry in self.entries)

    @cached_property
    def answerable(self) -> tuple[bool, ...]:
        """For each class whether it may be the answer."""
        return tuple(entry.answerable for entry in self.entries)

    @cached_property
    def unseen(self) -> tuple[bool, ...]:
        """For each class whether it was held back in training."""
        return tuple(entry.unseen for entry in self.entries)

    @cached_property
    def log_weights(self) -> NDArray[np.float32] | None:
        """`(C,)` what the classes' log scores get by their weights; None where all of these are 1.

        >>> Vocabulary.from_names(["*1e3 cup", "ewer"]).log_weights.round(2).tolist()
        [6.91, 0.0]
        """
        weights = self._weights
        return np.log(weights).astype(np.float32) if (weights != 1).any() else None

    @property
    def novel(self) -> tuple[str, ...]:
        """The classes that are marked as unseen."""
        return tuple(entry.name for entry in self.entries if entry.unseen)

    @cached_property
    def synsets(self) -> tuple[str | None, ...]:
        """For each class its synset of WordNet 3.0, `n02084071`; None where none is known."""
        own = hierarchy().exceptions(self.source)
        return tuple(own.get(entry.name.lower()) or entry.synset for entry in self.entries)

    @cached_property
    def kinds(self) -> Kinds:
        """What its classes are kinds of."""
        return Kinds(self.synsets, self.answerable)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that scores depend on: neither the name nor what is unseen."""
        if self.log_weights is None:
            return self.names_fingerprint
        weights = self._weights.astype("<f8").tobytes()
        return hashlib.sha256(self.names_fingerprint.encode() + weights).hexdigest()

    @cached_property
    def names_fingerprint(self) -> str:
        """SHA-256 of all that embeddings and prototypes depend on: the same but for the weights."""
        # Names have no control characters: these tell where each ends.
        synonyms = "\n".join(map("\t".join, self.synonyms))
        answerable = str(bytes(map(bool, self.answerable)))
        content = "\0".join(["\n".join(self.classes), synonyms, answerable, *self.templates])
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()

    def class_of(self, written: str, synonyms: Iterable[str] = ()) -> str | None:
        """The class that a data set means by a name, by its first name or a synonym; None = none.

        Where the name is unknown, the data set's own synonyms tell, if all known ones agree.

        >>> names = Vocabulary.from_names(["Coffee_Mug/cup", "dog"])
        >>> names.class_of("cup_or_beaker"), names.class_of("canine", ["hound", "dog"])
        ('Coffee Mug', 'dog')
        """
        if (named := self._class_named(written)) is not None:
            return named
        others = {self._class_named(part) for part in (*synonyms, *split_names(written))} - {None}
        return others.pop() if len(others) == 1 else None

    def with_class(self, name: str) -> Vocabulary:
        """With one class more, the last, whose name is split as `from_names` does.

        >>> Vocabulary.from_names(["cat"]).with_class("dog/puppy").synonyms
        (('cat',), ('dog', 'puppy'))

        Raises:
            VocabularyError: there is such a class already, by a name or by its meaning, or the name
                is none.
        """
        new = new_entry(self.name, name)
        self._check_new(len(self), new)
        return self._edited(len(self), Entry(new.name, new.synonyms, weight=new.weight))

    def without(self, name: str) -> Vocabulary:
        """Without the class that is shown by this name, whatever its case.

        Raises:
            VocabularyError: there is none, or no other class may be the answer.
        """
        return self._edited(self._number(name))

    def renamed(self, name: str, new: str) -> Vocabulary:
        """With a new name for a class in place of the one that it is shown by.

        Its other synonyms stay.

        >>> Vocabulary.from_names(["dog/puppy"]).renamed("dog", "hound").synonyms
        (('hound', 'puppy'),)

        Args:
            name: the one that the class is shown by, whatever its case.
            new: split as `from_names` does; further parts are further synonyms.

        Raises:
            VocabularyError: there is no such class, another has the new name or its meaning, or it
                is none.
        """
        number = self._number(name)
        given = new_entry(self.name, new)
        self._check_new(number, given)
        old = self.entries[number]
        stay = [text for text in old.synonyms if text != plain_name(old.name)]
        synonyms = plain_names([*given.synonyms, *stay])
        return self._edited(
            number, replace(old, name=given.name, synonyms=synonyms, apart=given.apart)
        )

    def with_unseen(self, names: Iterable[str]) -> Vocabulary:
        """With these classes marked as unseen, and no others.

        >>> Vocabulary.from_names(["cat", "dog/puppy", "cup"]).with_unseen(["puppy"]).novel
        ('dog',)

        Args:
            names: what the classes are shown by or a synonym.

        Raises:
            VocabularyError: there is no such class.
        """
        chosen = {self._known(name, "be marked as unseen") for name in names}
        marked = ((entry, entry.name in chosen) for entry in self.entries)
        entries = tuple(
            e if e.unseen == unseen else replace(e, unseen=unseen) for e, unseen in marked
        )
        return replace(self, entries=entries)

    def with_weights(self, weights: Mapping[str, float]) -> Vocabulary:
        """With these weights of some classes, see `Entry`; the others keep theirs.

        >>> Vocabulary.from_names(["mug/cup", "ewer"]).with_weights({"cup": 100}).entries[0].weight
        100.0

        Args:
            weights: by what the classes are shown by or a synonym.

        Raises:
            VocabularyError: there is no such class, or a weight is none.
        """
        chosen = {self._known(name, "get a weight"): weight for name, weight in weights.items()}
        entries = tuple(
            replace(e, weight=chosen[e.name]) if e.name in chosen else e for e in self.entries
        )
        return replace(self, name=self._edited_name, entries=entries)

    def unweighted(self) -> Vocabulary:
        """With all weights 1, so that its classes are scored by their names alone."""
        if self.log_weights is None:
            return self
        entries = tuple(e if e.weight == 1 else replace(e, weight=1.0) for e in self.entries)
        return replace(self, name=f"{self.name}{_UNWEIGHTED}", entries=entries)

    def only(self, *kinds: str) -> Vocabulary:
        """The classes that are kinds of any of these, by WordNet's hypernyms.

        A class whose meaning WordNet does not know is left out; of a list that is not built in the
        log says which.

        Args:
            kinds: nouns such as "animal", or several with commas between them.

        Raises:
            VocabularyError: a word is not known, or no class is a kind of any of them.

        >>> Vocabulary.from_names(["dalmatian", "teapot", "animal"]).only("animal").classes
        ('dalmatian', 'animal')
        """
        kinds = tuple(kind.strip() for given in kinds for kind in given.split(",") if kind.strip())
        if not kinds:
            raise VocabularyError("There is no kind to keep. Give a noun such as animal.")
        wanted = frozenset().union(*(hierarchy().named(kind) for kind in kinds))
        pairs = list(zip(self.entries, self.synsets, strict=True))
        entries = tuple(
            entry
            for entry, synset in pairs
            if synset is not None and not wanted.isdisjoint(hierarchy().above(synset))
        )
        if not any(entry.answerable for entry in entries):
            raise VocabularyError(
                f"No class of vocabulary '{self.name}' is a kind of {' or '.join(kinds)}. Give "
                "another kind, or another vocabulary."
            )
        unknown = [f"'{entry.name}'" for entry, synset in pairs if synset is None]
        notes = self.notes
        if unknown and self.source not in builtin_vocabularies():
            note = (
                f"Of vocabulary '{self.name}' {first_few(unknown)} "
                f"{'are' if len(unknown) > 1 else 'is'} left out: what kind of thing that is is "
                "not known."
            )
            _log.warning("%s", note)
            notes = (*notes, note)
        name = f"{self.name}, only {' or '.join(kinds)}"
        return replace(self, name=name, entries=entries, notes=notes)

    @property
    def source(self) -> str:
        """The name of the vocabulary that it is, or is made of by edits."""
        return self.name.partition(",")[0]

    @cached_property
    def _weights(self) -> NDArray[np.float64]:
        return np.fromiter((entry.weight for entry in self.entries), np.float64, len(self))

    @property
    def _edited_name(self) -> str:
        return f"{self.name.removesuffix(_EDITED)}{_EDITED}"

    def _known(self, name: str, purpose: str) -> str:
        """The class that is meant by a name, or else a sentence on what it was to be or get."""
        if (known := self.class_of(name)) is None:
            raise VocabularyError(
                f"Vocabulary '{self.name}' has no class '{name[:60]}' to {purpose}. "
                "Give names of its classes."
            )
        return known

    def _class_named(self, written: str) -> str | None:
        whole = plain_name(written.replace("_", " "))
        if self.source == "objects365":
            whole = objects365_spellings().get(whole, whole)
        wanted = [plain_name(written), whole, *map(plain_name, split_names(written)[:1])]
        known = (known[text] for known in self._by_name for text in wanted if text in known)
        return next(known, None)

    @cached_property
    def _by_name(self) -> tuple[dict[str, str], dict[str, str]]:
        """Classes by first name, and by every synonym; of several the first."""
        firsts = {plain_name(name): name for name in self.classes}
        synonyms = [(text, entry.name) for entry in self.entries for text in entry.synonyms]
        return firsts, dict(reversed(synonyms))

    def _number(self, name: str) -> int:
        wanted = plain_name(name)
        number = next((i for i, n in enumerate(self.classes) if plain_name(n) == wanted), None)
        if number is None:
            raise VocabularyError(
                f"Vocabulary '{self.name}' has no class '{name[:60]}'. Give the name that the "
                "class is shown by."
            )
        return number

    def _check_new(self, number: int, new: Entry) -> None:
        """Refuse class `number` if it means the same as another, see `load_vocabulary`."""
        if new.apart:
            return
        key, given = plain_name(new.name), set(new.synonyms)
        meaning = hierarchy().find(key)
        if meaning and number < len(self) and meaning == self.synsets[number]:
            meaning = None  # which it has already, perhaps beside another class
        synsets = self.synsets if meaning else (None,) * len(self)
        for other, (entry, synset) in enumerate(zip(self.entries, synsets, strict=True)):
            name = plain_name(entry.name)
            if other == number or name == key:  # which has a sentence of its own
                continue
            if not given.isdisjoint((name, *entry.synonyms)) or (meaning and meaning == synset):
                raise VocabularyError(
                    f"Vocabulary '{self.name}' has '{new.name[:60]}' already: its class "
                    f"'{entry.name}' means the same. Give another name, or put this one in quotes."
                )

    def _edited(self, number: int, *given: Entry) -> Vocabulary:
        """With the classes that are given in place of class `number`."""
        return replace(
            self,
            name=self._edited_name,
            notes=(),  # which were about the names as they were given
            entries=(*self.entries[:number], *given, *self.entries[number + 1 :]),
        )
