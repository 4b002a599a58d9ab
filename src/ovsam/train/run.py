"""A recipe carried out: data, model, stage, loop, checkpoint, report."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ovsam.config import current_name
from ovsam.data.anchors import anchored_photos
from ovsam.data.crop_source import CropSource
from ovsam.data.mixture import Mixture
from ovsam.data.object_crops import ObjectCrops
from ovsam.data.scene_batches import SceneBatches
from ovsam.errors import TrainingError
from ovsam.formats.skipped import Skipped
from ovsam.model.checkpoint import fingerprints
from ovsam.model.tensors import as_arrays
from ovsam.model.torch_bank import TorchBank
from ovsam.text.cache import TextStore
from ovsam.train.feature_cache import FeatureCache, photo_name
from ovsam.train.finished import write_trained
from ovsam.train.initial import InitialModel, initial_model, prototypes_of, text_side
from ovsam.train.joint_vocabulary import joint_vocabulary
from ovsam.train.loop import Engine
from ovsam.train.preview import Preview
from ovsam.train.recipe import DistillRecipe, JointRecipe, LabelRecipe, Recipe
from ovsam.train.report import write_report
from ovsam.train.settings import ADDED
from ovsam.train.sources import Source, read_sources, united
from ovsam.train.stage import Batches, Stage
from ovsam.train.stages.distill import DistillBatches, DistillStage
from ovsam.train.stages.joint import AlternatingBatches, JointStage
from ovsam.train.stages.label import ClassesInContext, LabelStage
from ovsam.train.teacher import load_teacher
from ovsam.vocabulary.load import load_vocabulary

log = logging.getLogger(__name__)


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
    sources, held_out = read_sources(recipe, data)
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
    trained_on = sources
    if not isinstance(recipe, DistillRecipe) and recipe.names == "union":
        trained_on = united(sources)
    match recipe:
        case JointRecipe():
            stage, batches = _joint(recipe, start, trained_on, names)
        case DistillRecipe():
            stage, batches = _distill(recipe, start, sources, data, engine)
        case LabelRecipe():
            stage, batches = _label(recipe, start, trained_on, names, engine)
    preview = None
    if held_out is not None:
        named = start.names_learnt or _learns_names(recipe, sources)
        named = named and start.model.context is None  # it changes the names' vectors as it learns
        named = named and bool(held_out.synonyms) and not isinstance(recipe, DistillRecipe)
        preview = Preview(held_out.data_set, names.bank(held_out) if named else None)
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
        metadata = {"source": f"ovsam, stage {recipe.stage}; see its run's report"}
        if recipe.licence is not None:
            metadata["licence"] = recipe.licence
        write_trained(path, start, begun, averaged, metadata, seen)
        crowds = {source.data_set.name: source.data_set.crowds for source in sources}
        write_report(folder, asdict(recipe), done.skipped, crowds)
    return path


def _decided_by(
    recipe: Recipe, stage: Stage, sources: Sequence[Source], begun: Mapping[str, Tensor]
) -> dict[str, str]:
    """What the weights depend on, beside the engine's settings, by its name in the recipe."""
    apart = {"engine", "watch", "licence", "checkpoint_activations", "caches"}
    decided = {
        name: json.dumps(value)
        for name, value in _without_added(asdict(recipe)).items()
        if name not in apart
    }
    decided["weights of start"] = json.dumps(fingerprints(as_arrays(begun)))
    if isinstance(stage, DistillStage) and stage.teacher is not None:
        decided["weights of teacher"] = json.dumps(stage.teacher.fingerprint)
    return decided | {
        f"content of data.{i}": source.data_set.fingerprint for i, source in enumerate(sources)
    }


def _without_added(settings: Any) -> Any:
    """Settings without those that older runs do not have, where they change nothing."""
    if isinstance(settings, list | tuple):
        return [_without_added(one) for one in settings]
    if not isinstance(settings, dict):
        return settings
    return {
        name: _without_added(value)
        for name, value in settings.items()
        if name not in ADDED or value != ADDED[name]
    }


def _learns_names(recipe: Recipe, sources: Sequence[Source]) -> bool:
    """Whether anything that names is trained."""
    if isinstance(recipe, DistillRecipe) or not any(source.synonyms for source in sources):
        return False
    return recipe.learns_names


def _seen(sources: Sequence[Source]) -> list[tuple[str, ...]]:
    return [names for source in sources if source.settings.seen for names in source.synonyms]


class _Names:
    """Embeds the names of data sets, each once for a run's folder."""

    def __init__(self, start: InitialModel, device: torch.device, folder: Path) -> None:
        self.start, self.device, self.folder = start, device, folder
        self.known: dict[tuple[tuple[str, ...], ...], TorchBank] = {}  # data sets may share names

    def bank(self, source: Source) -> TorchBank:
        """The bank of its classes; one vector of zeros for a data set without names."""
        if not source.synonyms:
            nothing = torch.zeros(1, self.start.model.config.encoder.text_dim, device=self.device)
            return TorchBank.of_single_names(nothing)
        return self.embedded(source.data_set.name, source.synonyms)

    def embedded(self, name: str, synonyms: tuple[tuple[str, ...], ...]) -> TorchBank:
        """The bank of classes that are given by their names; `name` is for messages."""
        if synonyms not in self.known:
            store = TextStore(self.folder / "text.sqlite")
            self.known[synonyms] = prototypes_of(self.start, name, synonyms, self.device, store)
        return self.known[synonyms]


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
    # One file may be there twice, with other classes each: its index names its vocabulary.
    vocabularies = [str(i) for i in range(len(sources))]
    drawn = []
    left_out: list[Skipped] = []
    for vocabulary, source in zip(vocabularies, sources, strict=True):
        photos, wrong = anchored_photos(source.data_set, source.is_whole, vocabulary)
        settings = source.settings
        drawn.append(CropSource(photos, settings.share, settings.balance, settings.cutouts))
        left_out += wrong
    sees = start.model.names_see_surroundings and "names" in recipe.learn
    whole_size = start.model.config.image_size if sees else None
    kinds = {
        kind: ObjectCrops(drawn, vocabularies, config, recipe.engine.seed + i, kind, whole_size)
        for i, (kind, config) in enumerate(recipe.crops.items())
        if kind in recipe.cycle
    }
    weights = recipe.name_loss
    banks = [names.bank(source) for source in sources] if weights.own else []
    joint = [
        joint_vocabulary(listed, weight, names.embedded(name, listed.synonyms), sources)
        for name, weight in weights.among.items()
        for listed in [load_vocabulary(name)]
    ]
    rounds = {kind: config.rounds for kind, config in recipe.crops.items() if kind in kinds}
    stage = JointStage(
        start.model, banks, rounds, recipe.refinement_weight, recipe.learn, weights.own, joint
    )
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
            if current_name(cache.header.teacher) != current_name(Path(recipe.teacher).stem):
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
        first_names = [[synonyms[0] for synonyms in source.synonyms] for source in sources]
        in_context = ClassesInContext(text_side(start, engine.fabric.device), first_names)
    stage = LabelStage(
        start.model, banks, recipe.learn, recipe.rounds, recipe.checkpoint_activations, in_context
    )
    return stage, batches
