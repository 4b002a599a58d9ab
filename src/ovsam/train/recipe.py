"""A recipe: all that a training run depends on; those that ship lie in `ovsam/recipes/`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from ovsam.config import Share
from ovsam.data.object_crops import ObjectCropConfig
from ovsam.data.prompts import PromptConfig
from ovsam.data.scene_crops import SceneCropConfig
from ovsam.train.settings import EngineSettings
from ovsam.vocabulary.builtin import builtin_vocabularies

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
Positive = Annotated[int, Field(gt=0)]


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class SourceSettings:
    """One data set of a mixture."""

    path: str
    """An annotation file or a folder, within the data folder (see `ovsam data check`)."""
    images: str | None = None
    """The photos of an annotation file; beside it if not given."""
    share: float = Field(default=1.0, gt=0)
    """How often it is drawn from, relative to the others."""
    balance: Share = 0.0
    """Of the joint stage: 0 gives each object the same chance, 1 each class; between them a class
    with n objects is drawn as often as n^(1 - balance) says."""
    cutouts: bool = False
    """Of the joint stage: whether its objects are pasted on crops of the other data sets' photos,
    where they are what is prompted and named."""
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
    among: tuple[str, ...] | None = None
    """Of the joint stage: in which vocabularies of `name_loss.among` its objects are named, for
    names that are right only as far as one of them goes; None = in all."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class StartSettings:
    """What a model starts from: a checkpoint, or the files of CLIP and SAM."""

    checkpoint: str | None = None
    """A checkpoint of ovsam, or `lite` for the one that ships."""
    reinitialise: tuple[Literal["adapter", "region_head", "mask_decoder"], ...] = ()
    """Parts of it that begin with random weights nevertheless."""
    region_head: Literal["pyramid", "token", "token+clip", "context"] | None = None
    """A region head of this kind, which begins with random weights (Table 6; `context` is beyond
    the paper); None = as it is."""
    fpn_dim: Annotated[int, Field(ge=8, le=4096)] | None = None
    """That head's `fpn_dim`; None = as it is."""
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
        if self.fpn_dim is not None and self.region_head is None:
            yield "fpn_dim is the width of a new region head: give region_head, too"
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
            raise ContradictionsError(wrong)
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
class NameLossSettings:
    """Among which names the joint stage has an object's name found, each with its loss's weight."""

    own: float = Field(default=1.0, ge=0)
    """Among the names of its data set; with `names = "union"`, of all."""
    among: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Among the classes of built-in vocabularies, such as `22k`: an object takes part as the class
    that it is or is a kind of, against all that are neither kinds of it nor it a kind of them."""

    def contradictions(self) -> Iterator[str]:
        """A sentence for each setting that others contradict."""
        if unknown := sorted(self.among.keys() - builtin_vocabularies().keys()):
            yield f"among names {', '.join(unknown)}, which is no built-in vocabulary"
        if not self.own and not self.among:
            yield "own is 0 and among is empty: no name would be learnt"


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
    name_loss: NameLossSettings = NameLossSettings()
    """Among which names they are taught."""

    def contradictions(self) -> Iterator[str]:
        """A sentence for each setting that others contradict."""
        if unknown := sorted(set(self.cycle) - set(self.crops)):
            yield f"cycle names {', '.join(unknown)}, which crops does not describe"
        wanted = {name for source in self.data for name in source.among or ()}
        if unknown := sorted(wanted - self.name_loss.among.keys()):
            yield f"among of data names {', '.join(unknown)}, which name_loss.among does not"
        if all(source.cutouts for source in self.data):
            yield "all of data are cutouts: there is no photo to paste them on"
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
    """sam-b, -l or -h, SAM's `.pth`, or a checkpoint of ovsam."""
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
        if frozen := sorted(set(self.start.reinitialise) - set(self.learn)):
            yield f"start.reinitialise names {' and '.join(frozen)}, which learn leaves out"
        yield from super().contradictions()

    @property
    def learns_names(self) -> bool:
        """Whether anything that names is trained."""
        return set(self.learn) != {"mask_decoder"}


class ContradictionsError(ValueError):
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
