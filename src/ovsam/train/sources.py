"""The data sets of a recipe: each read, narrowed to the classes and photos that are trained on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ovsam.data.dataset import DataSet, read_data_set
from ovsam.errors import OvsamError, TrainingError
from ovsam.formats.annotations import Category
from ovsam.train.feature_cache import photos_root
from ovsam.train.recipe import Recipe, SourceSettings
from ovsam.vocabulary.builtin import COCO_BASE
from ovsam.vocabulary.load import load_vocabulary
from ovsam.vocabulary.wordnet import hierarchy

_Entry = tuple[tuple[str, ...], str | None]  # the names of a class, and its synset
_BEHIND = re.compile(r" (?:with|without|for|on|in|and) ")  # what follows the noun of a name


@dataclass(frozen=True, eq=False)
class Source:
    """A data set with its settings in the mixture.

    Attributes:
        data_set: photos and annotations.
        root: the folder of its photos.
        synonyms: of its classes, in the order of `class_index`; empty without names.
        synsets: for each class what it means, or is a kind of; None = not known.
        settings: of the recipe.
    """

    data_set: DataSet
    root: Path
    synonyms: tuple[tuple[str, ...], ...]
    synsets: tuple[str | None, ...]
    settings: SourceSettings

    def is_whole(self, category: str) -> bool:
        """Whether a mask of this class is an object as a person means it by a click."""
        whole = self.settings.whole
        return whole if isinstance(whole, bool) else category in whole


def read_source(settings: SourceSettings, data: Path) -> Source:
    """A data set of a recipe.

    Raises:
        AnnotationError: it cannot be used.
        TrainingError: its classes are not those of the vocabulary that it is said to have.
    """
    images = None if settings.images is None else data / settings.images
    path = data / settings.path
    data_set = read_data_set(path, images, name=settings.path)
    entries = {each.name: _own_entry(each) for each in data_set.categories}
    if settings.vocabulary is not None:
        entries = _entries_in(data_set, settings.vocabulary)
    if settings.only is not None:
        data_set = _narrowed(data_set, settings.only)
    if settings.until is not None:
        last = settings.until
        data_set = data_set.where(lambda photo: Path(photo.member or photo.path).stem <= last)
    chosen = [entries[name] for name in data_set.classes]
    return Source(
        data_set,
        photos_root(path, images),
        synonyms=tuple(synonyms for synonyms, _ in chosen),
        synsets=tuple(synset for _, synset in chosen),
        settings=settings,
    )


def _own_entry(category: Category) -> _Entry:
    """A class by its own names: what these mean to LVIS, in which things are everyday ones."""
    if category.name in hierarchy():  # a synset, as ImageNet's folders are called
        return category.synonyms, category.name
    everyday = load_vocabulary("lvis")
    meant = dict(zip(everyday.classes, everyday.synsets, strict=True))
    for name in category.synonyms:
        if (found := everyday.class_of(name) or "") in meant:
            return category.synonyms, meant[found]
        if (synset := hierarchy().find(name)) is not None:
            return category.synonyms, synset
    # A children's chair with armrests is a chair.
    words = _BEHIND.split(category.synonyms[0])[0].split()
    endings = (everyday.class_of(" ".join(words[i:])) for i in range(len(words)))
    return category.synonyms, next((meant[name] for name in endings if name), None)


def _entries_in(data_set: DataSet, name: str) -> dict[str, _Entry]:
    """A vocabulary's entries of the classes, by synset or name; in order where all are codes."""
    vocabulary = load_vocabulary(name)
    entries = list(zip(vocabulary.synonyms, vocabulary.synsets, strict=True))
    known = dict(zip(vocabulary.classes, entries, strict=True))
    classes = data_set.classes
    if len(classes) == len(known) and not any(map(vocabulary.class_of, classes)):
        return dict(zip(classes, entries, strict=True))
    by_synset = dict(zip(vocabulary.synsets, vocabulary.classes, strict=True))
    own = zip(classes, data_set.synonyms, strict=True)
    found = {each: by_synset.get(each) or vocabulary.class_of(each, texts) for each, texts in own}
    missing = sorted(each for each, name in found.items() if name is None)
    if missing:
        raise TrainingError(
            f"'{data_set.name}' has {len(classes)} classes, '{missing[0]}' among them, and the "
            f"vocabulary '{name}' {len(known)} others: leave the vocabulary out, or give the one "
            "that lists these classes."
        )
    return {each: known[name] for each, name in found.items() if name is not None}


def _narrowed(data_set: DataSet, only: str | Sequence[str]) -> DataSet:
    """Only some classes, and only photos on which one of them is marked."""
    if only == "not-rare":
        data_set = data_set.without_rare()
    else:
        data_set = data_set.with_classes(COCO_BASE if only == "coco-base" else only)
    return data_set.where(lambda photo: bool(photo.instances) or photo.label is not None)


def read_sources(recipe: Recipe, data: Path) -> tuple[list[Source], Source | None]:
    """The data sets for training, and the one for previews.

    Raises:
        TrainingError: says of each what is wrong with it.
    """
    wrong: list[str] = []

    def read(settings: SourceSettings) -> Source | None:
        try:
            return read_source(settings, data)
        except OvsamError as error:
            wrong.append(str(error))
            return None

    sources = [source for each in recipe.data if (source := read(each)) is not None]
    watched = None if recipe.watch is None else read(recipe.watch)
    if wrong:
        listed = wrong if len(wrong) == 1 else [f"{len(wrong)} data sets cannot be used:", *wrong]
        raise TrainingError("\n- ".join(listed))
    return sources, watched


def united(sources: Sequence[Source]) -> list[Source]:
    """The same data sets, each with the classes of all; those of one first name are one class.

    Data sets without names stay as they are.
    """
    index_of: dict[str, int] = {}  # of a class, by its first name
    classes: list[dict[str, None]] = []  # the names of each, in order
    meanings: list[str | None] = []  # the synset of each
    indices: list[list[int]] = []  # for each data set those of its classes
    for source in sources:
        own: list[int] = []
        for names, synset in zip(source.synonyms, source.synsets, strict=True):
            index = index_of.get(names[0].lower())
            if index is None or index in own:  # LVIS has two classes that are called "bow"
                index = len(classes)
                classes.append({})
                meanings.append(synset)
            index_of.setdefault(names[0].lower(), index)
            classes[index].update(dict.fromkeys(names))
            own.append(index)
        indices.append(own)
    synonyms = tuple(map(tuple, classes))
    return [
        _among(source, synonyms, tuple(meanings), own) if own else source
        for source, own in zip(sources, indices, strict=True)
    ]


def _among(
    source: Source,
    synonyms: tuple[tuple[str, ...], ...],
    synsets: tuple[str | None, ...],
    indices: Sequence[int],
) -> Source:
    """A data set with its classes at these indices among others."""
    data_set = source.data_set
    # No data set writes such a name: it keeps the index of a class that this one has not.
    categories = [Category(f"\0{i}", names) for i, names in enumerate(synonyms)]
    for category, index in zip(data_set.categories, indices, strict=True):
        categories[index] = replace(category, synonyms=synonyms[index])
    joined = replace(data_set, categories=tuple(categories))
    return replace(source, data_set=joined, synonyms=synonyms, synsets=synsets)
