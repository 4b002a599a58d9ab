"""A recipe: all that decides a training run, in one TOML file; any field can be changed in passing.

    ovsam train clip2sam-coco --data /photos --set engine.steps=100 --set data.0.share=0.5

Recipes of the paper's runs ship in `ovsam/recipes/`.
"""

from __future__ import annotations

import copy
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from ovsam.data.object_crops import ObjectCropConfig
from ovsam.data.prompts import PromptConfig
from ovsam.data.scene_crops import SceneCropConfig
from ovsam.errors import SettingError, TrainingError
from ovsam.train.settings import RENAMED, EngineSettings

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
_UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")  # what pydantic calls them


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class SourceSettings:
    """One data set of a mixture."""

    path: str
    """An annotation file or a folder, within the data folder (see `ovsam data check`)."""
    images: str | None = None
    """The photos of an annotation file; beside it if not given."""
    share: float = Field(default=1.0, gt=0)
    """How often it is drawn from, relative to the others."""
    vocabulary: str | None = None
    """A built-in vocabulary that lists the same classes with their synonyms; otherwise the names
    are the data set's own."""
    until: str | None = None
    """The last photo to use, by its file's name without suffix; those after it are held out."""
    whole: bool | tuple[str, ...] = True
    """Whether its masks are objects as a person means them by a click; or which of its classes."""
    only: Literal["coco-base", "not-rare"] | tuple[str, ...] | None = None
    """Only these of its classes, so that the others are novel: COCO's 48 base classes, LVIS's
    common and frequent ones, or names as the data set writes them."""
    seen: bool = True
    """Whether the region head is trusted on its classes afterwards, or the frozen encoder is."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class StartSettings:
    """What a model starts from: a checkpoint, or the files of CLIP and SAM."""

    checkpoint: str | None = None
    """A checkpoint of ovsam, or `lite` for the one that ships."""
    reinitialise: tuple[Literal["adapter", "region_head", "mask_decoder"], ...] = ()
    """Parts of it that begin with random weights nevertheless."""
    region_head: Literal["pyramid", "token", "token+clip"] | None = None
    """A region head of this kind, which begins with random weights (Table 6); None = as it is."""
    keep: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the checkpoint's own weights in the finished ones, so that what it could is not
    lost for what it learns (Wortsman et al. 2022, "Robust fine-tuning")."""
    clip: str | None = None
    """CLIP's `open_clip_model.safetensors`, of the model's trunk."""
    sam: str | None = None
    """SAM's `.pth`: prompt encoder and mask decoder."""

    def contradictions(self) -> Iterator[str]:
        """A sentence for each setting that others contradict."""
        if self.checkpoint is not None and (self.clip is not None or self.sam is not None):
            yield "give a checkpoint, or clip and sam, not both"
        if self.reinitialise and self.checkpoint is None:
            yield "reinitialise says which parts of a checkpoint to leave out; there is none"
        if self.keep and (
            self.checkpoint is None or self.reinitialise or self.region_head is not None
        ):
            yield "keep needs a checkpoint of which no part is reinitialised"


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class _AnyRecipe:
    """What every run has."""

    model: str
    licence: str | None = None
    """What the finished weights say of their terms."""
    start: StartSettings = StartSettings()
    data: tuple[SourceSettings, ...] = Field(min_length=1)
    watch: SourceSettings | None = None
    """Photos apart from the others, on which each checkpoint's predictions are drawn."""
    engine: EngineSettings

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if wrong := list(_contradictions(self)):
            raise _ContradictionsError(wrong)
        return self


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class _NamingRecipe(_AnyRecipe, ABC):
    """What a run has that teaches names."""

    names: Literal["own", "union"] = "own"
    """Among which names an object's is to be found: those of its data set, or those of all."""

    @property
    @abstractmethod
    def learns_names(self) -> bool:
        """Whether anything that names is trained."""

    def contradictions(self) -> Iterator[str]:
        """A sentence for each setting that others contradict."""
        if self.names == "union" and not self.learns_names:
            yield 'names = "union" is for what learns names, which learn leaves out'


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class JointRecipe(_NamingRecipe):
    """Adapter, decoder and region head at once, on square crops of photos with masks (`lite`)."""

    stage: Literal["joint"]
    crops: dict[str, ObjectCropConfig] = Field(min_length=1)
    """Kinds of batches by name, and how the crops of each are drawn."""
    cycle: tuple[str, ...] = Field(min_length=1)
    """The order in which batches of these kinds take turns."""
    refinement_weight: float = Field(default=0.3, ge=0)
    """Weight of the loss of each refinement round."""
    learn: Annotated[tuple[Literal["masks", "names"], ...], Field(min_length=1)] = (
        "masks",
        "names",
    )
    """What is taught; for names alone only the region head changes."""

    def contradictions(self) -> Iterator[str]:
        """A sentence for each setting that others contradict."""
        if unknown := sorted(set(self.cycle) - set(self.crops)):
            yield f"cycle names {', '.join(unknown)}, which crops does not describe"
        yield from super().contradictions()

    @property
    def learns_names(self) -> bool:
        """Whether the region head is trained."""
        return "names" in self.learn


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class DistillRecipe(_AnyRecipe):
    """Stage 1, SAM2CLIP: the adapter learns a teacher's embedding."""

    stage: Literal["distill"]
    teacher: str
    """sam-vit-b, -l or -h, SAM's `.pth`, or a checkpoint of ovsam."""
    image_size: Annotated[int, Field(gt=0, multiple_of=32)] = 1024
    batch: Positive = 16
    """Photos of a step, over all processes."""
    prompts: Annotated[int, Field(ge=0)] = 0
    """Objects of a photo that student and teacher are both prompted for; 0 = embeddings alone."""
    prompt_weight: float = Field(default=0.0, ge=0)
    """Weight of the difference of these masks."""
    checkpoint_activations: bool = False
    """Whether activations are computed again for the gradient, which saves memory."""
    caches: tuple[str, ...] = ()
    """For each data set what `ovsam cache-features` made; none = the teacher runs at each step."""

    def contradictions(self) -> Iterator[str]:
        """A sentence for each setting that others contradict."""
        if (self.prompts > 0) != (self.prompt_weight > 0):
            yield "prompts and prompt_weight must be given together, or neither"
        if self.caches and len(self.caches) != len(self.data):
            yield (
                f"caches must have one for each of the {len(self.data)} data sets or none, "
                f"got {len(self.caches)}"
            )


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class LabelRecipe(_NamingRecipe):
    """Stage 2, CLIP2SAM: decoder and region head on photos with masks, boxes or names."""

    stage: Literal["label"]
    learn: Annotated[
        tuple[Literal["region_head", "mask_decoder", "context", "conv_adapter"], ...],
        Field(min_length=1),
    ] = ("region_head", "mask_decoder")
    """The parts that are trained (Table 4); a baseline has a context or a conv_adapter instead of
    the region head, or nothing."""
    scene: SceneCropConfig = SceneCropConfig()
    prompts: PromptConfig = PromptConfig()
    rounds: Annotated[int, Field(ge=0)] = 0
    """Corrective clicks after the first prompt (SAM, appendix A)."""
    checkpoint_activations: bool = False
    """Whether activations are computed again for the gradient, which saves memory."""
    repeat_threshold: Share = 0.0
    """Classes on a smaller share of the photos are drawn more often (LVIS: 0.001)."""
    batch: Positive = 16
    """Photos of a step, over all processes."""

    def contradictions(self) -> Iterator[str]:
        """A sentence for each setting that others contradict."""
        if self.scene.size % 32:
            yield f"scene.size must be a multiple of 32, got {self.scene.size}"
        if self.rounds and "mask_decoder" not in self.learn:
            yield "rounds are refinements by the mask decoder, which learn leaves out"
        if untaught := sorted(set(self.start.reinitialise) - set(self.learn)):
            yield f"start.reinitialise names {' and '.join(untaught)}, which learn leaves out"
        yield from super().contradictions()

    @property
    def learns_names(self) -> bool:
        """Whether anything that names is trained."""
        return set(self.learn) != {"mask_decoder"}


class _ContradictionsError(ValueError):
    """Sentences, each with where it is said of."""

    def __init__(self, sentences: Sequence[str]) -> None:
        super().__init__("; ".join(sentences))
        self.sentences = sentences


def _contradictions(part: Any, where: str = "") -> Iterator[str]:
    """What a part of a recipe and the parts within it say of themselves."""
    if isinstance(part, Mapping):
        within = list(part.items())
    elif isinstance(part, tuple):
        within = list(enumerate(part))
    elif is_dataclass(part):
        within = [(field.name, getattr(part, field.name)) for field in fields(part)]
    else:
        return
    if hasattr(part, "contradictions"):
        yield from (f"{where or 'the recipe'}: {sentence}" for sentence in part.contradictions())
    for name, one in within:
        yield from _contradictions(one, f"{where}.{name}".lstrip("."))


Recipe = Annotated[JointRecipe | DistillRecipe | LabelRecipe, Field(discriminator="stage")]
_RECIPE: TypeAdapter[Any] = TypeAdapter(Recipe)


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    folder = Path(str(resources.files("ovsam") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_recipe(name_or_path: str, changes: Sequence[str] = ()) -> Recipe:
    """A shipped recipe or one's own file, with changes such as `engine.steps=100`.

    Raises:
        TrainingError: no such recipe, no TOML, or settings that are unknown, wrong or contradict
            each other: all of them at once.
        SettingError: the same of the changes to a recipe that can be used.
    """
    path = shipped_recipes().get(name_or_path, Path(name_or_path))
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(
            f"There is no recipe '{name_or_path}' ({error.strerror}). Give the path of a TOML "
            f"file, or one of {', '.join(shipped_recipes())}."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainingError(f"'{path}' is not TOML: {error}.") from error
    changed = copy.deepcopy(content)
    for change in changes:
        _change(changed, change)
    recipe, found = _validated(changed)
    if recipe is None:
        lines = [f"- {sentence}" for sentence in found]
        if changes and _validated(content)[0] is not None:
            head = f"{' '.join(changes)}: with these settings '{name_or_path}' cannot be used:"
            raise SettingError("\n".join([head, *lines]))
        raise TrainingError("\n".join([f"'{path}' cannot be used:", *lines]))
    return recipe


def _validated(content: dict[str, Any]) -> tuple[Recipe | None, list[str]]:
    """The recipe, or a sentence for each thing that is wrong with it."""
    try:
        return _RECIPE.validate_python(content), []
    except ValidationError as error:
        details = error.errors(include_url=False)
    # A list is also called too short where its elements are refused.
    refused = [detail["loc"] for detail in details if detail["type"] != "too_short"]
    details = [
        detail
        for detail in details
        if detail["type"] != "too_short"
        or not any(place[: len(detail["loc"])] == detail["loc"] for place in refused)
    ]
    found = [sentence for detail in details for sentence in _sentences(detail)]
    # Contradictions are only looked for among settings that are known and of their type.
    unknown = [detail["loc"][1:] for detail in details if detail["type"] in _UNKNOWN]
    if unknown and len(unknown) == len(details):
        rest = copy.deepcopy(content)
        for *parents, last in unknown:
            place: Any = rest
            for part in parents:
                place = place[part]
            del place[last]
        found += _validated(rest)[1]
    return None, found


def _sentences(detail: Mapping[str, Any]) -> Sequence[str]:
    if isinstance(error := detail.get("ctx", {}).get("error"), _ContradictionsError):
        return error.sentences
    # The first part is the stage, which the kind of recipe goes by.
    where = ".".join(map(str, detail["loc"][1:])) or "the recipe"
    if detail["type"] == "missing":
        return [f"{where} is missing"]
    if detail["type"] in _UNKNOWN:
        renamed = RENAMED.get(str(detail["loc"][-1]))
        return [f"{where} is no setting" + (f": it is {renamed} now" if renamed else "")]
    return [f"{where}: {detail['msg'][0].lower()}{detail['msg'][1:]}, got {detail['input']!r}"]


def _change(content: dict[str, Any], change: str) -> None:
    """Set one field: `engine.steps=100`, `data.0.path="b"`; a bare word is text."""
    name, sign, text = change.partition("=")
    *parents, last = name.strip().split(".")
    if not sign or not last:
        raise SettingError(f"A change must read NAME=VALUE, like engine.steps=100; got '{change}'.")
    place: Any = content
    try:
        for part in parents:
            place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
        if any(part.startswith("-") for part in (*parents, last)):
            raise IndexError(name)
        if isinstance(place, list):
            place[int(last)] = _value(text)
        else:
            place[last] = _value(text)
    except (ValueError, IndexError, AttributeError, TypeError) as error:
        raise SettingError(
            f"'{name}' names nothing that the recipe has; lists are counted from 0."
        ) from error


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()
