"""The predictor: encode a photo once, answer any number of prompts, over any vocabulary.

`EncodedImage` carries all that a prompt needs and `Predictor` keeps nothing between calls but the
embeddings of vocabularies, so both can be shared by threads.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ovsam.config import ModelConfig, ZoomConfig
from ovsam.errors import (
    PhotoError,
    PromptError,
    quoted,
)
from ovsam.geometry import mask_to_box_xyxy, masks_to_boxes_xyxy
from ovsam.images.frame import OUTSIDE, Frame, move_logits, paste_logits, whole_photo_logits
from ovsam.images.read import DEFAULT_MAX_PIXELS
from ovsam.model.checkpoint import fingerprints
from ovsam.model.device import check_device
from ovsam.model.ovsam import OVSAM, Features
from ovsam.model.pixels import to_pixels
from ovsam.model.prompt_batch import PromptBatch
from ovsam.model.region import mask_logits_to_boxes
from ovsam.structures import Label, Prediction, Prompt, checked_box_xyxy
from ovsam.text.cache import TextStore
from ovsam.text.class_embedder import ClassEmbedder
from ovsam.text.encoder import Progress, TextEncoder
from ovsam.text.prototypes import ClassPrototypes
from ovsam.vocabulary.load import load_vocabulary
from ovsam.vocabulary.vocabulary import Vocabulary
from ovsam.vocabulary.wordnet import hierarchy

_log = logging.getLogger("ovsam.predictor")

PROMPTS_AT_ONCE = 64  # where the model does not zoom; bounds the memory of many prompts
MOST_BYTES = 2**32  # of all masks of a call with more prompts
SQUARES_AT_ONCE = 8  # bounds the memory of zooming on many prompts
DECODED_AT_ONCE = 4  # prompts; more no longer fit a processor's cache, and take longer each
ZOOM_CONTEXT = 1.6  # for models that do not zoom unless told to
ALIKE = 3  # the power of the overlap with which one coarse mask supports another
CERTAIN = 0.8  # a first name with less is joined by the kind of thing that has so much,
LIKELY = 0.5  # or else so much


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """A photo ready for prompts; immutable, so threads can share it.

    Attributes:
        photo: `(H, W, 3)` uint8 RGB, read-only.
        frame: how the model sees the whole photo.
        features: of the whole photo.
    """

    photo: NDArray[np.uint8]
    frame: Frame
    features: Features

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the photo in pixels."""
        return self.photo.shape[0], self.photo.shape[1]


@dataclass(frozen=True, eq=False)
class _View:
    """What the model sees when it answers one prompt: the whole photo or a square of it."""

    frame: Frame
    features: Features
    index: int  # of the image in the features' batch


@dataclass(frozen=True, eq=False)
class _Decoded:
    """Mask logits `(M, L, L)` in the view's frame, and predicted IoU `(M,)`, NaN if unknown."""

    logits: Tensor
    quality: Tensor

    def taken(self, tokens: slice | Tensor) -> _Decoded:
        """Some of the masks."""
        return _Decoded(self.logits[tokens], self.quality[tokens])


@dataclass(frozen=True, eq=False)
class _Answer:
    """Masks in the first view's frame, and all views, with their own masks, to name them from."""

    decoded: _Decoded
    looks: tuple[tuple[_View, _Decoded], ...]

    @property
    def view(self) -> _View:
        return self.looks[0][0]

    def selected(self, multimask: bool) -> _Answer:
        """With the first mask only, or with the three alternatives, best first."""
        tokens: slice | Tensor = slice(0, 1)
        if multimask:
            tokens = self.decoded.quality[1:].argsort(descending=True) + 1
        looks = tuple((view, decoded.taken(tokens)) for view, decoded in self.looks)
        return _Answer(self.decoded.taken(tokens), looks)


@dataclass(frozen=True, eq=False)
class _CoarseMask:
    """Low-resolution logits `(L, L)` and the frame in which they were found."""

    frame: Frame
    logits: NDArray[np.float32]

    def seen_from(self, frame: Frame) -> NDArray[np.float32]:
        """The same in another frame's low resolution."""
        return move_logits(self.logits, self.frame, frame)


class Predictor:
    """Masks and names for prompts. Get one from `ovsam.load`.

    Args:
        model: with its weights.
        text_encoder: the text side of the model's encoder.
        templates: prompts around a name, `{}` = the name.
        store: known text embeddings.
        vocabulary: the one that answers where none is given.
        device: where the model computes.
        zoom: whether to zoom by default; None = as the model's configuration says.
    """

    def __init__(
        self,
        model: OVSAM,
        text_encoder: TextEncoder,
        templates: Sequence[str],
        store: TextStore,
        vocabulary: Vocabulary,
        device: str = "cpu",
        zoom: bool | None = None,
    ) -> None:
        self.config: ModelConfig = model.config
        self.device = torch.device(device)
        self.zoom = (model.config.zoom is not None) if zoom is None else zoom
        self._model = model.eval().to(self.device)
        self._model.to(memory_format=torch.channels_last)
        self._text_encoder = text_encoder
        self._classes = ClassEmbedder(
            text_encoder,
            templates,
            store,
            seen_classes=model.config.seen_classes,
            device=self.device,
            own_templates=model.context is None,  # of which a learned context is the one
        )
        self.vocabulary = self._resolve(vocabulary)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.config.name

    @cached_property
    def fingerprint(self) -> str:
        """BLAKE2b of configuration and weights: what tells two models of one name apart."""
        state = self._model.state_dict()
        parts = fingerprints({name: tensor.cpu() for name, tensor in state.items()})
        content = repr((self.config, sorted(parts.items()), self._text_encoder.identity))
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()

    @property
    def has_oracle(self) -> bool:
        """Whether it has masks alone, as SAM has, and is told the names; see `predict`."""
        return not self.config.names_objects

    @property
    def mask_tokens(self) -> int:
        """4 where multimask output is possible, 1 where the checkpoint lacks it."""
        return self.config.decoder.mask_tokens

    @property
    def has_mask_scores(self) -> bool:
        """Whether the model estimates the quality of its masks."""
        return self.config.decoder.iou_head

    def prepare(
        self,
        vocabulary: Vocabulary | str | Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> Vocabulary:
        """Compute the embeddings of a vocabulary ahead of its first use (they are kept on disk).

        Returns:
            The vocabulary as it is answered from: a class whose names the text model cannot read
            is never the answer, which its `notes` say.

        Raises:
            VocabularyError: it is not one, or the text model cannot tell its classes apart.
        """
        resolved = self._resolve(vocabulary)
        if not self.has_oracle:
            self._class_prototypes(resolved, progress)
        return resolved

    @torch.inference_mode()
    def encode(self, image: NDArray[np.uint8]) -> EncodedImage:
        """Encode a photo `(H, W, 3)`, RGB, uint8; all that does not depend on the prompt.

        Raises:
            PhotoError: another shape or type.
        """
        photo = np.asarray(image)
        if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or not photo.size:
            raise PhotoError(
                "A photo must be an RGB array of shape (H, W, 3) and type uint8, got "
                f"{photo.shape} and {photo.dtype}. Read files with ovsam.read_photo."
            )
        photo = photo.copy()
        photo.setflags(write=False)
        frame = Frame.whole_photo((photo.shape[0], photo.shape[1]), self.config.image_size)
        return EncodedImage(photo, frame, self._encode_whole(frame.cut(photo), frame))

    @torch.inference_mode()
    def encode_resized(self, pixels: Tensor, size_hw: tuple[int, int]) -> EncodedImage:
        """Encode a photo that has been resized for the model already.

        Where the model zooms, it sees the photo brought back to its size.

        Args:
            pixels: `(3, h, w)` RGB, 0 to 255, whose longest side is the model's `image_size`.
            size_hw: the photo's own height and width.

        Raises:
            PhotoError: another shape, other values, or a photo of too many pixels.
        """
        if min(size_hw) < 1 or size_hw[0] * size_hw[1] > DEFAULT_MAX_PIXELS:
            raise PhotoError(
                f"A photo must have 1 to {DEFAULT_MAX_PIXELS:,} pixels, got "
                f"{quoted(size_hw[1])} x {quoted(size_hw[0])}."
            )
        frame = Frame.whole_photo(size_hw, self.config.image_size)
        if tuple(pixels.shape) != (3, *frame.content_hw):
            raise PhotoError(
                f"A photo of {size_hw[1]} x {size_hw[0]} pixels must have been resized to shape "
                f"{(3, *frame.content_hw)} for {self.name}, got {tuple(pixels.shape)}."
            )
        content = np.ascontiguousarray(pixels.detach().cpu().float().permute(1, 2, 0).numpy())
        if not ((content >= 0) & (content <= 255)).all():  # nor is NaN
            raise PhotoError("A photo's values must lie between 0 and 255: do not normalise them.")
        seen = content.round().astype(np.uint8)
        photo = np.asarray(
            cv2.resize(seen, size_hw[::-1], interpolation=cv2.INTER_LINEAR), np.uint8
        )
        photo.setflags(write=False)
        return EncodedImage(photo, frame, self._encode_whole(content, frame))

    def _encode_whole(self, content: NDArray[Any], frame: Frame) -> Features:
        baseline = self.config.baseline
        named = baseline is None or baseline.cuts == "features"  # else crops are what is named
        return self._encode_contents([content], frame.input_hw, named)

    @torch.inference_mode()
    def predict(
        self,
        encoded: EncodedImage,
        prompts: Prompt | Sequence[Prompt],
        *,
        vocabulary: Vocabulary | str | Sequence[str] | None = None,
        multimask: bool = False,
        top: int = 5,
        zoom: bool | None = None,
        threshold: float | None = None,
        name_boxes_xyxy: Sequence[ArrayLike] | NDArray[Any] | None = None,
        right_names: Sequence[str] | None = None,
        return_logits: bool = False,
    ) -> list[Prediction]:
        """Answer prompts about an encoded photo.

        Of a box only the part within the photo counts: two boxes with the same part have the same
        answer. A warning is logged where coordinates look like shares of the photo's sides.

        Args:
            encoded: what `encode` gave.
            prompts: one for each object, in photo pixels: 64, or as many as have masks of 4 GiB.
            vocabulary: what to choose the names from; None = the predictor's own. A built-in
                name, a file, a comma list, names, or a `Vocabulary`.
            multimask: three masks for each prompt instead of one, best first.
            top: how many names for each mask.
            zoom: whether to look again at the square around each object; None = the default.
            threshold: an object whose first name has a lower score is none of the vocabulary's
                classes, see `Prediction.none_of_these`. None = what the model was calibrated with
                for vocabularies of no more classes than that was done with, 0 for larger ones.
            name_boxes_xyxy: for each prompt a box `(4,)`, photo pixels, whose content is named; the
                masks stay as they are. None = the prompt's own box, or that of its mask. With zoom,
                what sticks out of the square around the object is not seen.
            right_names: for each prompt what the oracle says, for a model that `has_oracle`. None =
                nothing: each object is none of the vocabulary's classes.
            return_logits: whether predictions have `logits`, too.

        Returns:
            One prediction for each prompt.

        Raises:
            PromptError: a prompt or a box to name lies outside the photo, a mask is of another
                resolution, the threshold or the number of names is none, there are too many
                prompts, the checkpoint has no multimask output, or there are right names for a
                model without an oracle, not one for each prompt, or one that is no class which may
                be the answer.
            VocabularyError: the vocabulary is not one, or the text model can read none of its
                names.
        """
        prompts = [prompts] if isinstance(prompts, Prompt) else list(prompts)
        self._check(encoded, prompts, multimask, top)
        if (sentence := normalised_sentence(prompts, encoded.size_hw)) is not None:
            _log.warning(sentence)
        prompts = [prompt.clipped(encoded.size_hw) for prompt in prompts]
        threshold = self._threshold(threshold, resolved := self._resolve(vocabulary))
        named = _named_boxes(prompts, name_boxes_xyxy, encoded.size_hw)
        told = self._told(right_names, len(prompts), resolved)
        prototypes = None if self.has_oracle else self._class_prototypes(resolved)
        zoom = self.zoom if zoom is None else zoom
        calibrated = self._calibrated(resolved)
        predictions: list[Prediction] = []
        at_once = SQUARES_AT_ONCE if zoom else PROMPTS_AT_ONCE
        for start in range(0, len(prompts), at_once):
            some = slice(start, start + at_once)
            answers = self._answers(encoded, prompts[some], multimask, zoom)
            if told is not None or prototypes is None:
                assert told is not None
                scores = [
                    row.expand(len(answer.decoded.logits), -1)
                    for row, answer in zip(told[some], answers, strict=True)
                ]
            else:
                scores = self._names(encoded, answers, named[some], prototypes)
            predictions += [
                _prediction(
                    encoded,
                    answer.view,
                    answer.decoded,
                    _named(found, resolved, top, threshold),
                    calibrated,
                    return_logits,
                )
                for answer, found in zip(answers, scores, strict=True)
            ]
        return predictions

    def _answers(
        self, encoded: EncodedImage, prompts: Sequence[Prompt], multimask: bool, zoom: bool
    ) -> list[_Answer]:
        """The masks of each prompt that are asked for."""
        whole = _View(encoded.frame, encoded.features, 0)
        if zoom:
            step = max(1, SQUARES_AT_ONCE // len(self._zoom_config.crop_scales))
            groups = [prompts[i : i + step] for i in range(0, len(prompts), step)]
            answers = [
                answer
                for group in groups
                for answer in self._zoomed(encoded, whole, group, multimask)
            ]
        else:
            decoded = self._decode([whole] * len(prompts), prompts)
            answers = [_Answer(masks, ((whole, masks),)) for masks in decoded]
        return [answer.selected(multimask) for answer in answers]

    def _names(
        self,
        encoded: EncodedImage,
        answers: Sequence[_Answer],
        named: Sequence[NDArray[np.float64] | None],
        prototypes: ClassPrototypes,
    ) -> list[Tensor]:
        """Probabilities `(M, C + 1)` for each answer, background last."""
        if self.config.baseline is None:
            return self._label(answers, named, prototypes)
        whole = _View(encoded.frame, encoded.features, 0)
        single, boxes = self._cut_out(encoded, whole, answers, named)
        each = iter(self._label(single, boxes, prototypes))
        return [torch.cat([next(each) for _ in a.decoded.logits]) for a in answers]

    def _check(
        self, encoded: EncodedImage, prompts: Sequence[Prompt], multimask: bool, top: int
    ) -> None:
        if not isinstance(encoded, EncodedImage):
            raise PhotoError(
                f"predict takes what encode made of a photo, got {type(encoded).__name__}. Encode "
                "the photo first."
            )
        if multimask and self.mask_tokens == 1:
            raise PromptError(
                f"{self.name} has no multimask output: its checkpoint keeps one mask token. "
                "Ask for a single mask, or convert it with SAM's own decoder."
            )
        if isinstance(top, bool) or not isinstance(top, Integral) or top < 1:
            raise PromptError(f"top must be a number of names, 1 or more, got {quoted(top)}.")
        low_res = encoded.frame.input_hw[0] // 4
        for prompt in prompts:
            if not isinstance(prompt, Prompt):
                raise PromptError(f"prompts must each be an ovsam.Prompt, got {quoted(prompt)}.")
            if prompt.mask_logits is not None and prompt.mask_logits.shape != (low_res, low_res):
                raise PromptError(
                    f"mask_logits must have shape ({low_res}, {low_res}) for {self.name}, "
                    f"got {prompt.mask_logits.shape}. Pass on a prediction's low_res_logits."
                )
        height, width = encoded.size_hw
        most = MOST_BYTES // ((3 if multimask else 1) * (height * width + 4 * low_res**2))
        if len(prompts) > (most := max(most, PROMPTS_AT_ONCE)):
            raise PromptError(
                f"The masks of {len(prompts):,} prompts on a photo of {width} x {height} pixels "
                f"take too much memory at once. Ask for {most:,} at a time."
            )

    def _told(
        self, right_names: Sequence[str] | None, count: int, vocabulary: Vocabulary
    ) -> Tensor | None:
        """An oracle's probabilities `(count, C + 1)`, background last; None without an oracle."""
        if not self.has_oracle:
            if right_names is not None:
                raise PromptError(
                    f"right_names is for a model whose names are an oracle's; {self.name} has its "
                    "own. Leave it out."
                )
            return None
        background = len(vocabulary.classes)
        told = [background] * count
        if right_names is not None:
            if len(right_names) != count:
                raise PromptError(
                    f"right_names must have a name for each of the {count} prompts, got "
                    f"{len(right_names)}."
                )
            for i, name in enumerate(right_names):
                if (known := vocabulary.class_of(name)) is None:
                    raise PromptError(
                        f"right_names has {name!r}, which the vocabulary {vocabulary.name!r} does "
                        "not have. Give names of its classes."
                    )
                told[i] = vocabulary.classes.index(known)
                if not vocabulary.answerable[told[i]]:
                    raise PromptError(
                        f"right_names has {name!r}, which the vocabulary {vocabulary.name!r} has "
                        "as a class that is never the answer. Give names of those that may be."
                    )
        return F.one_hot(torch.tensor(told), background + 1).float()

    def _threshold(self, threshold: float | None, vocabulary: Vocabulary) -> float:
        """The one that is asked for, or the model's own."""
        if threshold is None:
            calibration = self.config.calibration
            return calibration.threshold if _answers(vocabulary) <= calibration.classes else 0.0
        if not isinstance(threshold, Real) or not 0 <= threshold <= 1:
            raise PromptError(f"threshold must be a probability, 0 to 1, got {quoted(threshold)}.")
        return float(threshold)

    def _calibrated(self, vocabulary: Vocabulary) -> bool:
        """Whether it was with about as many classes as may be the answer: up to twice as many.

        Scores say too much of what a much shorter list lacks.
        """
        answers = _answers(vocabulary)
        return answers <= self.config.calibration.classes <= 2 * answers

    def _resolve(self, vocabulary: Vocabulary | str | Sequence[str] | None) -> Vocabulary:
        if vocabulary is None:
            return self.vocabulary
        given = load_vocabulary(vocabulary)
        return given if self.has_oracle else self._classes.readable(given)

    def _class_prototypes(
        self, vocabulary: Vocabulary, progress: Progress | None = None
    ) -> ClassPrototypes:
        return self._classes.prototypes(vocabulary, progress)

    def _encode_frames(
        self,
        photo: NDArray[np.uint8],
        frames: Sequence[Frame],
        named: bool = True,
        masked: bool = True,
    ) -> Features:
        """Encode frames of one size as a batch; see `OVSAM.encode`."""
        contents = [frame.cut(photo) for frame in frames]
        return self._encode_contents(contents, frames[0].input_hw, named, masked)

    def _encode_contents(
        self,
        contents: Sequence[NDArray[Any]],
        input_hw: tuple[int, int],
        named: bool = True,
        masked: bool = True,
    ) -> Features:
        encoder = self.config.encoder
        pixels = [
            to_pixels(content, input_hw, encoder.pixel_mean, encoder.pixel_std)
            for content in contents
        ]
        batch = torch.cat(pixels).to(self.device, memory_format=torch.channels_last)
        return self._model.encode(batch, named, masked)

    def _cut_out(
        self,
        encoded: EncodedImage,
        whole: _View,
        answers: Sequence[_Answer],
        named: Sequence[NDArray[np.float64] | None],
    ) -> tuple[list[_Answer], list[NDArray[np.float64]]]:
        """For each mask of each answer what a baseline looks at, and the box in it, photo pixels.

        Feature-Crop looks at the whole photo's features. Image-Crop has the square around the
        object encoded, whatever lies behind it included, at the size that the trunk's own head
        was made for.
        """
        assert self.config.baseline is not None
        masks, boxes = [], []
        for answer, given in zip(answers, named, strict=True):
            found = mask_logits_to_boxes(answer.decoded.logits[:, None])
            for logits, box in zip(answer.decoded.logits, found.cpu().numpy(), strict=True):
                masks.append((answer.view.frame, _array(logits)))
                own = answer.view.frame.to_photo(box.reshape(2, 2)).ravel()
                boxes.append(own if given is None else given)
        views = [whole] * len(masks)
        size = 32 * self.config.encoder.pool_size
        if self.config.baseline.cuts == "image":
            frames = [Frame.square_around(box.tolist(), 1.0, size) for box in boxes]
            boxes = [frame.to_photo(np.array([[0, 0], [size, size]])).ravel() for frame in frames]
            views = []
            for start in range(0, len(frames), SQUARES_AT_ONCE):
                some = frames[start : start + SQUARES_AT_ONCE]
                features = self._encode_frames(encoded.photo, some, masked=False)
                views += [_View(frame, features, k) for k, frame in enumerate(some)]
        single = []
        for view, (frame, logits) in zip(views, masks, strict=True):
            if self.config.baseline.cuts == "image":  # all of the crop is named
                seen = torch.full((1, size // 4, size // 4), -OUTSIDE, device=self.device)
            else:
                seen = self._tensor([move_logits(logits, frame, view.frame)])
            decoded = _Decoded(seen, seen.new_full((1,), torch.nan))
            single.append(_Answer(decoded, ((view, decoded),)))
        return single, boxes

    def _zoomed(
        self, encoded: EncodedImage, whole: _View, prompts: Sequence[Prompt], multimask: bool
    ) -> list[_Answer]:
        """Answer each prompt from the squares around its object, re-encoded."""
        zoom = self._zoom_config
        coarse = self._coarse_masks(encoded, whole, prompts)
        asked: list[tuple[int, Frame, Prompt]] = []  # the prompt's index, a square, what to ask it
        for i, (prompt, mask) in enumerate(zip(prompts, coarse, strict=True)):
            box = _object_box(encoded, prompt, mask)
            several = mask is None and not multimask  # alternatives of two squares do not match
            for context in zoom.crop_scales if several else zoom.crop_scales[-1:]:
                frame = Frame.square_around(box, context, zoom.size)
                known = None if mask is None else mask.seen_from(frame)
                asked.append((i, frame, replace(prompt, mask_logits=known)))
        looks_named = self.config.baseline is None  # a baseline has looks of its own for names
        features = self._encode_frames(encoded.photo, [f for _, f, _ in asked], looks_named)
        views = [_View(frame, features, k) for k, (_, frame, _) in enumerate(asked)]
        decoded = self._decode(views, [prompt for _, _, prompt in asked])
        looks: list[list[tuple[_View, _Decoded]]] = [[] for _ in prompts]
        for (i, _, _), view, masks in zip(asked, views, decoded, strict=True):
            looks[i].append((view, masks))
        return [_Answer(_averaged(seen), tuple(seen)) for seen in looks]

    @property
    def _zoom_config(self) -> ZoomConfig:
        if self.config.zoom is not None:
            return self.config.zoom
        return ZoomConfig(size=self.config.image_size, crop_scales=(ZOOM_CONTEXT,))

    def _coarse_masks(
        self, encoded: EncodedImage, whole: _View, prompts: Sequence[Prompt]
    ) -> list[_CoarseMask | None]:
        """For each prompt the mask that tells where to zoom; None for a box, which tells itself."""
        found: dict[int, _CoarseMask] = {}
        unknown = []
        for i, prompt in enumerate(prompts):
            if prompt.mask_logits is not None:
                found[i] = _CoarseMask(encoded.frame, prompt.mask_logits)
            elif prompt.box_xyxy is None:
                unknown.append(i)
        searches = bool(self._zoom_config.click_scales) and self.has_mask_scores
        for i in unknown:
            if searches and (prompts[i].point_labels == 1).any():
                found[i] = self._search(encoded, prompts[i])
            else:
                [decoded] = self._decode([whole], [prompts[i]])
                found[i] = _CoarseMask(encoded.frame, _array(decoded.logits[0]))
        return [found.get(i) for i in range(len(prompts))]

    def _search(self, encoded: EncodedImage, prompt: Prompt) -> _CoarseMask:
        """The object under a click, whatever its size.

        Squares of several sizes around the click are looked at; of all masks found in them the
        one is taken that the others agree with most.
        """
        zoom, longest = self._zoom_config, max(encoded.size_hw)
        points = prompt.points_xy[prompt.point_labels == 1]
        low, high = points.min(0), points.max(0)
        middle, spread = (low + high) / 2, float((high - low).max())
        sides = dict.fromkeys(max(scale * longest, 1.5 * spread) for scale in zoom.click_scales)
        frames = [
            Frame.square_around((*(middle - side / 2), *(middle + side / 2)), 1.0, zoom.click_size)
            for side in sides
        ]
        features = self._encode_frames(encoded.photo, frames, named=False)
        views = [_View(frame, features, i) for i, frame in enumerate(frames)]
        decoded = self._decode(views, [prompt] * len(views))
        found = [
            _CoarseMask(view.frame, logits)
            for view, answer in zip(views, decoded, strict=True)
            for logits in _array(answer.logits)
        ]
        quality = np.concatenate([_array(answer.quality) for answer in decoded])
        return found[_most_agreed(found, quality, encoded.frame)]

    def _decode(self, views: Sequence[_View], prompts: Sequence[Prompt]) -> list[_Decoded]:
        """Decode prompts in their views (which share features); prompts of a kind go together."""
        kinds: dict[tuple[int, bool, bool], list[int]] = {}
        for i, prompt in enumerate(prompts):
            kind = (
                len(prompt.points_xy),
                prompt.box_xyxy is not None,
                prompt.mask_logits is not None,
            )
            kinds.setdefault(kind, []).append(i)
        answers: dict[int, _Decoded] = {}
        step = DECODED_AT_ONCE
        groups = [
            (kind, members[start : start + step])
            for kind, members in kinds.items()
            for start in range(0, len(members), step)
        ]
        for (points, has_box, has_mask), members in groups:
            chosen = [(views[i], prompts[i]) for i in members]
            features = chosen[0][0].features
            batch: PromptBatch[NDArray[Any]] = PromptBatch(
                np.stack([v.frame.to_model(p.points_xy) for v, p in chosen]) if points else None,
                np.stack([p.point_labels for _, p in chosen]) if points else None,
                np.stack([_model_box(v, p.box_xyxy) for v, p in chosen]) if has_box else None,
                np.stack([m for _, p in chosen if (m := p.mask_logits) is not None])
                if has_mask
                else None,
            )
            logits, quality = self._model.decode(
                features,
                batch.map(torch.from_numpy),
                torch.tensor([v.index for v, _ in chosen], device=self.device)
                if len(features.embedding) > 1
                else None,
            )
            if quality is None:
                quality = logits.new_full(logits.shape[:2], torch.nan)
            for i, mask, iou in zip(members, logits, quality, strict=True):
                answers[i] = _Decoded(mask, iou)
        return [answers[i] for i in range(len(prompts))]

    def _tensor(self, arrays: Iterable[NDArray[Any] | None]) -> Tensor:
        stacked = np.stack([array for array in arrays if array is not None])
        return torch.from_numpy(stacked.astype(np.float32)).to(self.device)

    def _label(
        self,
        answers: Sequence[_Answer],
        named: Sequence[NDArray[np.float64] | None],
        prototypes: ClassPrototypes,
    ) -> list[Tensor]:
        """Probabilities `(M, C + 1)` for each prompt, background last, from all of its views.

        `named` has the box, photo pixels, that each is named from; None = that of its mask.
        """
        looks = [
            (i, view, decoded.logits)
            for i, answer in enumerate(answers)
            for view, decoded in answer.looks
        ]
        seen: list[list[Tensor]] = [[] for _ in answers]  # log probabilities, view by view
        # Views that share features, as those of one group of prompts do, go together.
        for _, shared in groupby(looks, key=lambda look: id(look[1].features)):
            group = list(shared)
            counts = [len(logits) for _, _, logits in group]
            logits = torch.cat([logits for _, _, logits in group])[:, None]
            boxes = list(torch.split(mask_logits_to_boxes(logits), counts))
            for k, (i, view, _) in enumerate(group):
                if (box := named[i]) is not None:
                    boxes[k] = self._tensor([_model_box(view, box)] * counts[k])
            index = [
                view.index for (_, view, _), n in zip(group, counts, strict=True) for _ in range(n)
            ]
            scores = self._model.label(
                group[0][1].features,
                torch.cat(boxes),
                logits,
                prototypes,
                torch.tensor(index, device=self.device),
            ).log_softmax(-1)
            for (i, _, _), part in zip(group, torch.split(scores, counts), strict=True):
                seen[i].append(part)
        # The temperature comes after the mean of the views, so that it leaves the ranks alone.
        temperature = self.config.calibration.temperature
        return [(torch.stack(parts).logsumexp(0) / temperature).softmax(-1) for parts in seen]


def _averaged(looks: Sequence[tuple[_View, _Decoded]]) -> _Decoded:
    """The first view's masks, the clear one (the first token) averaged over all views."""
    (first, masks), *others = looks
    if not others:
        return masks
    moved = [move_logits(_array(m.logits[0]), view.frame, first.frame) for view, m in others]
    mean = np.mean([_array(masks.logits[0]), *moved], axis=0)
    logits = masks.logits.clone()
    logits[0] = torch.from_numpy(mean)
    return _Decoded(logits, masks.quality)


def _model_box(view: _View, box_xyxy: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Photo pixels `(4,)` -> model pixels of the view."""
    assert box_xyxy is not None
    return view.frame.to_model(box_xyxy.reshape(2, 2)).ravel()


def _named_boxes(
    prompts: Sequence[Prompt],
    boxes_xyxy: Sequence[ArrayLike] | NDArray[Any] | None,
    size_hw: tuple[int, int],
) -> list[NDArray[np.float64] | None]:
    """For each prompt the box it is named from, photo pixels; None = that of its mask.

    Raises:
        PromptError: not one good box for each prompt.
    """
    if boxes_xyxy is None:
        return [prompt.box_xyxy for prompt in prompts]
    if not isinstance(boxes_xyxy, Iterable):
        raise PromptError(f"name_boxes_xyxy must be boxes, got {quoted(boxes_xyxy)}.")
    boxes = list(boxes_xyxy)
    if len(boxes) != len(prompts):
        raise PromptError(
            f"name_boxes_xyxy must have a box for each of the {len(prompts)} prompts, got "
            f"{len(boxes)}."
        )
    checked = [checked_box_xyxy("Each of name_boxes_xyxy", box) for box in boxes]
    return [Prompt(box_xyxy=box).clipped(size_hw).box_xyxy for box in checked]


def normalised_sentence(prompts: Sequence[Prompt], size_hw: tuple[int, int]) -> str | None:
    """What to warn of where coordinates look like shares of a photo's sides; None where none do."""
    for prompt in prompts:
        if prompt.looks_normalised(size_hw):
            corners = prompt.points_xy if prompt.box_xyxy is None else prompt.box_xyxy
            return (
                f"The coordinates {', '.join(f'{value:g}' for value in corners.ravel()[:4])} lie "
                f"between 0 and 1 on a photo of {size_hw[1]} x {size_hw[0]} pixels: they are read "
                "as pixels. If they are shares of its width and height, multiply them by these."
            )
    return None


@dataclass(frozen=True)
class _Names:
    """What `Prediction` says of the names of M masks, by the names of its fields."""

    labels: tuple[tuple[Label, ...], ...]
    none_scores: NDArray[np.float32]
    none_of_these: tuple[bool, ...]
    kinds: tuple[Label | None, ...]


def _named(probabilities: Tensor, vocabulary: Vocabulary, top: int, threshold: float) -> _Names:
    """Probabilities `(M, C + 1)` -> what is said of each of M masks."""
    labels = tuple(_ranked(probabilities, vocabulary, top))
    best = probabilities[:, :-1].amax(-1)
    return _Names(
        labels=labels,
        none_scores=_array(probabilities[:, -1]),
        none_of_these=tuple(((best < threshold) | (best <= 0)).tolist()),
        kinds=tuple(
            None if score >= CERTAIN else _kind(row, vocabulary)
            for score, row in zip(best.tolist(), _array(probabilities[:, :-1]), strict=True)
        ),
    )


def _answers(vocabulary: Vocabulary) -> int:
    return sum(vocabulary.answerable)


def _kind(probabilities: NDArray[np.float32], vocabulary: Vocabulary) -> Label | None:
    """Of `(C,)` classes what kind of thing they agree on; None if the first name says as much."""
    kinds = vocabulary.kinds
    found = kinds.most_specific(probabilities, CERTAIN)
    found = found or kinds.most_specific(probabilities, LIKELY)
    if found is None:
        return None
    best = int(probabilities.argmax())
    names = (vocabulary.classes[best], *vocabulary.synonyms[best])
    meanings = {vocabulary.synsets[best], *map(hierarchy().find, names)}
    return None if meanings & hierarchy().named(found[0]) else Label(*found)


def _ranked(probabilities: Tensor, vocabulary: Vocabulary, top: int) -> list[tuple[Label, ...]]:
    """Probabilities `(N, C + 1)` -> the best `top` names of each, without the background.

    Names of score 0, as an oracle that is not told gives to all, are none.
    """
    probabilities = probabilities[:, :-1]
    count = min(top, _answers(vocabulary))
    best = probabilities.topk(count, dim=-1)
    return [
        tuple(Label(vocabulary.classes[i], p) for i, p in zip(row, values, strict=True) if p > 0)
        for row, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return np.asarray(tensor.cpu().numpy(), np.float32)


def _most_agreed(masks: Sequence[_CoarseMask], quality: NDArray[np.float32], frame: Frame) -> int:
    """Which of K masks has the most others like it, each with its predicted quality.

    A high power of the overlap counts near copies alone: what squares of different sizes agree
    upon is an object, while parts and surroundings, which overlap too, differ from one to the next.
    A mask as wide as its square is cut off by it, so it is neither chosen nor counted.
    """
    seen = np.stack([mask.seen_from(frame) > 0 for mask in masks]).reshape(len(masks), -1)
    boxes = masks_to_boxes_xyxy(np.stack([mask.logits > 0 for mask in masks]))
    extent = (boxes[:, 2:] - boxes[:, :2]).max(1)
    votes = np.sqrt(np.clip(quality, 0, None)) * (extent < len(masks[0].logits))
    if not votes.any():
        votes = np.sqrt(np.clip(quality, 1e-6, None))
    pixels = seen.astype(np.float32)
    overlap = pixels @ pixels.T
    area = pixels.sum(1)
    iou = overlap / np.maximum(area[:, None] + area - overlap, 1)
    return int(np.argmax(iou**ALIKE @ votes * (votes > 0)))


def _object_box(encoded: EncodedImage, prompt: Prompt, mask: _CoarseMask | None) -> list[float]:
    """The box to zoom on, photo pixels: the prompt's own, or around coarse mask and points."""
    if prompt.box_xyxy is not None:
        return [float(value) for value in prompt.box_xyxy]
    corners = prompt.points_xy[prompt.point_labels == 1]
    if mask is not None:
        low = mask_to_box_xyxy(mask.logits > 0).reshape(2, 2) * 4
        if low.any():
            corners = np.concatenate([corners, mask.frame.to_photo(low)])
    if not len(corners):
        height, width = encoded.size_hw
        return [0.0, 0.0, float(width), float(height)]
    low, high = corners.min(0), np.maximum(corners.max(0), corners.min(0) + 1)
    return [*low.tolist(), *high.tolist()]


def _prediction(
    encoded: EncodedImage,
    view: _View,
    decoded: _Decoded,
    names: _Names,
    calibrated: bool,
    return_logits: bool,
) -> Prediction:
    logits = None
    if view.frame == encoded.frame:
        low_res = _array(decoded.logits)
        whole = whole_photo_logits(low_res, view.frame, encoded.size_hw)
        masks = whole > 0
        logits = whole if return_logits else None
    else:
        squares = _array(decoded.logits)
        masks = np.zeros((len(squares), *encoded.size_hw), np.bool_)
        if return_logits:
            logits = np.full(masks.shape, OUTSIDE, np.float32)
        for k, square in enumerate(squares):
            part, values = paste_logits(square, view.frame, encoded.size_hw)
            masks[k][part] = values > 0
            if logits is not None:
                logits[k][part] = values
        low_res = np.stack([move_logits(mask, view.frame, encoded.frame) for mask in squares])
    return Prediction(
        masks=masks,
        mask_scores=_array(decoded.quality.clamp(0, 1)),
        boxes_xyxy=masks_to_boxes_xyxy(masks),
        low_res_logits=low_res,
        labels=names.labels,
        none_scores=names.none_scores,
        none_of_these=names.none_of_these,
        kinds=names.kinds,
        calibrated=calibrated,
        logits=logits,
    )


def load(
    name_or_path: str | Path = "lite",
    *,
    vocabulary: Vocabulary | str | Sequence[str] = "coco",
    device: str = "cpu",
    cache_dir: str | Path | None = None,
    zoom: bool | None = None,
) -> Predictor:
    """A predictor by name ("lite", "rn50x16-coco", "rn50x16-lvis") or from a checkpoint's path.

    Args:
        name_or_path: "lite" ships with the package; the others are fetched and converted once.
            With "-image-crop" or "-feature-crop" behind it, a path too, a baseline of the paper
            names the model's masks; with "-oracle" nobody does who is not told.
        vocabulary: what the predictor answers from unless a call says otherwise.
        device: "cpu", "cuda", "mps".
        cache_dir: for downloads and text embeddings; by default the user's cache folder.
        zoom: see `Predictor.predict`; None = the model's own default.

    Raises:
        CheckpointError: no such model or file, or a file that cannot be used.
        VocabularyError: the vocabulary is not one.

    Example:
        >>> predictor = load("lite", vocabulary="cat, dog")  # doctest: +SKIP
    """
    from ovsam.hub import locate
    from ovsam.model.baselines.coop import InContext
    from ovsam.model.presets import split_baseline
    from ovsam.model.restore import restore
    from ovsam.text.encoder import PLAIN_TEMPLATES, openai_templates
    from ovsam.text.minilm import MiniLM

    names = load_vocabulary(vocabulary)
    check_device(device)
    name, baseline = str(name_or_path), ""
    if not os.path.isfile(name):  # a file's name may end in anything
        name, baseline = split_baseline(name)
    restored = restore(locate(name, cache_dir), baseline)
    tower = restored.text_tower
    encoder: Any = MiniLM() if tower is None else tower.to(device)
    templates = PLAIN_TEMPLATES if tower is None else openai_templates()
    if (context := restored.model.context) is not None:
        encoder, templates = InContext(encoder, context.tokens), PLAIN_TEMPLATES
    store = TextStore(_text_file(cache_dir), seed=restored.text_vectors)
    return Predictor(restored.model, encoder, templates, store, names, device, zoom)


def _text_file(cache_dir: str | Path | None) -> Path | None:
    """Where embeddings of names are kept; None = nowhere, for there is no home."""
    import platformdirs

    try:
        folder = Path(cache_dir) if cache_dir else platformdirs.user_cache_path("ovsam")
    except RuntimeError:
        logging.getLogger(__name__).warning(
            "Text embeddings are not kept on disk: there is no home folder."
        )
        return None
    return folder / "text.sqlite"
