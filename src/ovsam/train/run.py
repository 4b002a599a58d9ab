"""A recipe carried out: data, model, stage, loop, checkpoint, report."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ovsam.data.anchors import anchored_photos
from ovsam.data.dataset import DataSet, read_data_set
from ovsam.data.mixture import Mixture
from ovsam.data.object_crops import ObjectCrops
from ovsam.data.scene_batches import SceneBatches
from ovsam.errors import OvsamError, TrainingError
from ovsam.formats.annotations import Category
from ovsam.formats.skipped import Skipped
from ovsam.model.checkpoint import fingerprints
from ovsam.text.bank import Bank
from ovsam.text.cache import TextStore
from ovsam.train.feature_cache import FeatureCache, photo_name, photos_root
from ovsam.train.finished import write_trained
from ovsam.train.initial import InitialModel, initial_model, prototypes_of, text_side
from ovsam.train.loop import Engine
from ovsam.train.preview import Preview
from ovsam.train.recipe import DistillRecipe, JointRecipe, LabelRecipe, Recipe, SourceSettings
from ovsam.train.report import write_report
from ovsam.train.stage import Batches, Stage
from ovsam.train.stages.distill import DistillBatches, DistillStage
from ovsam.train.stages.joint import AlternatingBatches, JointStage
from ovsam.train.stages.label import ClassesInContext, LabelStage
from ovsam.train.teacher import load_teacher
from ovsam.vocabulary.vocabulary import COCO_BASE, load_vocabulary

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
    sources, watched = _read_all(recipe, data)
    for source in sources:
        if (many := source.data_set.many_crowds) is not None:
            log.warning("'%s': %s", source.data_set.name, many)
    engine = Engine(recipe.engine, folder)
    torch.manual_seed(recipe.engine.seed)  # of weights that begin at random
    start = initial_model(recipe.model, recipe.start)
    if isinstance(recipe, JointRecipe) and start.model.region_head is None:
        raise TrainingError(
            f"'{recipe.model}' has no region head, which the stage 'joint' trains: train the model "
            "without the baseline, or the baseline by the stage 'label'."
        )
    names = _Names(start, engine.fabric.device, folder)
    taught = sources
    if not isinstance(recipe, DistillRecipe) and recipe.names == "union":
        taught = united(sources)
    match recipe:
        case JointRecipe():
            stage, batches = _joint(recipe, start, taught, names)
        case DistillRecipe():
            stage, batches = _distill(recipe, start, sources, data, engine)
        case LabelRecipe():
            stage, batches = _label(recipe, start, taught, names, engine)
    preview = None
    if watched is not None:
        named = start.names_learnt or _learns_names(recipe, sources)
        named = named and start.model.context is None  # it changes the names' vectors as it learns
        named = named and bool(watched.synonyms) and not isinstance(recipe, DistillRecipe)
        preview = Preview(watched.data_set, names.bank(watched) if named else None)
    # After a sharded run only what has learnt is whole again.
    begun = {name: tensor.clone() for name, tensor in start.model.state_dict().items()}
    done = engine.fit(
        stage,
        batches,
        None if preview is None else lambda _: preview.draw(start.model),
        _decided_by(recipe, stage, sources, begun),
    )
    path = folder / f"{recipe.model}.safetensors"
    if engine.fabric.is_global_zero:
        averaged = {name.removeprefix("model."): value for name, value in done.averaged.items()}
        averaged = {
            name: value.lerp(begun[name].to(value), recipe.start.keep)
            for name, value in averaged.items()
        }
        seen = _seen(sources) if _learns_names(recipe, sources) else None
        said = {"source": f"ovsam, stage {recipe.stage}; see its run's report"}
        if recipe.licence is not None:
            said["licence"] = recipe.licence
        write_trained(path, start, begun, averaged, said, seen)
        crowds = {source.data_set.name: source.data_set.crowds for source in sources}
        write_report(folder, asdict(recipe), done.skipped, crowds)
    return path


def _read_all(recipe: Recipe, data: Path) -> tuple[list[Source], Source | None]:
    """The data sets for training, and the one for previews; or all that is wrong with them."""
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


def _decided_by(
    recipe: Recipe, stage: Stage, sources: Sequence[Source], begun: Mapping[str, Tensor]
) -> dict[str, str]:
    """What the weights depend on, beside the engine's settings, by its name in the recipe."""
    apart = {"engine", "watch", "licence", "checkpoint_activations", "caches"}
    decided = {
        name: json.dumps(value) for name, value in asdict(recipe).items() if name not in apart
    }
    decided["weights of start"] = json.dumps(fingerprints(begun))
    if isinstance(stage, DistillStage) and stage.teacher is not None:
        decided["weights of teacher"] = json.dumps(stage.teacher.fingerprint)
    return decided | {
        f"content of data.{i}": source.data_set.fingerprint for i, source in enumerate(sources)
    }


def read_source(settings: SourceSettings, data: Path) -> Source:
    """A data set of a recipe.

    Raises:
        AnnotationError: it cannot be used.
        TrainingError: its classes are not those of the vocabulary that it is said to have.
    """
    images = None if settings.images is None else data / settings.images
    path = data / settings.path
    data_set = read_data_set(path, images, name=settings.path)
    synonyms = dict(zip(data_set.classes, data_set.synonyms, strict=True))
    if settings.vocabulary is not None:
        synonyms = _looked_up(data_set, settings.vocabulary)
    if settings.only is not None:
        data_set = _narrowed(data_set, settings.only)
    if settings.until is not None:
        last = settings.until
        data_set = data_set.where(lambda photo: Path(photo.member or photo.path).stem <= last)
    root = photos_root(path, images)
    return Source(data_set, root, tuple(synonyms[name] for name in data_set.classes), settings)


def _looked_up(data_set: DataSet, name: str) -> dict[str, tuple[str, ...]]:
    """A vocabulary's synonyms of the classes: by their names, or by place where all are codes."""
    vocabulary = load_vocabulary(name)
    known = dict(zip(vocabulary.classes, vocabulary.synonyms, strict=True))
    classes = data_set.classes
    if len(classes) == len(known) and not any(map(vocabulary.class_of, classes)):
        return dict(zip(classes, vocabulary.synonyms, strict=True))
    own = zip(classes, data_set.synonyms, strict=True)
    found = {each: vocabulary.class_of(each, texts) for each, texts in own}
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


def _learns_names(recipe: Recipe, sources: Sequence[Source]) -> bool:
    """Whether what names is taught anything."""
    if isinstance(recipe, DistillRecipe) or not any(source.synonyms for source in sources):
        return False
    return recipe.learns_names


def _seen(sources: Sequence[Source]) -> list[tuple[str, ...]]:
    return [names for source in sources if source.settings.seen for names in source.synonyms]


def united(sources: Sequence[Source]) -> list[Source]:
    """The same data sets, each with the classes of all; those of one first name are one class.

    Data sets without names stay as they are.
    """
    place: dict[str, int] = {}  # of a class, by its first name
    classes: list[dict[str, None]] = []  # the names of each, in order
    places: list[list[int]] = []
    for source in sources:
        mine: list[int] = []
        for names in source.synonyms:
            at = place.get(names[0].lower())
            if at is None or at in mine:  # LVIS has two classes that are called "bow"
                at = len(classes)
                classes.append({})
            place.setdefault(names[0].lower(), at)
            classes[at].update(dict.fromkeys(names))
            mine.append(at)
        places.append(mine)
    synonyms = tuple(map(tuple, classes))
    return [
        _among(source, synonyms, mine) if mine else source
        for source, mine in zip(sources, places, strict=True)
    ]


def _among(source: Source, synonyms: tuple[tuple[str, ...], ...], places: Sequence[int]) -> Source:
    """A data set with its classes at their places among others."""
    data_set = source.data_set
    # No data set writes such a name: it keeps the place of a class that this one has not.
    categories = [Category(f"\0{i}", names) for i, names in enumerate(synonyms)]
    for category, at in zip(data_set.categories, places, strict=True):
        categories[at] = replace(category, synonyms=synonyms[at])
    joined = replace(data_set, categories=tuple(categories))
    return replace(source, data_set=joined, synonyms=synonyms)


class _Names:
    """Embeds the names of data sets, each once for a run's folder."""

    def __init__(self, start: InitialModel, device: torch.device, folder: Path) -> None:
        self.start, self.device, self.folder = start, device, folder
        self.known: dict[tuple[tuple[str, ...], ...], Bank] = {}  # data sets may share names

    def bank(self, source: Source) -> Bank:
        """The bank of its classes; one vector of zeros for a data set without names."""
        if not source.synonyms:
            nothing = torch.zeros(1, self.start.model.config.encoder.text_dim, device=self.device)
            return Bank.of(nothing, [1])
        if source.synonyms not in self.known:
            store = TextStore(self.folder / "text.sqlite")
            name = source.data_set.name
            made = prototypes_of(self.start, name, source.synonyms, self.device, store)
            self.known[source.synonyms] = made
        return self.known[source.synonyms]


def _micro_batch(batch: int, engine: Engine) -> int:
    parts = engine.world * engine.settings.accumulate
    if batch % parts:
        raise TrainingError(
            f"A batch of {batch} cannot be spread evenly over {engine.world} processes with "
            f"{engine.settings.accumulate} micro-batches each: choose a multiple of {parts}."
        )
    return batch // parts


def _joint(
    recipe: JointRecipe, start: InitialModel, sources: Sequence[Source], names: _Names
) -> tuple[Stage, Batches]:
    # One file may be there twice, with other classes each: its place names its vocabulary.
    places = [str(i) for i in range(len(sources))]
    drawn = []
    left_out: list[Skipped] = []
    for place, source in zip(places, sources, strict=True):
        photos, wrong = anchored_photos(source.data_set, source.is_whole, place)
        drawn.append((photos, source.settings.share))
        left_out += wrong
    kinds = {
        kind: ObjectCrops(drawn, places, config, recipe.engine.seed + i, kind)
        for i, (kind, config) in enumerate(recipe.crops.items())
        if kind in recipe.cycle
    }
    banks = [names.bank(source) for source in sources]
    rounds = {kind: config.rounds for kind, config in recipe.crops.items() if kind in kinds}
    stage = JointStage(start.model, banks, rounds, recipe.refinement_weight, recipe.learn)
    return stage, AlternatingBatches(
        kinds, recipe.cycle, [source.data_set for source in sources], left_out
    )


def _distill(
    recipe: DistillRecipe,
    start: InitialModel,
    sources: Sequence[Source],
    data: Path,
    engine: Engine,
) -> tuple[Stage, Batches]:
    teacher, caches = None, None
    if recipe.caches:
        caches = [FeatureCache(data / folder) for folder in recipe.caches]
        for cache, source in zip(caches, sources, strict=True):
            wanted = [photo_name(photo, source.root) for photo in source.data_set.photos.listed]
            cache.require(wanted, recipe.image_size, caches[0].header.fingerprint)
            if cache.header.teacher != Path(recipe.teacher).stem:
                raise TrainingError(
                    f"'{cache.folder}' holds what '{cache.header.teacher}' taught, the recipe "
                    f"names '{recipe.teacher}': set teacher, or give another cache."
                )
    else:
        teacher = load_teacher(recipe.teacher, recipe.image_size, str(engine.fabric.device))
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
    return DistillStage(
        start.model, teacher, recipe.prompt_weight, recipe.checkpoint_activations
    ), batches


def _label(
    recipe: LabelRecipe,
    start: InitialModel,
    sources: Sequence[Source],
    names: _Names,
    engine: Engine,
) -> tuple[Stage, Batches]:
    mixture = Mixture(
        [source.data_set for source in sources],
        [source.settings.share for source in sources],
        recipe.engine.seed,
        recipe.repeat_threshold,
    )
    batches = SceneBatches(
        [source.data_set for source in sources],
        mixture,
        recipe.scene,
        recipe.prompts,
        _micro_batch(recipe.batch, engine),
    )
    banks = [names.bank(source) for source in sources] if recipe.learns_names else []
    config = start.model.config
    if config.sam is not None and recipe.scene.size != config.image_size:
        raise TrainingError(
            f"'{config.name}' sees photos at SAM's {config.image_size} pixels, not at "
            f"{recipe.scene.size}: set scene.size={config.image_size}."
        )
    in_context = None
    if start.model.context is not None:
        firsts = [[synonyms[0] for synonyms in source.synonyms] for source in sources]
        in_context = ClassesInContext(text_side(start, engine.fabric.device), firsts)
    stage = LabelStage(
        start.model, banks, recipe.learn, recipe.rounds, recipe.checkpoint_activations, in_context
    )
    return stage, batches
