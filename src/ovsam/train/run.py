"""A recipe carried out: data, model, stage, loop, checkpoint, report."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from ovsam.data.crops import Squares, anchored_photos
from ovsam.data.dataset import DataSet, read_data_set
from ovsam.data.mixture import Mixture
from ovsam.errors import TrainingError
from ovsam.train.distill import DistillBatches, DistillStage
from ovsam.train.engine import Batches, Draw, Engine, Stage
from ovsam.train.feature_cache import FeatureCache, photo_name
from ovsam.train.joint import JointStage, Turns
from ovsam.train.label import LabelBatches, LabelStage
from ovsam.train.recipe import DistillRecipe, JointRecipe, LabelRecipe, Recipe, SourceSettings
from ovsam.train.report import write_report
from ovsam.train.start import Start, prototypes_of, starting_model, write_trained
from ovsam.train.teacher import load_teacher
from ovsam.train.watch import Watch
from ovsam.vocabulary import COCO_BASE, load_vocabulary

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Source:
    """A data set with its place in the mixture.

    Attributes:
        data_set: photos and marks.
        root: the folder of its photos.
        synonyms: of its classes, in the order of `class_index`; empty without names.
        settings: of the recipe.
    """

    data_set: DataSet
    root: Path
    synonyms: tuple[tuple[str, ...], ...]
    settings: SourceSettings

    def is_whole(self, category: str) -> bool:
        """Whether a mask of this class is an object as a person means it by a click."""
        whole = self.settings.whole
        return whole if isinstance(whole, bool) else category in whole


def run_recipe(recipe: Recipe, data: Path, folder: Path) -> Path:
    """Train, and write the finished checkpoint and the report.

    Args:
        recipe: all that decides the run.
        data: the folder that the recipe's paths lie in.
        folder: of the run; one that was stopped goes on.

    Returns:
        The checkpoint.

    Raises:
        OvsamError: data, files or settings that cannot be used; see `Engine.fit`.
    """
    sources = [read_source(settings, data) for settings in recipe.data]
    engine = Engine(recipe.engine, folder)
    torch.manual_seed(recipe.engine.seed)  # of weights that begin at random
    start = starting_model(recipe.model, recipe.start)
    match recipe:
        case JointRecipe():
            stage, batches = _joint(recipe, start, sources)
        case DistillRecipe():
            stage, batches = _distill(recipe, start, sources, data, engine)
        case LabelRecipe():
            stage, batches = _label(recipe, start, sources, engine)
    done = engine.fit(stage, batches, _watched(recipe, start, data))
    path = folder / f"{recipe.model}.safetensors"
    if engine.fabric.is_global_zero:
        averaged = {name.removeprefix("model."): value for name, value in done.averaged.items()}
        seen = [] if isinstance(recipe, DistillRecipe) else _seen(sources)
        said = {"source": f"ovsam, stage {recipe.stage}; see its run's report"}
        if recipe.licence is not None:
            said["licence"] = recipe.licence
        write_trained(path, start, averaged, said, seen)
        write_report(folder, asdict(recipe), done.skipped)
    return path


def read_source(settings: SourceSettings, data: Path) -> Source:
    """A data set of a recipe.

    Raises:
        AnnotationError: it cannot be used.
        TrainingError: its classes are not those of the vocabulary that it is said to have.
    """
    images = None if settings.images is None else data / settings.images
    path = data / settings.path
    data_set = read_data_set(path, images, name=settings.path)
    for problem in data_set.problems:
        log.warning("left out: %s", problem)
    synonyms = dict(zip(data_set.classes, data_set.synonyms, strict=True))
    if settings.vocabulary is not None:
        vocabulary = load_vocabulary(settings.vocabulary)
        if len(vocabulary.classes) != len(data_set.classes):
            raise TrainingError(
                f"'{path}' has {len(data_set.classes)} classes and the vocabulary "
                f"'{settings.vocabulary}' {len(vocabulary.classes)}: leave the vocabulary out, or "
                "give the one that lists the same classes in the same order."
            )
        synonyms = dict(zip(data_set.classes, vocabulary.synonyms, strict=True))
    if settings.only is not None:
        data_set = _narrowed(data_set, settings.only)
    if settings.until is not None:
        last = settings.until
        data_set = data_set.where(lambda photo: Path(photo.member or photo.path).stem <= last)
    root = images or (path.parent if path.is_file() else path)
    return Source(data_set, root, tuple(synonyms[name] for name in data_set.classes), settings)


def _narrowed(data_set: DataSet, only: str | Sequence[str]) -> DataSet:
    """Only some classes, and only photos on which one of them is marked."""
    if only == "not-rare":
        data_set = data_set.without_rare()
    else:
        data_set = data_set.with_classes(COCO_BASE if only == "coco-base" else only)
    return data_set.where(lambda photo: bool(photo.instances) or photo.label is not None)


def _seen(sources: Sequence[Source]) -> list[tuple[str, ...]]:
    return [names for source in sources if source.settings.seen for names in source.synonyms]


def _prototypes(start: Start, sources: Sequence[Source]) -> list[Tensor]:
    """Of each source; one row of zeros where it has no names."""
    width = start.model.config.encoder.text_dim
    return [
        prototypes_of(start, source.synonyms) if source.synonyms else torch.zeros(1, 1, width)
        for source in sources
    ]


def _micro_batch(batch: int, engine: Engine) -> int:
    parts = engine.world * engine.settings.accumulate
    if batch % parts:
        raise TrainingError(
            f"A batch of {batch} cannot be spread evenly over {engine.world} processes with "
            f"{engine.settings.accumulate} micro-batches each: choose a multiple of {parts}."
        )
    return batch // parts


def _watched(recipe: Recipe, start: Start, data: Path) -> Draw | None:
    if recipe.watch is None:
        return None
    source = read_source(recipe.watch, data)
    named = bool(source.synonyms) and not isinstance(recipe, DistillRecipe)
    watch = Watch(source.data_set, prototypes_of(start, source.synonyms) if named else None)
    return lambda _: watch.draw(start.model)


def _joint(recipe: JointRecipe, start: Start, sources: Sequence[Source]) -> tuple[Stage, Batches]:
    drawn = [
        (anchored_photos(source.data_set, source.is_whole), source.settings.share)
        for source in sources
    ]
    names = [source.data_set.name for source in sources]
    kinds = {
        kind: Squares(drawn, names, look, recipe.engine.seed + i, kind)
        for i, (kind, look) in enumerate(recipe.looks.items())
    }
    stage = JointStage(start.model, _prototypes(start, sources), recipe.looks, recipe.again)
    return stage, Turns(kinds, recipe.cycle)


def _distill(
    recipe: DistillRecipe, start: Start, sources: Sequence[Source], data: Path, engine: Engine
) -> tuple[Stage, Batches]:
    caches = None
    teacher = load_teacher(recipe.teacher, recipe.image_size, str(engine.fabric.device))
    if recipe.caches:
        caches = [FeatureCache(data / folder) for folder in recipe.caches]
        for cache, source in zip(caches, sources, strict=True):
            names = [photo_name(photo, source.root) for photo in source.data_set.photos.listed]
            cache.require(names, recipe.image_size, teacher.fingerprint)
    mixture = Mixture(
        [source.data_set for source in sources],
        [source.settings.share for source in sources],
        recipe.engine.seed,
    )
    batches = DistillBatches(
        sources=[(source.data_set, source.root) for source in sources],
        mixture=mixture,
        image_size=recipe.image_size,
        size=_micro_batch(recipe.batch, engine),
        prompts=recipe.prompts,
        caches=caches,
    )
    asked = None if caches else teacher
    return DistillStage(start.model, asked, recipe.prompt_weight, recipe.recompute), batches


def _label(
    recipe: LabelRecipe, start: Start, sources: Sequence[Source], engine: Engine
) -> tuple[Stage, Batches]:
    mixture = Mixture(
        [source.data_set for source in sources],
        [source.settings.share for source in sources],
        recipe.engine.seed,
        recipe.repeat_threshold,
    )
    batches = LabelBatches(
        [source.data_set for source in sources],
        mixture,
        recipe.scene,
        recipe.prompts,
        _micro_batch(recipe.batch, engine),
    )
    stage = LabelStage(start.model, _prototypes(start, sources), recipe.rounds, recipe.recompute)
    return stage, batches
