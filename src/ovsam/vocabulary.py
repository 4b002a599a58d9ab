"""The names a model may give: classes with synonyms, built in or the user's own."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from importlib import resources
from itertools import chain
from pathlib import Path
from typing import Any

from ovsam.class_lists import data_set_names, heading_ids, lists_classes
from ovsam.errors import AnnotationError, VocabularyError
from ovsam.hierarchy import Kinds, hierarchy

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
_HEADINGS = tuple(  # what the first row of a table may begin with
    "name,names,class,classes,class name,category,categories,category name,label,labels,"
    "label name".split(",")
)
_KEYS = ("name", "synonyms", "seen")  # of a class in a JSON list
_SEPARATORS = re.compile(r"_or_|/|,")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # half a surrogate pair is no text


@dataclass(frozen=True)
class Vocabulary:
    """The classes that compete for an object's name.

    Attributes:
        name: what to call the vocabulary in reports.
        classes: `C` display names, unique whatever their case.
        synonyms: for each class the texts that are embedded, lower case, at least one.
        answerable: for each class whether it may be the answer; if not, it still takes its
            part of the scores. All may when left out.
        templates: the prompts in which names are embedded, each with one `{}` for the name, or one
            of `TEMPLATE_SETS`. The model's own when left out.
        unseen: for each class whether it was held back in training, so that an evaluation reports
            it apart, as novel; a model's scores do not depend on it. None is when left out.

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

    def __post_init__(self) -> None:
        for name in ("classes", "synonyms", "answerable", "templates", "unseen"):
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
        keys = {display.lower() for display in self.classes}
        names = [*self.classes, *chain.from_iterable(self.synonyms)]
        if (
            len(keys) == len(self.classes)
            and all(self.synonyms)
            and all(map(str.strip, names))
            and not _CONTROL.search("".join(names))
        ):
            return  # in one sweep, since an edit of a long vocabulary is to take milliseconds
        seen: set[str] = set()
        for number, (display, texts) in enumerate(
            zip(self.classes, self.synonyms, strict=True), start=1
        ):
            if any(_CONTROL.search(text) for text in (display, *texts)):
                raise VocabularyError(
                    f"Class {number} of vocabulary '{self.name}' has a control character in "
                    f"{display!r}. Give names as plain text."
                )
            key = display.lower()
            if key in seen:
                raise VocabularyError(
                    f"Vocabulary '{self.name}' has the class '{display}' twice. "
                    "Remove one or rename it."
                )
            seen.add(key)
            if not display.strip() or not texts or not all(text.strip() for text in texts):
                raise VocabularyError(
                    f"Class {number} of vocabulary '{self.name}' has an empty name. "
                    "Give it one or remove it."
                )

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
        whole = " ".join(written.replace("_", " ").split()).lower()
        if self.name.partition(",")[0] == "objects365":
            whole = _objects365_spellings().get(whole, whole)
        parts = _split(written)
        wanted = [whole, *(part.lower() for part in parts[:1])]
        known = (known[text] for known in self._by_name for text in wanted if text in known)
        return next(known, None)

    @cached_property
    def _by_name(self) -> tuple[dict[str, str], dict[str, str]]:
        """Classes by first name, and by every synonym; of several the first."""
        firsts = {name.lower(): name for name in self.classes}
        pairs = zip(self.classes, self.synonyms, strict=True)
        synonyms = [(text, name) for name, texts in pairs for text in texts]
        return firsts, dict(reversed(synonyms))

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
        self._check_new(len(self), *given)
        return self._edited(len(self), given)

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
        display, synonyms = _one_class(new, self.name)
        self._check_new(number, display, synonyms)
        old = self.classes[number]
        stay = [text for text in self.synonyms[number] if text != old.lower()]
        return self._edited(number, (display, _lowered([*synonyms, *stay])))

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
        wanted = name.lower()
        number = next((i for i, known in enumerate(self.classes) if known.lower() == wanted), None)
        if number is None:
            raise VocabularyError(
                f"Vocabulary '{self.name}' has no class '{name[:60]}'. Give the name that the "
                "class is shown by."
            )
        return number

    def _check_new(self, number: int, display: str, texts: Sequence[str]) -> None:
        """Refuse a class at row `number` that means the same as another, see `load_vocabulary`."""
        key, given = display.lower(), set(texts)
        meaning = hierarchy().find(display)
        if meaning and number < len(self) and meaning == self.synsets[number]:
            meaning = None  # which it has already, perhaps beside another class
        synsets = self.synsets if meaning else (None,) * len(self)
        every = zip(self.classes, self.synonyms, synsets, strict=True)
        for row, (name, others, synset) in enumerate(every):
            if row == number or name.lower() == key:  # which has a sentence of its own
                continue
            if not given.isdisjoint((name.lower(), *others)) or (meaning and meaning == synset):
                raise VocabularyError(
                    f"Vocabulary '{self.name}' has '{display[:60]}' already: its class '{name}' "
                    "means the same. Give another name."
                )

    def _edited(self, number: int, *given: tuple[str, tuple[str, ...]]) -> Vocabulary:
        """With the classes that are given in place of class `number`."""
        after = number + 1
        answerable = self.answerable[number:after] or (True,)
        unseen = self.unseen[number:after] or (False,)
        edited = replace(
            self,
            name=f"{self.name.removesuffix(_EDITED)}{_EDITED}",
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
        return Kinds(self.synsets)

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
        if unknown and self.name.partition(",")[0] not in _BUILTIN:
            _log.warning(
                "Of vocabulary '%s' %s %s left out: what kind of thing that is is not known.",
                self.name,
                _some([f"'{name}'" for name in unknown]),
                "are" if len(unknown) > 1 else "is",
            )
        return replace(
            self,
            name=f"{self.name}, only {' or '.join(kinds)}",
            classes=tuple(self.classes[row] for row in rows),
            synonyms=tuple(self.synonyms[row] for row in rows),
            answerable=tuple(self.answerable[row] for row in rows),
            unseen=tuple(self.unseen[row] for row in rows),
        )

    @classmethod
    def from_names(cls, names: Iterable[str], name: str = "custom") -> Vocabulary:
        """A vocabulary of one class for each name, by the paper's rule for synonyms.

        A name is split at `_or_`, `/` and `,`; underscores become blanks. The first part is the
        display name; all parts, in lower case and without repetition, are embedded. What means the
        same becomes one class, see `load_vocabulary`, as do the marks `!` and `~`.

        >>> Vocabulary.from_names(["coffee_mug/cup", "Dog"]).synonyms
        (('coffee mug', 'cup'), ('dog',))
        """
        if isinstance(names, str):
            raise VocabularyError(
                f"Vocabulary '{name}' must be a list of names, got the text {names[:60]!r}. "
                "Use load_vocabulary for a comma list."
            )
        classes: list[str] = []
        synonyms: list[tuple[str, ...]] = []
        marks: list[str] = []
        for number, entry in enumerate(names, start=1):
            if not isinstance(entry, str):
                raise VocabularyError(
                    f"Class {number} of vocabulary '{name}' must be a text, got {entry!r}."
                )
            mark, bare = _marked(entry)
            parts = _split(bare)
            if not parts:
                raise VocabularyError(
                    f"Class {number} of vocabulary '{name}' has an empty name, got {entry[:60]!r}. "
                    "Give it one or remove it."
                )
            classes.append(parts[0])
            synonyms.append(_lowered(parts))
            marks.append(mark)
        made = cls(
            name,
            tuple(classes),
            tuple(synonyms),
            tuple("!" not in mark for mark in marks),
            unseen=tuple("~" in mark for mark in marks),
        )
        return _each_meaning_once(made, by_wordnet=True)


def load_vocabulary(spec: str | Path | Sequence[str] | Vocabulary) -> Vocabulary:
    """The vocabulary that a user asks for.

    Args:
        spec: a built-in name (see `builtin_vocabularies`); a list of names; the path of a text
            file, a table (.csv), a list (.json), a COCO or LVIS annotation file (.json), a
            data.yaml of YOLO or its folder, or a folder of LabelMe's files; or
            names separated by commas,
            "cat, dog/puppy, coffee mug", where a slash separates the synonyms of a class. A
            single name needs a comma at its end ("cat,"), so that a misspelt built-in name or
            path is not taken for a class.

    A text file has one class on each line: its name and, after commas, its synonyms. A leading
    `!` marks a class that is never the answer, a `~` one that was held back in training; lines
    that start with `#` are comments. A line with `{}` is a template in place of the model's own,
    "a photo of a {}."; so is one of `TEMPLATE_SETS`. A table has the same in cells,
    `name,synonym,synonym`, a JSON list has names or
    `{"name": "cat", "synonyms": ["kitty"], "seen": false}`; there a name may have commas in it. In
    a table with a heading (name, synonyms, seen) a cell of synonyms may hold several, separated by
    semicolons or bars, and the column `seen` says yes or no.

    In a list of names each meaning is one class: "sofa, couch" is a sofa that is also called
    couch, and the log says so. Two classes mean the same if the first name of one is a name of the
    other, or if WordNet has one synset for their first names. In a text file, which may be a copy
    of a vocabulary with meanings of its own, names alone count. Built-in vocabularies and
    annotation files keep their classes, which others count on.

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
    if "," in spec:
        words = [item for item in spec.split(",") if item.strip()]
        for word in words if len(words) > 1 else ():
            if word.strip() in _BUILTIN:
                raise VocabularyError(
                    f"'{word.strip()}' is a built-in vocabulary and stands alone. To join two, "
                    "write them to one file with 'ovsam vocabulary show'."
                )
        return Vocabulary.from_names(words)
    if not spec.strip():
        raise VocabularyError(f"The vocabulary is empty. Give one of {_choices()}.")
    raise VocabularyError(
        f"There is no vocabulary '{spec[:60]}'. Give one of {_choices()}; a single class name "
        "ends with a comma."
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
    made = _from_lines(_builtin_text(name), name)
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
                made = _from_table(text, path.stem)
            case _:
                made = _from_lines(text, path.stem)
        return _each_meaning_once(made, by_wordnet=False)
    except VocabularyError as error:
        if str(path) in str(error):
            raise
        raise VocabularyError(f"'{path}': {error}") from error


def _each_meaning_once(vocabulary: Vocabulary, *, by_wordnet: bool) -> Vocabulary:
    """The same with one class where several mean the same; the first of them keeps its name."""
    if len(vocabulary) == 1:
        return vocabulary
    rows: dict[str, int] = {}  # the class that has a name or a synset, in what is kept
    firsts: dict[str, int] = {}
    kept: list[int] = []
    names: list[tuple[str, ...]] = []
    merged: list[str] = []
    every = zip(vocabulary.classes, vocabulary.synonyms, vocabulary.answerable, strict=True)
    for row, (display, texts, answerable) in enumerate(every):
        lower = display.lower()
        meaning = (hierarchy().find(display) if by_wordnet else None) or lower
        same = next(
            (
                found
                for found in (rows.get(lower), rows.get(meaning), *map(firsts.get, texts))
                if found is not None and vocabulary.answerable[kept[found]] == answerable
            ),
            None,
        )
        if same is None:
            same = len(kept)
            firsts[lower] = same
            kept.append(row)
            names.append(texts)
        else:
            if vocabulary.unseen[row] != vocabulary.unseen[kept[same]]:
                raise VocabularyError(
                    f"Vocabulary '{vocabulary.name}' has '{display}' and "
                    f"'{vocabulary.classes[kept[same]]}', which mean the same, one seen and one "
                    "not. Mark both alike."
                )
            names[same] = tuple(dict.fromkeys((*names[same], *texts)))
            merged.append(f"'{display}' is taken as '{vocabulary.classes[kept[same]]}'")
        for text in (*texts, meaning):
            rows.setdefault(text, same)
    if not merged:
        return vocabulary
    _log.warning(
        "Of vocabulary '%s' %s: they mean the same and are one class.",
        vocabulary.name,
        _some(merged),
    )
    return replace(
        vocabulary,
        classes=tuple(vocabulary.classes[row] for row in kept),
        synonyms=tuple(names),
        answerable=tuple(vocabulary.answerable[row] for row in kept),
        unseen=tuple(vocabulary.unseen[row] for row in kept),
    )


def _some(items: Sequence[str]) -> str:
    more = f" and {len(items) - _SHOWN:,} more" if len(items) > _SHOWN else ""
    return f"{', '.join(items[:_SHOWN])}{more}"


def _from_lines(text: str, name: str) -> Vocabulary:
    classes: list[str] = []
    synonyms: list[tuple[str, ...]] = []
    answerable: list[bool] = []
    unseen: list[bool] = []
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
        marks, bare = _marked(line)
        parts = _split(bare)
        if not parts:
            raise VocabularyError(
                f"Line {number} of vocabulary '{name}' has no class name, got {line[:60]!r}. "
                "Give it one or remove it."
            )
        classes.append(parts[0])
        synonyms.append(_lowered(parts))
        answerable.append("!" not in marks)
        unseen.append("~" in marks)
    return Vocabulary(
        name,
        tuple(classes),
        tuple(synonyms),
        tuple(answerable),
        tuple(templates),
        tuple(unseen),
    )


def _from_table(text: str, name: str) -> Vocabulary:
    """A row for each class: its name, its synonyms in the cells after it, and if it is seen."""
    rows = []
    unseen = []
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
                rows.append(parts)
                unseen.append(not _seen(mark, parts[0], name))
    except csv.Error as error:
        raise VocabularyError(
            f"Vocabulary '{name}' is no CSV: {error}. Give a row for each class, its name first "
            "and its synonyms after it."
        ) from error
    return _from_rows(rows, unseen, name)


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


def _from_rows(rows: Sequence[Sequence[str]], unseen: Sequence[bool], name: str) -> Vocabulary:
    """Classes by their names, which may hold any character; marks are as in a text file."""
    marks, bare = zip(*(_marked(row[0]) for row in rows), strict=True) if rows else ((), ())
    firsts = list(map(_clean, bare))
    return Vocabulary(
        name,
        tuple(firsts),
        tuple(_lowered([first, *row[1:]]) for first, row in zip(firsts, rows, strict=True)),
        tuple("!" not in mark for mark in marks),
        unseen=tuple(held or "~" in mark for held, mark in zip(unseen, marks, strict=True)),
    )


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
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
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
        rows = [
            [item] if isinstance(item, str) else [item["name"], *item.get("synonyms", ())]
            for item in content
        ]
        unseen = [isinstance(item, dict) and not item.get("seen", True) for item in content]
        made = _from_rows([list(map(_clean, row)) for row in rows], unseen, path.stem)
        return _each_meaning_once(made, by_wordnet=False)
    if isinstance(content, list) and content:
        number = next(i for i, item in enumerate(content, start=1) if not _is_class(item))
        raise VocabularyError(
            f"Class {number} of vocabulary file '{path}' must be a name, or like "
            '{"name": "cat", "synonyms": ["kitty"], "seen": true}, '
            f"got {str(content[number - 1])[:80]}."
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
    rows = content.get("annotations")
    headings = heading_ids(categories, rows if isinstance(rows, list) else ())
    if headings:
        _log.warning(
            "Of '%s' %s no class: no object has it, it is a heading of others.",
            path,
            " and ".join(f"'{c['name']}' is" for c in categories if c["id"] in headings),
        )
    categories = [category for category in categories if category["id"] not in headings]
    categories.sort(key=lambda category: category["id"])
    return Vocabulary(
        path.stem,
        # The whole name is shown: reports are compared with the file's own names.
        tuple(_clean(category["name"]) for category in categories),
        tuple(
            _lowered(_split(",".join([category["name"], *category.get("synonyms", ())])))
            for category in categories
        ),
        unseen=tuple(category.get("frequency") == "r" for category in categories),  # LVIS's rare
    )


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


def _one_class(name: str, vocabulary: str) -> tuple[str, tuple[str, ...]]:
    """Display name and synonyms of a class that is added to a vocabulary."""
    made = Vocabulary.from_names([name], vocabulary)
    return made.classes[0], made.synonyms[0]


def _marked(text: str) -> tuple[str, str]:
    """The marks `!` and `~` before a name, and the rest."""
    text = text.strip()
    bare = text.lstrip("!~")
    return text.removesuffix(bare), bare


def _split(name: str) -> list[str]:
    return [part for part in map(_clean, _SEPARATORS.split(name)) if part]


def _clean(name: str) -> str:
    return " ".join(name.replace("_", " ").split())


def _lowered(parts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.lower() for part in parts))
