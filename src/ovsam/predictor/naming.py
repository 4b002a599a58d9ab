"""Names for masks: regions are scored against a vocabulary, and scores become names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import groupby
from numbers import Integral, Real
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ovsam.candidates import Candidates
from ovsam.config import CalibrationConfig
from ovsam.errors import PromptError, quoted
from ovsam.geometry import masks_to_boxes_xyxy
from ovsam.images.frame import STRIDE
from ovsam.predictor.backend import Backend
from ovsam.predictor.views import EncodedImage, View, encode_frames, whole_view
from ovsam.structures import Label, Names
from ovsam.vocabulary.vocabulary import Vocabulary
from ovsam.vocabulary.wordnet import hierarchy

CERTAIN = 0.8  # a first name with less is joined by the kind of thing that has so much,
LIKELY = 0.5  # or else so much


class TextSide(Protocol):
    """The text model of a predictor, which only naming needs.

    A table of vectors can stand in for a text model, and prototypes can be of any kind that the
    backend scores with.
    """

    @property
    def identity(self) -> str:
        """What tells its embeddings from those of any other text model."""

    def readable(self, vocabulary: Vocabulary, /) -> Vocabulary:
        """The vocabulary with no class as an answer that the text model cannot read; see `notes`.

        Raises:
            UnreadableNamesError: it can read no name, or tell none from another.
        """

    def prototypes(
        self, vocabulary: Vocabulary, progress: Callable[[int, int], None] | None = None, /
    ) -> Any:
        """The class prototypes of what `readable` gave, for `Backend.score`."""


Views = Sequence[Sequence[View]] | None
"""For each of some candidates what is encoded of its `views` already; None = nothing is."""


class Scorer(Protocol):
    """How a model tells what masks are: by its region head, or as a baseline of the paper."""

    @property
    def reads_photo(self) -> bool:
        """Whether the whole photo is encoded for names."""

    @property
    def reads_squares(self) -> bool:
        """Whether the squares that the model zoomed on are."""

    def log_probabilities(
        self, encoded: EncodedImage, candidates: Sequence[Candidates], views: Views, prototypes: Any
    ) -> list[NDArray[np.float32]]:
        """For each of the candidates' masks the log probabilities of C classes.

        Args:
            encoded: the photo.
            candidates: masks on it.
            views: of these.
            prototypes: see `Backend.score`.

        Returns:
            For each of the candidates `(M, C + 1)`, background last; their exponentials are not
            made to sum to 1.
        """


class RegionScorer:
    """The paper's own: each mask is scored in the views that it was found in.

    Args:
        backend: what encodes and scores.
    """

    reads_photo = reads_squares = True

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def log_probabilities(
        self, encoded: EncodedImage, candidates: Sequence[Candidates], views: Views, prototypes: Any
    ) -> list[NDArray[np.float32]]:
        """See `Scorer.log_probabilities`."""
        views = self._encoded(encoded, candidates) if views is None else views
        regions = [
            (i, view, masks.mask_logits, each.box_xyxy)
            for i, (each, seen) in enumerate(zip(candidates, views, strict=True))
            for view, masks in zip(seen, each.views, strict=True)
        ]
        scores: list[list[NDArray[np.float32]]] = [[] for _ in candidates]  # view by view
        # Views that share features, as those of one group of prompts do, go together.
        for _, shared in groupby(regions, key=lambda region: id(region[1].features)):
            group = list(shared)
            index = [view.index for _, view, masks, _ in group for _ in masks]
            found = self._backend.score(
                group[0][1].features,
                np.concatenate([_boxes(view, masks, box) for _, view, masks, box in group]),
                np.concatenate([masks for _, _, masks, _ in group]),
                np.array(index),
                prototypes,
                encoded.features,
                np.array([_photo_hw(encoded, view) for _, view, masks, _ in group for _ in masks]),
            )
            ends = np.cumsum([len(masks) for _, _, masks, _ in group])[:-1]
            for (i, *_), part in zip(group, np.split(found, ends), strict=True):
                scores[i].append(part)
        return [reduce(np.logaddexp, parts) for parts in scores]

    def _encoded(self, encoded: EncodedImage, candidates: Sequence[Candidates]) -> list[list[View]]:
        """The views of each of the candidates, encoded for names alone."""
        frames = [view.frame for each in candidates for view in each.views]
        squares = [frame for frame in frames if frame != encoded.frame]
        made = iter(
            encode_frames(self._backend, encoded.photo, squares, masked=False) if squares else ()
        )
        whole = whole_view(encoded)
        return [
            [whole if view.frame == encoded.frame else next(made) for view in each.views]
            for each in candidates
        ]


def _photo_hw(encoded: EncodedImage, view: View) -> NDArray[np.float64]:
    """Height and width `(2,)` of the photo in the model pixels of a view."""
    size_hw: NDArray[np.float64] = np.array(encoded.size_hw) * view.frame.scale_xy[::-1]
    return size_hw


def _boxes(
    view: View, mask_logits: NDArray[np.float32], box_xyxy: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """For each of M masks the box `(M, 4)` it is named from, model pixels."""
    if box_xyxy is None:
        return STRIDE * masks_to_boxes_xyxy(mask_logits > 0)
    return np.tile(view.box(box_xyxy), (len(mask_logits), 1))


@dataclass(frozen=True, eq=False)
class Query:
    """What names are to be chosen from, and how many.

    Attributes:
        vocabulary: of C classes, as the text model reads them.
        prototypes: of these, for `Backend.score`.
        top: how many names for each mask.
        threshold: a mask whose first name has a lower score is none of the classes.
        temperature: divides the log scores.
    """

    vocabulary: Vocabulary
    prototypes: Any
    top: int
    threshold: float
    temperature: float


class Namer:
    """Names masks by a text model's prototypes.

    Args:
        scorer: how masks are compared with prototypes.
        text: what makes prototypes of names.
        calibration: what makes probabilities of scores.
    """

    def __init__(self, scorer: Scorer, text: TextSide, calibration: CalibrationConfig) -> None:
        self.scorer, self.text = scorer, text
        self._calibration = calibration

    def query(self, vocabulary: Vocabulary, top: int, threshold: float | None) -> Query:
        """What to give to `names`.

        Args:
            vocabulary: as the text model reads it.
            top: how many names.
            threshold: None = what the model was calibrated with.

        Raises:
            PromptError: `top` is no number of names, or the threshold no probability.
        """
        if isinstance(top, bool) or not isinstance(top, Integral) or top < 1:
            raise PromptError(f"top must be a number of names, 1 or more, got {quoted(top)}.")
        classes = _answers(vocabulary)
        if threshold is None:
            threshold = self._calibration.threshold(classes)
        if not isinstance(threshold, Real) or not 0 <= threshold <= 1:
            raise PromptError(f"threshold must be a probability, 0 to 1, got {quoted(threshold)}.")
        prototypes = self.text.prototypes(vocabulary)
        temperature = self._calibration.temperature(classes)
        return Query(vocabulary, prototypes, int(top), float(threshold), temperature)

    def names(
        self,
        encoded: EncodedImage,
        candidates: Sequence[Candidates],
        views: Sequence[Sequence[View]] | None,
        query: Query,
    ) -> list[Names]:
        """What each of the candidates' masks is called; arguments as for `Scorer`."""
        scores = self.scorer.log_probabilities(encoded, candidates, views, query.prototypes)
        return [self._names(each, query) for each in scores]

    def _names(self, scores: NDArray[np.float32], query: Query) -> Names:
        """Log scores `(M, C + 1)`, background last -> names of M masks."""
        vocabulary = query.vocabulary
        # The temperature comes after the mean of the views, so that it leaves the ranks alone.
        probabilities = _softmax(scores, query.temperature, vocabulary.log_weights)
        classes = probabilities[:, :-1]
        best = classes.max(-1)
        count = min(query.top, _answers(vocabulary))
        return Names(
            labels=_ranked(classes, vocabulary, count),
            none_scores=probabilities[:, -1],
            none_of_these=tuple(((best < query.threshold) | (best <= 0)).tolist()),
            kinds=tuple(
                None if score >= CERTAIN else _kind(row, vocabulary)
                for score, row in zip(best.tolist(), classes, strict=True)
            ),
            calibrated=self._calibration.holds(_answers(vocabulary)),
        )


def _softmax(
    scores: NDArray[np.float32], temperature: float, log_weights: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Exponentials of log scores `(M, C + 1)` over a temperature that sum to 1 for each of M.

    Before, the C classes' log weights `(C,)` are added; the background, last, has none.
    """
    divisor = np.float32(temperature)
    odds = scores / divisor  # in place from here on: rows may have 22,000 classes
    if log_weights is not None:
        odds[:, :-1] += log_weights / divisor
    odds -= odds.max(-1, keepdims=True)
    np.exp(odds, out=odds)
    odds /= odds.sum(-1, keepdims=True)
    return odds


def _answers(vocabulary: Vocabulary) -> int:
    return sum(vocabulary.answerable)


def _ranked(
    probabilities: NDArray[np.float32], vocabulary: Vocabulary, count: int
) -> tuple[tuple[Label, ...], ...]:
    """For each of M masks the best `count` of C classes, `(M, C)`; those of score 0 are none."""
    # The best are no less than the last of the `count` best maxima of runs of classes, and a bound
    # from these is found far quicker than from all of 22,000 classes.
    length = max(1, probabilities.shape[1] // (16 * count))
    starts = np.arange(0, probabilities.shape[1], length)
    maxima = np.maximum.reduceat(probabilities, starts, axis=1)
    bounds = np.partition(maxima, -count, axis=1)[:, -count]
    ranked = []
    for row, bound in zip(probabilities, bounds, strict=True):
        best = np.flatnonzero(row >= bound)
        best = best[np.argsort(-row[best], kind="stable")][:count]
        scores = zip(best.tolist(), row[best].tolist(), strict=True)
        ranked.append(tuple(Label(vocabulary.classes[i], p) for i, p in scores if p > 0))
    return tuple(ranked)


def _kind(probabilities: NDArray[np.float32], vocabulary: Vocabulary) -> Label | None:
    """Of `(C,)` classes what kind of thing they agree on; None if the first name says as much."""
    kinds = vocabulary.kinds
    found = kinds.most_specific(probabilities, CERTAIN)
    found = found or kinds.most_specific(probabilities, LIKELY)
    if found is None:
        return None
    best = int(probabilities.argmax())
    spellings = (vocabulary.classes[best], *vocabulary.synonyms[best])
    meanings = {vocabulary.synsets[best], *map(hierarchy().find, spellings)}
    return None if meanings & hierarchy().named(found[0]) else Label(*found)
