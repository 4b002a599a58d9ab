"""The annotated objects that are evaluated, each with its name in the vocabulary."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
        unlisted: how many are of classes that it does not have at all.
    """

    by_photo: dict[int, list[NamedInstance]]
    left_out: int
    merged: tuple[str, ...]
    kinds_alone: tuple[str, ...] = ()
    unlisted: int = 0


def objects_by_vocabulary(
    annotations: Annotations, photos: Sequence[Photo], vocabularies: Sequence[Vocabulary]
) -> list[EvaluatedObjects]:
    """What is evaluated with each vocabulary.

    Of several, one may lack a class that another has: its objects do not count there.

    Raises:
        AnnotationError: no vocabulary has a class, nor a kind of it; or in one no instance counts.
        PromptError: an annotated box lies outside its photo.
    """
    names = [_names_in(annotations, photos, one) for one in vocabularies]
    known = {category for one in names for category, name in one.items() if name is not None}
    return [
        _evaluated(annotations, photos, vocabulary, own, known)
        for vocabulary, own in zip(vocabularies, names, strict=True)
    ]


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
    return objects_by_vocabulary(annotations, photos, [vocabulary])[0]


def _evaluated(
    annotations: Annotations,
    photos: Sequence[Photo],
    vocabulary: Vocabulary,
    names: Mapping[str, str | None],
    known: Collection[str],
) -> EvaluatedObjects:
    """What is evaluated; `known` are the classes that this vocabulary or another has."""
    answerable = dict(zip(vocabulary.classes, vocabulary.answerable, strict=True))
    kept: dict[int, list[NamedInstance]] = {}
    own: dict[str, dict[str, None]] = {}  # the file's classes by ours, in the order of objects
    left_out = unlisted = 0
    for photo in photos:
        for instance in annotations.by_photo[photo.id]:
            _check_box(annotations, photo, instance)
            if names[instance.category] is None and instance.category in known:
                unlisted += 1
                continue
            name = name_in(annotations, instance, vocabulary, names)
            own.setdefault(name, {})[instance.category] = None
            if answerable.get(name, True):
                kept.setdefault(photo.id, []).append((instance, name))
            else:
                left_out += 1
    if not kept:
        raise AnnotationError(
            f"There is no instance to evaluate in {annotations.source!r}: the vocabulary "
            f"{vocabulary.name!r} never answers the classes of its {left_out + unlisted:,} "
            "instances. Give another with --vocabulary."
        )
    merged = [
        f"{' and '.join(map(quoted, classes))} are both {quoted(name)}"
        if len(classes) == 2
        else f"{', '.join(map(quoted, classes))} are all {quoted(name)}"
        for name, classes in own.items()
        if len(classes) > 1
    ]
    kinds_alone = tuple(name for name in own if name not in answerable)
    return EvaluatedObjects(kept, left_out, tuple(merged), kinds_alone, unlisted)


def _names_in(
    annotations: Annotations, photos: Sequence[Photo], vocabulary: Vocabulary
) -> dict[str, str | None]:
    """What the vocabulary calls each class that is on the photos; None = it does not have it."""
    names = annotations.names_in(vocabulary)
    there = {one.category for photo in photos for one in annotations.by_photo[photo.id]}
    unknown = [one for one in annotations.categories if one.name in there and not names[one.name]]
    if unknown:
        synsets, meanings = annotated_synsets(annotations.categories), Meanings(vocabulary)
        for category in unknown:
            written, synset = category.synonyms[0], synsets[category.name]
            names[category.name] = meanings.own_name(written, synset)
    return names


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
