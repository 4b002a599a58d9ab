"""The annotated objects that are evaluated, each with its name in the vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ovsam.errors import AnnotationError, PromptError, quoted
from ovsam.evaluate.meaning import Meanings, annotated_synsets
from ovsam.formats.annotations import Annotations, Instance, Photo
from ovsam.structures import Prompt
from ovsam.vocabulary.vocabulary import Vocabulary

NamedInstance = tuple[Instance, str]
"""An annotated object and its name, as the vocabulary writes it."""


@dataclass(frozen=True)
class EvaluatedObjects:
    """What is evaluated.

    Attributes:
        by_photo: by photo id the instances that count, each with its annotated name.
        left_out: how many do not, being of classes that are never answered.
        merged: a sentence for each class of the vocabulary that is several of the file's.
        kinds_alone: the file's classes of which the vocabulary has kinds and not the class itself.
    """

    by_photo: dict[int, list[NamedInstance]]
    left_out: int
    merged: tuple[str, ...]
    kinds_alone: tuple[str, ...] = ()


def evaluated_objects(
    annotations: Annotations, photos: Sequence[Photo], vocabulary: Vocabulary
) -> EvaluatedObjects:
    """The instances of the photos with their annotated names.

    A class that the vocabulary does not have by name is its class of the same meaning; where there
    are only kinds of it, the name is the file's own.

    Raises:
        AnnotationError: a class is not in the vocabulary, nor a kind of it, or no instance counts.
        PromptError: an annotated box lies outside its photo.
    """
    answerable = dict(zip(vocabulary.classes, vocabulary.answerable, strict=True))
    names = {
        **annotations.names_in(vocabulary),
        **_names_by_meaning(annotations, photos, vocabulary),
    }
    kept: dict[int, list[NamedInstance]] = {}
    own: dict[str, dict[str, None]] = {}  # the file's classes by ours, in the order of objects
    left_out = 0
    for photo in photos:
        for instance in annotations.by_photo[photo.id]:
            _check_box(annotations, photo, instance)
            name = name_in(annotations, instance, vocabulary, names)
            own.setdefault(name, {})[instance.category] = None
            if answerable.get(name, True):
                kept.setdefault(photo.id, []).append((instance, name))
            else:
                left_out += 1
    if not kept:
        raise AnnotationError(
            f"There is no instance to evaluate in {annotations.source!r}: the vocabulary "
            f"{vocabulary.name!r} never answers the classes of its {left_out:,} instances. Give "
            "another with --vocabulary."
        )
    merged = [
        f"{' and '.join(map(quoted, classes))} are both {quoted(name)}"
        if len(classes) == 2
        else f"{', '.join(map(quoted, classes))} are all {quoted(name)}"
        for name, classes in own.items()
        if len(classes) > 1
    ]
    kinds_alone = tuple(name for name in own if name not in answerable)
    return EvaluatedObjects(kept, left_out, tuple(merged), kinds_alone)


def _names_by_meaning(
    annotations: Annotations, photos: Sequence[Photo], vocabulary: Vocabulary
) -> dict[str, str]:
    """Names for the classes on these photos that the vocabulary does not have by name."""
    names = annotations.names_in(vocabulary)
    there = {one.category for photo in photos for one in annotations.by_photo[photo.id]}
    unknown = [one for one in annotations.categories if one.name in there and not names[one.name]]
    found = {}
    if unknown:
        synsets, meanings = annotated_synsets(annotations.categories), Meanings(vocabulary)
        for category in unknown:
            name = meanings.own_name(category.synonyms[0], synsets[category.name])
            if name is not None:
                found[category.name] = name
    return found


def _check_box(annotations: Annotations, photo: Photo, instance: Instance) -> None:
    try:
        Prompt(box_xyxy=instance.box_xyxy).check_inside(photo.size_hw)
    except PromptError as error:
        raise PromptError(
            f"Annotation {instance.id} of {annotations.source!r}: {error} Correct it or take it "
            "out of the file."
        ) from error


def name_in(
    annotations: Annotations,
    instance: Instance,
    vocabulary: Vocabulary,
    names: Mapping[str, str | None],
) -> str:
    """The vocabulary's name for an annotated object, as `Annotations.names_in` has found it.

    Raises:
        AnnotationError: it has none.
    """
    name = names[instance.category]
    if name is None:
        start = f"{instance.category.lower()} ("
        near = next(
            (other for other in vocabulary.classes if other.lower().startswith(start)), None
        )
        but = "" if near is None else f" (it has {quoted(near)})"
        raise AnnotationError(
            f"Annotation {instance.id} of {annotations.source!r} is of the class "
            f"{quoted(instance.category)}, which the vocabulary {vocabulary.name!r} does not have"
            f"{but}. Give one that has it with --vocabulary, such as the annotation file itself."
        )
    return name
