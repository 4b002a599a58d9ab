"""The predictor: encode a photo once, then ask for masks, for names, or for both.

It keeps nothing between calls but the embeddings of vocabularies, so threads can share it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ovsam.candidates import Candidates, Size, Sizes
from ovsam.config import ModelConfig
from ovsam.errors import UsageError
from ovsam.predictor.backend import Backend
from ovsam.predictor.checks import (
    check_clicks,
    check_encoded,
    checked_photo,
    checked_prompts,
    checked_size,
)
from ovsam.predictor.masks import find_masks, find_sizes
from ovsam.predictor.naming import Namer
from ovsam.predictor.own_masks import boxes_to_name, candidates_to_name, grouped
from ovsam.predictor.views import EncodedImage, View, encode_photos
from ovsam.predictor.zoom import Zoom
from ovsam.segmenter import Words
from ovsam.structures import Names, Prediction, Prompt
from ovsam.vocabulary.load import load_vocabulary
from ovsam.vocabulary.vocabulary import Vocabulary


class Predictor:
    """Masks and names of a photo's objects. Get one from `ovsam.load`.

    Args:
        config: the model's.
        backend: what computes.
        namer: what names masks; None for a model that has masks alone.
        vocabulary: the one that answers where none is given.
        zoom: whether to zoom by default; None = as the model's configuration says.
        clean: whether masks come without specks and small holes.
    """

    def __init__(
        self,
        config: ModelConfig,
        backend: Backend,
        namer: Namer | None,
        vocabulary: Vocabulary,
        zoom: bool | None = None,
        clean: bool = True,
    ) -> None:
        self.config, self.clean = config, clean
        self.zoom = (config.zoom is not None) if zoom is None else zoom
        self._backend = backend
        self._zoom = Zoom(backend, config)
        self._namer = namer
        self.vocabulary = self._readable(vocabulary)

    @property
    def model_name(self) -> str:
        """The model's name."""
        return self.config.name

    @property
    def names_objects(self) -> bool:
        """Whether it has names, too; SAM alone has masks only, and `segment` as its one verb."""
        return self._namer is not None

    @property
    def mask_tokens(self) -> int:
        """How many masks are made for a prompt: 4, or 1, which is no multimask output."""
        return self.config.decoder.mask_tokens

    @property
    def has_mask_scores(self) -> bool:
        """Whether masks come with a predicted IoU; if not, NaN stands in its place."""
        return self.config.decoder.iou_head

    @property
    def engine(self) -> str:
        """What computes the model: "torch", ..."""
        return self._backend.engine

    @property
    def device(self) -> str:
        """Where the model computes: "cpu", "cuda:0", ..."""
        return self._backend.device

    @property
    def threads(self) -> int:
        """How many of the processor's threads it computes with."""
        return self._backend.threads

    def use_threads(self, count: int) -> None:
        """Compute with so many of them from now on, in all of this process."""
        self._backend.use_threads(count)

    @cached_property
    def fingerprint(self) -> str:
        """BLAKE2b of configuration and weights: what tells two models of one name apart."""
        text = self._namer.text.identity if self._namer else None
        content = repr((self.config, self._backend.fingerprint, text))
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()

    def encode(self, image: NDArray[np.uint8], resized: NDArray[Any] | None = None) -> EncodedImage:
        """Encode a photo; all that does not depend on the prompt.

        Args:
            image: `(H, W, 3)` RGB, uint8.
            resized: `(h, w, 3)` the same as `checks.checked_resized` gives it; None = resize it.

        Raises:
            PhotoError: another shape or type.
        """
        contents = None if resized is None else [resized]
        return self._encoded([checked_photo(image)], contents)[0]

    def encode_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[EncodedImage]:
        """Encode several photos, up to 8 of them at once: what `encode` gives for each.

        Args:
            images: each `(H, W, 3)` RGB, uint8, of any size.

        Raises:
            PhotoError: one is of another shape or type; none is encoded then.
        """
        return self._encoded([checked_photo(image) for image in images])

    def _encoded(
        self, photos: Sequence[NDArray[np.uint8]], resized: Sequence[NDArray[Any]] | None = None
    ) -> list[EncodedImage]:
        named = self._namer is not None and self._namer.scorer.reads_photo
        side = self.config.image_size
        return encode_photos(self._backend, photos, side, named=named, resized=resized)

    def segment(
        self,
        encoded: EncodedImage,
        prompts: Prompt | Sequence[Prompt],
        *,
        multimask: bool = False,
        size: Size | None = None,
        zoom: bool | None = None,
    ) -> list[Candidates]:
        """Masks for prompts about an encoded photo, without names.

        Of a box its part within the photo counts; coordinates that look like shares are warned of.

        Args:
            encoded: what `encode` gave.
            prompts: one for each object, in photo pixels.
            multimask: the decoder's three masks for each prompt instead of one, best first.
            size: which of the things under a click is meant: "small", a part; "medium"; or "large",
                the whole. None = the likeliest. See `sizes`, which gives them all.
            zoom: whether to encode the square around each object again; None = the default.

        Returns:
            The masks for each prompt at low resolution, to be painted on demand.

        Raises:
            PromptError: a prompt lies outside the photo, a mask is of another resolution, there are
                too many prompts, the checkpoint has no multimask output, or a size is wanted of
                what is no click.
        """
        if size is not None:
            size = checked_size(size, multimask=multimask)
            checked = self._clicks(encoded, prompts)
            return [self._sizes(encoded, prompt, zoom).of(size) for prompt in checked]
        checked = checked_prompts(encoded, prompts, self.config, multimask=multimask, paints=False)
        found = find_masks(
            self._backend,
            encoded,
            checked,
            self._zoom_for(zoom),
            multimask=multimask,
            clean=self.clean,
        )
        return [candidates for group in found for candidates, _ in group]

    def sizes(
        self, encoded: EncodedImage, prompts: Prompt | Sequence[Prompt], *, zoom: bool | None = None
    ) -> list[Sizes]:
        """For clicks all that each may mean: a part, a thing, what it is part of.

        Args and errors are those of `segment`; a prompt must be points alone. The best of a click's
        sizes is what `segment` gives for it.
        """
        checked = self._clicks(encoded, prompts)
        return [self._sizes(encoded, prompt, zoom) for prompt in checked]

    def name(
        self,
        encoded: EncodedImage,
        masks: Candidates | ArrayLike | Sequence[Candidates | ArrayLike],
        *,
        vocabulary: Words | None = None,
        top: int = 5,
        threshold: float | None = None,
        zoom: bool | None = None,
    ) -> list[Names]:
        """Names for masks on an encoded photo, whoever made them. No mask is made or changed.

        Args:
            encoded: what `encode` gave.
            masks: one or several of: what `segment` gave; a mask `(H, W)` bool; a box `(4,)`, photo
                pixels, all of whose content is named. Candidates are named from `box_xyxy`, their
                prompt's box, or else from that of each mask.
            vocabulary: what to choose the names from; None = the predictor's own.
            top: how many names for each mask.
            threshold: a first name of a lower score is refused, see `Names`; None = as calibrated,
                or 0 for vocabularies of more classes than that was done with.
            zoom: whether to zoom on masks and boxes of your own; candidates stay as they are.

        Returns:
            For each item of `masks` the names of its masks.

        Raises:
            PromptError: an item, the threshold or the number of names is none, or not in range.
            UsageError: the model has no names.
            VocabularyError: it is not one, or the text model can read none of its names.
        """
        check_encoded(encoded, "name")
        namer = self._namer_for("name")
        candidates = candidates_to_name(encoded, masks, self._zoom_for(zoom))
        query = namer.query(self._readable(vocabulary), top, threshold)
        groups = grouped(candidates, self._zoom.prompts_at_once)
        return [names for group in groups for names in namer.names(encoded, group, None, query)]

    def predict(
        self,
        encoded: EncodedImage,
        prompts: Prompt | Sequence[Prompt],
        *,
        vocabulary: Words | None = None,
        multimask: bool = False,
        size: Size | None = None,
        top: int = 5,
        zoom: bool | None = None,
        threshold: float | None = None,
        name_boxes_xyxy: Sequence[ArrayLike] | NDArray[Any] | None = None,
        return_logits: bool = False,
        more_vocabularies: Sequence[Words] = (),
    ) -> list[Prediction]:
        """`segment` and `name` in one, and the masks painted: one prediction for each prompt.

        Args and errors are theirs; at most 64 prompts, or as many as have masks of 4 GiB.
        `name_boxes_xyxy`: for each prompt a box `(4,)`, photo pixels, whose content is named in
        place of its own. `return_logits`: whether predictions have `logits`, too.
        `more_vocabularies`: what the same masks are named from as well, see `more_names`; nothing
        is encoded again for them.
        """
        namer = self._namer_for("predict")
        checked = checked_prompts(encoded, prompts, self.config, multimask=multimask, paints=True)
        boxes = boxes_to_name(name_boxes_xyxy, checked, encoded.size_hw)
        words = (vocabulary, *more_vocabularies)
        queries = [namer.query(self._readable(one), top, threshold) for one in words]
        found: Iterable[tuple[Sequence[Candidates], list[list[View]] | None]]
        if size is not None:
            chosen = self.segment(encoded, checked, multimask=multimask, size=size, zoom=zoom)
            found = ((group, None) for group in grouped(chosen, self._zoom.prompts_at_once))
        else:
            groups = find_masks(
                self._backend,
                encoded,
                checked,
                self._zoom_for(zoom),
                multimask=multimask,
                clean=self.clean,
                named=namer.scorer.reads_squares,
            )
            found = (([c for c, _ in group], [v for _, v in group]) for group in groups)
        predictions: list[Prediction] = []
        for group, views in found:
            candidates = [replace(each, box_xyxy=next(boxes)) for each in group]
            names = zip(*(namer.names(encoded, candidates, views, q) for q in queries), strict=True)
            for one, (first, *more) in zip(candidates, names, strict=True):
                painted = one.painted(first, with_logits=return_logits)
                predictions.append(replace(painted, more_names=tuple(more)) if more else painted)
        return predictions

    def prepare(
        self, vocabulary: Words | None = None, progress: Callable[[int, int], None] | None = None
    ) -> Vocabulary:
        """Compute the embeddings of a vocabulary ahead of its first use (they are kept on disk).

        Returns:
            The vocabulary as it is answered from: a class whose names the text model cannot read
            is never the answer, which its `notes` say.

        Raises:
            UsageError, VocabularyError: as `name` does.
        """
        text, readable = self._namer_for("prepare").text, self._readable(vocabulary)
        text.prototypes(readable, progress)
        return readable

    def _clicks(self, encoded: EncodedImage, prompts: Prompt | Sequence[Prompt]) -> list[Prompt]:
        checked = checked_prompts(encoded, prompts, self.config, multimask=True, paints=False)
        check_clicks(checked)
        return checked

    def _sizes(self, encoded: EncodedImage, prompt: Prompt, zoom: bool | None) -> Sizes:
        zooms = self._zoom_for(zoom)
        return find_sizes(self._backend, encoded, prompt, zooms, clean=self.clean)

    def _zoom_for(self, zoom: bool | None) -> Zoom | None:
        return self._zoom if (self.zoom if zoom is None else zoom) else None

    def _readable(self, vocabulary: Words | None) -> Vocabulary:
        if vocabulary is None:
            return self.vocabulary
        given = load_vocabulary(vocabulary)
        return self._namer.text.readable(given) if self._namer else given

    def _namer_for(self, verb: str) -> Namer:
        if self._namer is None:
            raise UsageError(
                f"{self.model_name} has masks alone and no names: use segment instead of {verb}."
            )
        return self._namer
