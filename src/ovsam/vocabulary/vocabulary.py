"""The names a model may give: classes with synonyms, built in or the user's own."""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
import logging
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from importlib import resources
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple

from ovsam.bounded_json import JsonError, parse_json
from ovsam.errors import AnnotationError, VocabularyError, quoted
from ovsam.vocabulary.class_lists import data_set_names, heading_ids, lists_classes
from ovsam.vocabulary.wordnet import Kinds, hierarchy

_log = logging.getLogger(__name__)

# COCO's open-vocabulary split, Zareian et al. 2021 (OVR-CNN), section 4.1. 15 classes are in
# neither part.
COCO_BASE = tuple(
    "person,bicycle,car,motorcycle,train,truck,boat,bench,bird,horse,sheep,bear,zebra,giraffe,"
    "backpack,handbag,suitcase,frisbee,skis,kite,surfboard,bottle,fork,spoon,bowl,banana,apple,"
    "sandwich,orange,broccoli,carrot,pizza,donut,chair,bed,toilet,tv,laptop,mouse,remote,"
    "microwave,oven,toaster,refrigerator,book,clock,vase,toothbrush".split(",")
)
COCO_NOVEL = tuple(
    "airplane,bus,cat,dog,cow,elephant,umbrella,tie,snowboard,skateboard,cup,knife,cake,couch,"
    "keyboard,sink,scissors".split(",")
)

TEMPLATE_SETS = ("{openai}", "{simple}")
"""open_clip's sets of templates for ImageNet, of 80 and of 7."""

_BUILTIN = {
    "coco": "COCO's 80 classes of everyday objects, with synonyms",
    "coco-ov": "COCO's open-vocabulary split: 48 base and 17 novel classes can be the answer",
    "lvis": "LVIS's 1,203 classes of everyday objects, rare ones too, with synonyms",
    "objects365": "Objects365's 365 classes of everyday objects",
    "imagenet1k": "ImageNet-1k's 1,000 classes, with synonyms",
    "imagenet21k": "ImageNet-21k's 21,841 classes, with synonyms",
    "22k": "all of these, each meaning once: 21,185 classes, with synonyms",
}
_EDITED = ", edited"  # after the name of a vocabulary that is no more what it was
_MAX_LINE = 1_000_000
_SHOWN = 5  # classes that a message names
_NEARLY = 0.7  # how like a built-in name, by difflib, a slip of the pen is
_HEADINGS = tuple(  # what the first row of a table may begin with
    "name,names,class,classes,class name,category,categories,category name,label,labels,"
    "label name".split(",")
)
_KEYS = ("name", "synonyms", "seen")  # of a class in a JSON list
_MAX_NAME = 1000  # characters; text models read some 70 words of a text, or 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")  # half a pair is no text
_INVISIBLE = re.compile(
    "[\u00ad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
)
_SHAPES = re.compile("[\u200c\u200d\ufe00-\ufe0f]")  # joiners, and variants of a sign
_DRAWN_ALIKE = str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-")
    | dict.fromkeys("\u2018\u2019\u201b\u02bc\u00b4`", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u201f", '"')
)
# A name in quotes, perhaps with marks before it, or what stands between two commas. The bounds keep
# many quotes without an end from being read to the end of the text, each of them.
_ITEM = re.compile(
    r"""(?P<marks>[!~\s]*)(?:"(?P<a>[^"]{,1000})"|'(?P<b>[^']{,1000})'"""
    r"""|“(?P<c>[^”]{,1000})”|‘(?P<d>[^’]{,1000})’)"""
    r"""\s*(?=,|$)|[^,]+"""
)
_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")
_QUOTES = "\"'“‘"
_JOINING = frozenset(  # words that are no name: a slash beside one is part of a name
    "and,or,on,off,in,out,up,down,yes,no,with,without,his,her,he,she".split(",")
)
_TABLES = (".tsv", ".xls", ".xlsx", ".xml", ".yaml", ".yml", ".names", ".pbtxt")
_PATH = re.compile(r"(~|\.{0,2})[/\\]|[A-Za-z]:[/\\]")  # how a path begins


@dataclass(frozen=True)
class Vocabulary:
    """The classes that compete for an object's name.

    Names are composed letters (NFC) without characters that nobody sees, and single blanks
    between words. Two that look the same are the same, see `plain_name`.

    Attributes:
        name: what to call the vocabulary in reports.
        classes: `C` display names, unique however they are written.
        synonyms: for each class the texts that are embedded, as `plain_name` has them, at least
            one.
        answerable: for each class whether it may be the answer; if not, it still takes its
            part of the scores. All may when left out.
        templates: the prompts in which names are embedded, each with one `{}` for the name, or one
            of `TEMPLATE_SETS`. The model's own when left out.
        unseen: for each class whether it was held back in training, so that an evaluation reports
            it apart, as novel; a model's scores do not depend on it. None is when left out.
        notes: sentences for people on what became of names that were given.

    Raises:
        VocabularyError: no class, a name given twice, a class without text, or a template that is
            none.
    """

    name: str
    classes: tuple[str, ...]
    synonyms: tuple[tuple[str, ...], ...]
    answerable: tuple[bool, ...] = field(default=())
    templates: tuple[str, ...] = ()
    unseen: tuple[bool, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        for name in ("classes", "synonyms", "answerable", "templates", "unseen", "notes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "synonyms", tuple(map(tuple, self.synonyms)))
        if not self.answerable:
            object.__setattr__(self, "answerable", (True,) * len(self.classes))
        if not self.unseen:
            object.__setattr__(self, "unseen", (False,) * len(self.classes))
        if not self.classes:
            raise VocabularyError(
                f"Vocabulary '{self.name}' is empty. Give at least one class name."
            )
        for name in ("synonyms", "answerable", "unseen"):
            if len(getattr(self, name)) != len(self.classes):
                raise VocabularyError(
                    f"Vocabulary '{self.name}' has {len(self.classes)} classes, but {name} for "
                    f"{len(getattr(self, name))}."
                )
        if not any(self.answerable):
            raise VocabularyError(
                f"Vocabulary '{self.name}' has no class that may be the answer. "
                "Take the leading '!' from at least one."
            )
        self._check_names()
        for template in self.templates:
            rest = template.replace("{}", "", 1)
            if template not in TEMPLATE_SETS and (rest == template or set("{}") & set(rest)):
                raise VocabularyError(
                    f"Vocabulary '{self.name}' has the template {template[:60]!r}. Give a text "
                    f"with one {{}} for the name, or {' or '.join(TEMPLATE_SETS)}."
                )

    def _check_names(self) -> None:
        # In a few sweeps, since an edit of a long vocabulary is to take milliseconds.
        texts = list(chain.from_iterable(self.synonyms))
        joined = "|".join(["", *self.classes, "", *texts, ""])
        if (
            all(self.synonyms)
            and _is_plain("|".join(["", *self.classes, ""]))
            and _is_plain(lowered := "|".join(["", *texts, ""]))
            and lowered == lowered.lower()
            and len(max(self.classes, key=len)) <= _MAX_NAME
            and len(max(texts, key=len)) <= _MAX_NAME
            and len(set(map(str.lower, self.classes))) == len(self.classes)
        ):
            return
        if _CONTROL.search(joined):
            number, display = next(
                (i, display)
                for i, display in enumerate(self.classes)
                if any(map(_CONTROL.search, (display, *self.synonyms[i])))
            )
            raise VocabularyError(
                f"Class {number + 1} of vocabulary '{self.name}' has a control character in "
                f"{display[:60]!r}. Give names as plain text."
            )
        shown = tuple(map(shown_name, self.classes))
        plain = tuple(_lowered(of_class) for of_class in self.synonyms)
        seen: set[str] = set()
        for number, (display, of_class) in enumerate(zip(shown, plain, strict=True), start=1):
            if longest := max((len(text) for text in (display, *of_class)), default=0):
                if longest > _MAX_NAME:
                    raise VocabularyError(
                        f"Class {number} of vocabulary '{self.name}' has a name of {longest:,} "
                        f"characters, the limit is {_MAX_NAME:,}. Give a shorter one to "
                        f"{display[:60]!r}."
                    )
            key = plain_name(display)
            if key in seen:
                raise VocabularyError(
                    f"Vocabulary '{self.name}' has the class '{display}' twice. "
                    "Remove one or rename it."
                )
            seen.add(key)
            if not key or not of_class or not all(of_class):
                raise VocabularyError(
                    f"Class {number} of vocabulary '{self.name}' has an empty name. "
                    "Give it one or remove it."
                )
        object.__setattr__(self, "classes", shown)
        object.__setattr__(self, "synonyms", plain)

    def __len__(self) -> int:
        return len(self.classes)

    def class_of(self, written: str, synonyms: Iterable[str] = ()) -> str | None:
        """The class that a data set means by a name, by its first name or a synonym; None = none.

        Where the name is unknown, the data set's own synonyms tell, if all known ones agree.

        >>> names = Vocabulary.from_names(["Coffee_Mug/cup", "dog"])
        >>> names.class_of("cup_or_beaker"), names.class_of("canine", ["hound", "dog"])
        ('Coffee Mug', 'dog')
        """
        if (named := self._class_named(written)) is not None:
            return named
        others = {self._class_named(part) for part in (*synonyms, *_split(written))} - {None}
        return others.pop() if len(others) == 1 else None

    def _class_named(self, written: str) -> str | None:
        whole = plain_name(written.replace("_", " "))
        if self.name.partition(",")[0] == "objects365":
            whole = _objects365_spellings().get(whole, whole)
        wanted = [plain_name(written), whole, *map(plain_name, _split(written)[:1])]
        known = (known[text] for known in self._by_name for text in wanted if text in known)
        return next(known, None)

    @cached_property
    def _by_name(self) -> tuple[dict[str, str], dict[str, str]]:
        """Classes by first name, and by every synonym; of several the first."""
        firsts = {plain_name(name): name for name in self.classes}
        pairs = zip(self.classes, self.synonyms, strict=True)
        synonyms = [(text, name) for name, texts in pairs for text in texts]
        return firsts, dict(reversed(synonyms))

    @property
    def is_builtin(self) -> bool:
        """Whether it is one of `builtin_vocabularies`, as it is."""
        return self.name in _BUILTIN and _builtin(self.name) is self

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that scores depend on: neither the name nor what is unseen."""
        # Names have no control characters: these tell where each ends.
        synonyms = "\n".join(map("\t".join, self.synonyms))
        answerable = str(bytes(map(bool, self.answerable)))
        content = "\0".join(["\n".join(self.classes), synonyms, answerable, *self.templates])
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()

    def with_class(self, name: str) -> Vocabulary:
        """With one class more, the last, whose name is split as `from_names` does.

        >>> Vocabulary.from_names(["cat"]).with_class("dog/puppy").synonyms
        (('cat',), ('dog', 'puppy'))

        Raises:
            VocabularyError: there is such a class already, by a name or by its meaning, or the name
                is none.
        """
        given = _one_class(name, self.name)
        self._check_new(len(self), given)
        return self._edited(len(self), (given.display, given.texts))

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
        given = _one_class(new, self.name)
        self._check_new(number, given)
        old = plain_name(self.classes[number])
        stay = [text for text in self.synonyms[number] if text != old]
        return self._edited(number, (given.display, _lowered([*given.texts, *stay])))

    def with_unseen(self, names: Iterable[str]) -> Vocabulary:
        """With these classes marked as unseen, and no others.

        >>> load_vocabulary("cat, dog/puppy, cup").with_unseen(["puppy"]).novel
        ('dog',)

        Args:
            names: what the classes are shown by or a synonym.

        Raises:
            VocabularyError: there is no such class.
        """
        found = {name: self.class_of(name) for name in names}
        for name, known in found.items():
            if known is None:
                raise VocabularyError(
                    f"Vocabulary '{self.name}' has no class '{name[:60]}' to be marked as unseen. "
                    "Give names of its classes."
                )
        chosen = set(found.values())
        return replace(self, unseen=tuple(name in chosen for name in self.classes))

    @property
    def novel(self) -> tuple[str, ...]:
        """The classes that are marked as unseen."""
        return tuple(n for n, unseen in zip(self.classes, self.unseen, strict=True) if unseen)

    def _number(self, name: str) -> int:
        wanted = plain_name(name)
        number = next(
            (i for i, known in enumerate(self.classes) if plain_name(known) == wanted), None
        )
        if number is None:
            raise VocabularyError(
                f"Vocabulary '{self.name}' has no class '{name[:60]}'. Give the name that the "
                "class is shown by."
            )
        return number

    def _check_new(self, number: int, new: _Row) -> None:
        """Refuse a class at row `number` that means the same as another, see `load_vocabulary`."""
        if new.apart:
            return
        key, given = plain_name(new.display), set(new.texts)
        meaning = hierarchy().find(key)
        if meaning and number < len(self) and meaning == self.synsets[number]:
            meaning = None  # which it has already, perhaps beside another class
        synsets = self.synsets if meaning else (None,) * len(self)
        every = zip(self.classes, self.synonyms, synsets, strict=True)
        for row, (name, others, synset) in enumerate(every):
            if row == number or plain_name(name) == key:  # which has a sentence of its own
                continue
            if not given.isdisjoint((plain_name(name), *others)) or (meaning and meaning == synset):
                raise VocabularyError(
                    f"Vocabulary '{self.name}' has '{new.display[:60]}' already: its class "
                    f"'{name}' means the same. Give another name, or put this one in quotes."
                )

    def _edited(self, number: int, *given: tuple[str, tuple[str, ...]]) -> Vocabulary:
        """With the classes that are given in place of class `number`."""
        after = number + 1
        answerable = self.answerable[number:after] or (True,)
        unseen = self.unseen[number:after] or (False,)
        edited = replace(
            self,
            name=f"{self.name.removesuffix(_EDITED)}{_EDITED}",
            notes=(),  # which were about the names as they were given
            classes=(*self.classes[:number], *(name for name, _ in given), *self.classes[after:]),
            synonyms=(
                *self.synonyms[:number],
                *(texts for _, texts in given),
                *self.synonyms[after:],
            ),
            answerable=(
                *self.answerable[:number],
                *answerable[: len(given)],
                *self.answerable[after:],
            ),
            unseen=(*self.unseen[:number], *unseen[: len(given)], *self.unseen[after:]),
        )
        if "synsets" in self.__dict__:  # which are not looked up again for the others
            names, texts = [name for name, _ in given], [texts for _, texts in given]
            new = hierarchy().meanings(edited.name, names, texts)
            known = (*self.synsets[:number], *new, *self.synsets[after:])
            edited.__dict__["synsets"] = known
        return edited

    @cached_property
    def synsets(self) -> tuple[str | None, ...]:
        """For each class its synset of WordNet 3.0, `n02084071`; None where none is known."""
        return hierarchy().meanings(self.name, self.classes, self.synonyms)

    @cached_property
    def kinds(self) -> Kinds:
        """What its classes are kinds of."""
        return Kinds(self.synsets, self.answerable)

    def only(self, *kinds: str) -> Vocabulary:
        """The classes that are kinds of any of these, by WordNet's hypernyms.

        A class whose meaning WordNet does not know is left out; of a list that is not built in the
        log says which.

        Args:
            kinds: nouns such as "animal", or several with commas between them.

        Raises:
            VocabularyError: a word is not known, or no class is a kind of any of them.

        >>> load_vocabulary("dalmatian, teapot, animal, goose").only("animal").classes
        ('dalmatian', 'animal', 'goose')
        """
        kinds = tuple(kind.strip() for given in kinds for kind in given.split(",") if kind.strip())
        if not kinds:
            raise VocabularyError("There is no kind to keep. Give a noun such as animal.")
        wanted = frozenset().union(*(hierarchy().named(kind) for kind in kinds))
        rows = [
            row
            for row, synset in enumerate(self.synsets)
            if synset is not None and not wanted.isdisjoint(hierarchy().above(synset))
        ]
        if not any(self.answerable[row] for row in rows):
            raise VocabularyError(
                f"No class of vocabulary '{self.name}' is a kind of {' or '.join(kinds)}. Give "
                "another kind, or another vocabulary."
            )
        unknown = [n for n, s in zip(self.classes, self.synsets, strict=True) if s is None]
        notes = self.notes
        if unknown and self.name.partition(",")[0] not in _BUILTIN:
            names = some([f"'{name}'" for name in unknown])
            note = (
                f"Of vocabulary '{self.name}' {names} "
                f"{'are' if len(unknown) > 1 else 'is'} left out: what kind of thing that is is "
                "not known."
            )
            _log.warning("%s", note)
            notes = (*notes, note)
        return replace(
            self,
            name=f"{self.name}, only {' or '.join(kinds)}",
            classes=tuple(self.classes[row] for row in rows),
            synonyms=tuple(self.synonyms[row] for row in rows),
            answerable=tuple(self.answerable[row] for row in rows),
            unseen=tuple(self.unseen[row] for row in rows),
            notes=notes,
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
        if isinstance(names, str):
            raise VocabularyError(
                f"Vocabulary '{name}' must be a list of names, got the text {names[:60]!r}. "
                "Use load_vocabulary for a comma list."
            )
        rows = []
        for number, entry in enumerate(names, start=1):
            if not isinstance(entry, str):
                raise VocabularyError(
                    f"Class {number} of vocabulary '{name}' must be a text, got {quoted(entry)}."
                )
            if (row := _row(entry)) is None:
                raise VocabularyError(
                    f"Class {number} of vocabulary '{name}' has an empty name, got {entry[:60]!r}. "
                    "Give it one or remove it."
                )
            rows.append(row)
        return _each_meaning_once(name, rows, by_wordnet=True)


class _Row(NamedTuple):
    """One class as it is given; `apart` if it stays one though others mean the same."""

    display: str
    texts: tuple[str, ...]
    answerable: bool = True
    unseen: bool = False
    apart: bool = False


def load_vocabulary(spec: str | Path | Sequence[str] | Vocabulary) -> Vocabulary:
    """The vocabulary that a user asks for.

    Args:
        spec: a built-in name (see `builtin_vocabularies`); a list of names; the path of a text
            file, a table (.csv), a list (.json), a COCO or LVIS annotation file (.json), a
            data.yaml of YOLO or its folder, or a folder of LabelMe's files; or names separated by
            commas, "cat, dog/puppy, coffee mug", where a slash separates the synonyms of a class.
            A single name that looks like a built-in one ("cocoo") needs a comma at its end, so
            that a slip is not taken for a class.

    A slash is part of a name where a single letter stands beside it ("w/o helmet", "N/A", "km/h
    sign"), numbers on both sides ("24/7 shop"), capitals on both ("AC/DC adapter"), or a word such
    as `and`, `or`, `on`, `off` ("on/off switch"); elsewhere it separates two. With blanks on both
    sides, "TV / PC", it always does, and in quotes nothing separates: '"bag, paper"' is one name.

    A text file has one class on each line: its name and, after commas, its synonyms. A leading
    `!` marks a class that is never the answer, a `~` one that was held back in training; lines
    that start with `#` are comments. A line with `{}` is a template in place of the model's own,
    "a photo of a {}."; so is one of `TEMPLATE_SETS`. A table has the same in cells,
    `name,synonym,synonym`, a JSON list has names or
    `{"name": "cat", "synonyms": ["kitty"], "seen": false}`; there, as in annotation files, a name
    is taken whole, with its commas and slashes. In a table with a heading (name, synonyms, seen) a
    cell of synonyms may hold several, separated by semicolons or bars, and the column `seen` says
    yes or no.

    In a list of names each meaning is one class: "sofa, couch" is a sofa that is also called
    couch, and the log and `notes` say so. Two classes mean the same if the first name of one is a
    name of the other, or if WordNet has one synset for their first names; a name in quotes is a
    class of its own all the same. In a text file, which may be a copy of a vocabulary with meanings
    of its own, names alone count. Built-in vocabularies and annotation files keep their classes,
    which others count on.

    Raises:
        VocabularyError: nothing there, or something wrong with the names.
    """
    if isinstance(spec, Vocabulary):
        return spec
    if isinstance(spec, Path):
        return _read_file(spec)
    if not isinstance(spec, str):
        return Vocabulary.from_names(spec)
    if spec in _BUILTIN:
        return _builtin(spec)
    if spec.strip().lower().endswith((".txt", ".csv", ".json")) or lists_classes(spec.strip()):
        return _read_file(Path(spec.strip()))
    if re.search(r"[./\\]", spec) and os.path.isfile(spec):  # a file `cat` does not hide a cat
        raise VocabularyError(f"'{spec}' is a file of another kind. Give one of {_choices()}.")
    return typed_vocabulary(spec)


def typed_vocabulary(text: str) -> Vocabulary:
    """The vocabulary that a person types: a built-in name or class names, never a file.

    Names are separated by commas or line breaks; see `load_vocabulary` for what they may be.

    >>> typed_vocabulary("coffee mug").classes
    ('coffee mug',)

    Raises:
        VocabularyError: no names, something wrong with them, a path, or one that is nearly a
            built-in name.
    """
    name = text.strip()
    if name in _BUILTIN:
        return _builtin(name)
    words = typed_names(name)
    if not words:
        raise VocabularyError(f"The vocabulary is empty. Give one of {_choices()}.")
    if words == [name]:  # without so much as a comma behind it
        _check_single(name)
    for word in words if len(words) > 1 else ():
        if word in _BUILTIN:
            raise VocabularyError(
                f"'{word}' is a built-in vocabulary and stands alone. To join two, "
                "write them to one file with 'ovsam vocabulary show'."
            )
    return Vocabulary.from_names(words)


def _check_single(name: str) -> None:
    """Refuse one name alone that was hardly meant as a class."""
    if _PATH.match(name) or name.lower().endswith((".txt", ".csv", ".json", *_TABLES)):
        raise VocabularyError(
            f"There is no vocabulary '{name[:60]}', which looks like a path. Give one of "
            f"{_choices()}."
        )
    near = difflib.get_close_matches(name.lower(), _BUILTIN, n=1, cutoff=_NEARLY)
    if near and (name.lower() == near[0] or hierarchy().find(name) is None):
        raise VocabularyError(
            f"There is no vocabulary '{name[:60]}': did you mean {near[0]}? A class of that name "
            f"ends with a comma, '{name[:60]},'."
        )


def builtin_vocabularies() -> dict[str, str]:
    """Names of the built-in vocabularies, each with one line that describes it."""
    return dict(_BUILTIN)


def builtin_notes(name: str) -> str:
    """What a built-in vocabulary's file says of its source, its licence and its making."""
    lines = _builtin_text("coco" if name == "coco-ov" else name).split("\n")
    return "\n".join(line.removeprefix("# ") for line in lines if line.startswith("#"))


def lvis_groups() -> dict[str, tuple[str, ...]]:
    """LVIS's classes by how many training photos have them: "rare", "common", "frequent"."""
    lines = _builtin_text("lvis_groups").splitlines()
    pairs = [line.rsplit(", ", 1) for line in lines if not line.startswith("#")]
    return {
        wanted: tuple(name for name, group in pairs if group == wanted)
        for wanted in ("rare", "common", "frequent")
    }


@cache
def _objects365_spellings() -> dict[str, str]:
    """Names that Objects365's annotation files have, lower case, and how they are spelt here."""
    lines = _builtin_text("objects365_spellings").splitlines()
    return dict(line.split(": ") for line in lines if not line.startswith("#"))


def _choices() -> str:
    names = ", ".join(_BUILTIN)
    return f"{names}, a .txt, .csv, .json or .yaml file, or class names such as 'cat, dog'"


@cache
def _builtin(name: str) -> Vocabulary:
    if name == "coco-ov":  # COCO with some classes that only compete
        coco = _builtin("coco")
        answerable = tuple(entry in COCO_BASE + COCO_NOVEL for entry in coco.classes)
        return replace(coco, name=name, answerable=answerable).with_unseen(COCO_NOVEL)
    rows, templates = _read_lines(_builtin_text(name), name)
    made = _vocabulary(name, rows, templates)
    return made.with_unseen(lvis_groups()["rare"]) if name == "lvis" else made


def _builtin_text(name: str) -> str:
    file = resources.files("ovsam") / "vocabularies" / f"{name}.txt"
    return file.read_text(encoding="utf-8")


def _read_file(path: Path) -> Vocabulary:
    if lists_classes(str(path)):
        return _from_data_set(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise VocabularyError(
            f"Vocabulary file '{path}' does not exist. Give one of {_choices()}."
        ) from error
    except UnicodeDecodeError as error:
        raise VocabularyError(
            f"Vocabulary file '{path}' is not UTF-8 text. Save it as UTF-8."
        ) from error
    except IsADirectoryError as error:
        raise VocabularyError(
            f"Vocabulary file '{path}' is a directory. Give the path of one file."
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise VocabularyError(f"Vocabulary file '{path}' cannot be read: {error}.") from error
    try:
        match path.suffix.lower():
            case ".json":
                return _from_json(text, path)
            case ".csv":
                return _each_meaning_once(path.stem, _read_table(text, path.stem))
            case _:
                return _each_meaning_once(path.stem, *_read_lines(text, path.stem))
    except VocabularyError as error:
        if str(path) in str(error):
            raise
        raise VocabularyError(f"'{path}': {error}") from error


def _each_meaning_once(
    name: str,
    rows: Sequence[_Row],
    templates: Sequence[str] = (),
    *,
    by_wordnet: bool = False,
    by_synonyms: bool = True,
    notes: Iterable[str] = (),
) -> Vocabulary:
    """The vocabulary with one class where several mean the same; the first keeps its name.

    Args:
        name: of the vocabulary.
        rows: the classes as given.
        templates: see `Vocabulary`.
        by_wordnet: whether classes are the same, too, that mean one synset.
        by_synonyms: whether they are if the first name of one is a synonym of the other.
        notes: what became of names before; see `Vocabulary`.
    """
    owners: dict[str, int] = {}  # the class that has a name or a synset, in what is kept
    firsts: dict[str, int] = {}
    kept: list[_Row] = []
    notes = list(notes)
    merged: list[str] = []
    for row in rows:
        key = plain_name(row.display)
        meaning = (hierarchy().find(key) if by_wordnet and not row.apart else None) or key
        others: list[int | None] = [firsts.get(key)]
        if by_synonyms and not row.apart:
            others += [owners.get(key), owners.get(meaning), *map(firsts.get, row.texts)]
        same = next(
            (
                found
                for found in others
                if found is not None
                and kept[found].answerable == row.answerable
                and (not kept[found].apart or plain_name(kept[found].display) == key)
            ),
            None,
        )
        if same is None:
            same = len(kept)
            firsts.setdefault(key, same)
            kept.append(row)
        else:
            first = kept[same]
            if row.unseen != first.unseen:
                raise VocabularyError(
                    f"Vocabulary '{name}' has '{row.display}' and '{first.display}', which mean "
                    "the same, one seen and one not. Mark both alike."
                )
            kept[same] = first._replace(texts=tuple(dict.fromkeys((*first.texts, *row.texts))))
            if plain_name(first.display) == key:
                merged.append(f"'{row.display}' is there twice")
                notes.append(f"'{row.display}' is there twice and is one class.")
            else:
                merged.append(f"'{row.display}' is taken as '{first.display}'")
                notes.append(
                    f"'{row.display}' is taken as '{first.display}': they mean the same and are "
                    "one class. In quotes it stays a class of its own."
                )
        for text in (*row.texts, meaning):
            owners.setdefault(text, same)
    if merged:
        why = "names that look the same are one class"
        if not all(part.endswith("is there twice") for part in merged):
            why = "they mean the same and are one class. In quotes a name stays a class of its own"
        _log.warning("Of vocabulary '%s' %s: %s.", name, some(merged), why)
    return _vocabulary(name, kept, templates, notes)


def _vocabulary(
    name: str, rows: Sequence[_Row], templates: Sequence[str] = (), notes: Sequence[str] = ()
) -> Vocabulary:
    return Vocabulary(
        name,
        tuple(row.display for row in rows),
        tuple(row.texts for row in rows),
        tuple(row.answerable for row in rows),
        tuple(templates),
        tuple(row.unseen for row in rows),
        tuple(notes),
    )


def some(items: Sequence[str]) -> str:
    """The first few of many, as a message names them.

    >>> some(["a", "b", "c", "d", "e", "f", "g"])
    'a, b, c, d, e and 2 more'
    """
    more = f" and {len(items) - _SHOWN:,} more" if len(items) > _SHOWN else ""
    return f"{', '.join(items[:_SHOWN])}{more}"


def _read_lines(text: str, name: str) -> tuple[list[_Row], list[str]]:
    """A text file's classes and templates."""
    rows: list[_Row] = []
    templates: list[str] = []
    for number, raw in enumerate(text.split("\n"), start=1):
        if len(raw) > _MAX_LINE:
            raise VocabularyError(
                f"Line {number} of vocabulary '{name}' has {len(raw):,} characters, the limit is "
                f"{_MAX_LINE:,}. Give one class on each line."
            )
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if "{}" in line or line in TEMPLATE_SETS:
            templates.append(line)
            continue
        if line.startswith("{") and line.endswith("}"):
            raise VocabularyError(
                f"Line {number} of vocabulary '{name}' is {line[:60]!r}, no name and no template. "
                f"Templates are texts with {{}} for the name, {' and '.join(TEMPLATE_SETS)}."
            )
        if (row := _row(line)) is None:
            raise VocabularyError(
                f"Line {number} of vocabulary '{name}' has no class name, got {line[:60]!r}. "
                "Give it one or remove it."
            )
        rows.append(row)
    return rows, templates


def _read_table(text: str, name: str) -> list[_Row]:
    """A row for each class: its name, its synonyms in the cells after it, and if it is seen."""
    rows = []
    heading: list[str] = []
    marks: int | None = None  # the column that says what is seen
    try:
        # A table's first line tells what its cells are separated by; names may hold the others.
        separator = next((s for s in ",;\t" if s in text.partition("\n")[0]), ",")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
        for number, cells in enumerate(reader):
            cells = list(map(_clean, cells))
            headed = [cell.lower() in _HEADINGS for cell in cells] if number == 0 else []
            if any(headed[1:]) and not headed[0]:
                raise VocabularyError(
                    f"Vocabulary '{name}' has its names in column {headed.index(True) + 1}. Leave "
                    "no columns but the class's name, first, and its synonyms and seen after it."
                )
            if any(headed):
                heading, marks = cells, _check_heading(cells, name)
                continue
            if marks is not None and marks + 1 == len(heading) and any(cells[len(heading) :]):
                raise VocabularyError(
                    f"Row {number + 1} of vocabulary '{name}' has {len(cells)} cells, its heading "
                    f"{len(heading)}: which of them is 'seen' cannot be told. Give the heading a "
                    "column for each synonym, or the synonyms one cell, a semicolon between them."
                )
            mark = cells.pop(marks) if marks is not None and marks < len(cells) else ""
            if heading:  # a column of synonyms may hold several
                several = (re.split("[;|]", cell) for cell in cells[1:])
                cells = [*cells[:1], *(_clean(part) for parts in several for part in parts)]
            if parts := [part for part in cells if part]:
                rows.append(_whole_row(parts, seen=_seen(mark, parts[0], name)))
    except csv.Error as error:
        raise VocabularyError(
            f"Vocabulary '{name}' is no CSV: {error}. Give a row for each class, its name first "
            "and its synonyms after it."
        ) from error
    return rows


def _check_heading(heading: Sequence[str], name: str) -> int | None:
    """The number of the column `seen`; None if there is none."""
    found = None
    for number, cell in enumerate(heading[1:], start=1):
        if cell.lower() == "seen" and found is None:
            found = number
        elif cell and not cell.lower().startswith("synonym"):
            raise VocabularyError(
                f"Vocabulary '{name}' has a column {cell[:60]!r}. Leave no columns but the class's "
                "name and, after it, its synonyms and one called seen."
            )
    return found


def _seen(mark: str, display: str, name: str) -> bool:
    """What a cell says of a class; an empty one says that it is seen."""
    if mark.lower() in ("", "yes", "true", "1"):
        return True
    if mark.lower() in ("no", "false", "0"):
        return False
    raise VocabularyError(
        f"Vocabulary '{name}' says {mark[:60]!r} in the column 'seen' of '{display[:60]}'. Write "
        "yes or no."
    )


def _whole_row(names: Sequence[str], *, seen: bool = True) -> _Row:
    """A class by its names, which may hold any character; marks are as in a text file."""
    marks, bare = _marked(names[0])
    first = _clean(bare)
    return _Row(first, _lowered([first, *names[1:]]), "!" not in marks, not seen or "~" in marks)


def _from_data_set(path: Path) -> Vocabulary:
    """The classes of a data.yaml or a folder; each name is taken whole."""
    try:
        first: dict[str, str] = {}
        for name in map(_clean, data_set_names(path)):
            first.setdefault(name.lower(), name)  # the same in another case is the same
        return Vocabulary(path.stem, tuple(first.values()), tuple((text,) for text in first))
    except (AnnotationError, VocabularyError) as error:
        raise VocabularyError(
            str(error) if str(path) in str(error) else f"'{path}': {error}"
        ) from error


def _from_json(text: str, path: Path) -> Vocabulary:
    """A list of classes, or the categories of a COCO or LVIS annotation file by their ids."""
    try:
        content: Any = parse_json(text)
    except JsonError as error:
        raise VocabularyError(
            f"Vocabulary file '{path}' is not valid JSON: {error}. It may be cut short: copy or "
            "write it again."
        ) from error
    if isinstance(content, list) and content and all(map(_is_class, content)):
        for number, item in enumerate(content, start=1):
            if isinstance(item, dict) and (odd := sorted(item.keys() - set(_KEYS))):
                raise VocabularyError(
                    f"Class {number} of vocabulary file '{path}' has {odd[0][:60]!r}, which is "
                    f"none of {', '.join(_KEYS)}. Rename it or take it out."
                )
        items: list[dict[str, Any]] = [
            {"name": item} if isinstance(item, str) else item for item in content
        ]
        rows = [
            _whole_row(
                list(map(_clean, [item["name"], *item.get("synonyms", ())])),
                seen=item.get("seen", True),
            )
            for item in items
        ]
        return _each_meaning_once(path.stem, rows)
    if isinstance(content, list) and content:
        number = next(i for i, item in enumerate(content, start=1) if not _is_class(item))
        raise VocabularyError(
            f"Class {number} of vocabulary file '{path}' must be a name, or like "
            '{"name": "cat", "synonyms": ["kitty"], "seen": true}, '
            f"got {quoted(content[number - 1])}."
        )
    categories = content.get("categories") if isinstance(content, dict) else None
    if not isinstance(categories, list) or not all(map(_is_category, categories)):
        raise VocabularyError(
            f"Vocabulary file '{path}' must have a list 'categories' of {{id, name}}, as COCO's "
            "annotation files have, or be a list of names or of {name, synonyms, seen}. Give such "
            "a file, or a .txt with one class on each line."
        )
    if not categories:
        raise VocabularyError(f"Vocabulary file '{path}' is empty: it lists no categories.")
    objects = content.get("annotations")
    headings = heading_ids(categories, objects if isinstance(objects, list) else ())
    left = [f"'{c['name']}'" for c in categories if c["id"] in headings]
    notes = [f"{name} is no class: no object has it, it is a heading of others." for name in left]
    if left:
        _log.warning("Of vocabulary file '%s' %s", path, " ".join(notes))
    categories = [category for category in categories if category["id"] not in headings]
    categories.sort(key=lambda category: category["id"])
    rows = [
        _Row(
            name := _clean(category["name"]),  # whole: reports are compared with the file's names
            _lowered(text for text in map(_clean, [name, *category.get("synonyms", ())]) if text)
            or ("",),
            unseen=category.get("frequency") == "r",  # LVIS's rare
        )
        for category in categories
    ]
    return _each_meaning_once(path.stem, rows, by_synonyms=False, notes=notes)


def _is_class(item: Any) -> bool:
    """Whether JSON describes a class by its name, or by `name` and perhaps more."""
    if not isinstance(item, dict):
        return isinstance(item, str)
    synonyms = item.get("synonyms", [])
    return (
        isinstance(item.get("name"), str)
        and isinstance(synonyms, list)
        and all(isinstance(synonym, str) for synonym in synonyms)
        and isinstance(item.get("seen", True), bool)
    )


def _is_category(category: Any) -> bool:
    return isinstance(category, dict) and type(category.get("id")) is int and _is_class(category)


def _one_class(name: str, vocabulary: str) -> _Row:
    """A class that is added to a vocabulary."""
    row = _row(name)
    if row is None:
        raise VocabularyError(
            f"The new class of vocabulary '{vocabulary}' has an empty name, got {name[:60]!r}. "
            "Give it one."
        )
    return row


def _row(entry: str) -> _Row | None:
    """A class by its marks and names, as they are typed; None without a name."""
    marks, bare = _marked(entry)
    if not (parts := _split(bare)):
        return None
    first = _ITEM.match(bare) if bare[0] in _QUOTES else None
    apart = first is not None and first.lastgroup is not None
    return _Row(parts[0], _lowered(parts), "!" not in marks, "~" in marks, apart)


def _marked(text: str) -> tuple[str, str]:
    """The marks `!` and `~` before a name, and the rest."""
    text = text.strip()
    bare = text.lstrip("!~")
    return text.removesuffix(bare), bare


def _split(names: str) -> list[str]:
    """The names of a class: between commas, `_or_` and slashes, or in quotes."""
    parts: list[str] = []
    for item in _ITEM.finditer(names):
        if item.lastgroup is not None:
            parts.append(item[item.lastgroup])
            continue
        for part in item[0].split("_or_"):
            parts += _at_slashes(part.replace("_", " "))
    return [part for part in map(_clean, parts) if part]


def _at_slashes(names: str) -> list[str]:
    """Names between the slashes that separate them, see `load_vocabulary`."""
    if "/" not in names:
        return [names]
    pieces = names.split("/")
    groups = [[pieces[0]]]
    for before, after in pairwise(pieces):
        if _separates(before, after):
            groups.append([after])
        else:
            groups[-1].append(after)
    return ["/".join(group) for group in groups]


def _separates(before: str, after: str) -> bool:
    """Whether a slash between these two separates names."""
    if before[-1:].isspace() and after[:1].isspace():
        return True
    ends = [*before.split()[-1:], *after.split()[:1]]
    if len(ends) < 2:
        return True  # no name on one side
    words = [word if word.isalnum() else _PUNCTUATION.sub("", word) for word in ends]
    return not (
        any(map(_is_fragment, words))
        or all(word[0].isdigit() for word in words)
        or all(map(str.isupper, words))
    )


def _is_fragment(word: str) -> bool:
    """Whether it is no name: nothing, a letter alone, or a word such as "or"."""
    if len(word) > 1:
        return word.lower() in _JOINING
    return not word or (word.isalpha() and unicodedata.category(word) != "Lo")  # not of a sign


def shown_name(name: str) -> str:
    r"""A name as it is shown: composed (NFC), single blanks, nothing that nobody sees.

    >>> shown_name("cafe\u0301  noir\u200b") == "caf\xe9 noir"
    True
    """
    if not name.isascii():
        name = _INVISIBLE.sub("", unicodedata.normalize("NFC", name))
    return " ".join(name.split())


def plain_name(name: str) -> str:
    r"""A name as it is compared and embedded: the same for names that look the same.

    Lower case; letters in their plain form (NFKC: full width is none); one hyphen, apostrophe,
    quote and blank for all that are drawn alike; nothing that nobody sees.

    >>> plain_name("Ｔ－shirt\u200b"), plain_name("Cat’s  eye")
    ('t-shirt', "cat's eye")
    """
    if name.isascii() and "`" not in name:
        return " ".join(name.lower().split())
    name = _SHAPES.sub("", _INVISIBLE.sub("", name)).translate(_DRAWN_ALIKE)
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).lower())
    return " ".join(plain.translate(_DRAWN_ALIKE).split())


def typed_name(name: str) -> str:
    """A name as it is written in a list or a text file: in quotes where it needs them.

    >>> print(typed_name("w/o helmet"), typed_name("bag, paper"))
    w/o helmet "bag, paper"
    """
    if _split(name) == [name] and name[0] not in f"{_QUOTES}!~#{{":
        return name
    quote = "'" if '"' in name else '"'
    return f"{quote}{name}{quote}"


def typed_names(text: str) -> list[str]:
    """What stands between commas or line breaks; a name in quotes keeps its commas.

    >>> typed_names("cat, 'bag, paper'")
    ['cat', "'bag, paper'"]
    """
    listed = re.sub(r"[\r\n，、]+", ",", text)  # commas of other scripts, too
    items = (item[0].strip() for item in _ITEM.finditer(listed.strip()))
    return [item for item in items if item]


def _is_plain(joined: str) -> bool:
    """Whether names, with bars between and around them, are as `shown_name` has them."""
    odd = ("  ", "| ", " |", "||", "`")
    return joined.isascii() and joined.isprintable() and not any(part in joined for part in odd)


def _clean(name: str) -> str:
    return shown_name(name.replace("_", " "))


def _lowered(parts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(plain_name, parts)))
