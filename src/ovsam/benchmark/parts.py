"""The parts of a model's work, each as something to be called and timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from ovsam.benchmark.scene import Case, cases
from ovsam.candidates import Candidates
from ovsam.errors import UsageError, first_few, quoted
from ovsam.segmenter import Segmenter
from ovsam.vocabulary.vocabulary import Vocabulary

Work = Callable[[], object]

LOAD, ENCODE = "load", "encode"


def parts(
    load: Work,
    predictor: Segmenter,
    photo: NDArray[np.uint8],
    vocabularies: Mapping[str, Vocabulary],
) -> dict[str, Work]:
    """What is timed of one model, by the names of the rows.

    Args:
        load: loads the model once more.
        predictor: the model.
        photo: `(H, W, 3)` uint8 RGB.
        vocabularies: what names are chosen from, by what rows call it. Of a model that has masks
            alone there are no rows of names.
    """
    encoded = predictor.encode(photo)
    found: dict[str, Work] = {LOAD: load, ENCODE: partial(predictor.encode, photo)}
    for case in cases((photo.shape[0], photo.shape[1])):
        asked = _Asked(predictor, encoded, case)
        found[f"{case.name}: mask"] = asked.masks
        if not predictor.names_objects:
            continue
        for name, vocabulary in vocabularies.items():
            found[f"{case.name}: names of {name}"] = partial(asked.names, vocabulary)
        for name, vocabulary in vocabularies.items():
            found[f"{case.name}: mask and names of {name}"] = partial(asked.both, vocabulary)
    return found


class _Asked:
    """A case's prompts, answered by one model."""

    def __init__(self, predictor: Segmenter, encoded: object, case: Case) -> None:
        self._predictor, self._encoded, self._case = predictor, encoded, case

    @cached_property
    def _candidates(self) -> list[Candidates]:
        return self._predictor.segment(self._encoded, self._case.prompts, zoom=self._case.zoom)

    def masks(self) -> object:
        """Masks at the photo's size."""
        case = self._case
        found = self._predictor.segment(self._encoded, case.prompts, zoom=case.zoom)
        return [one.mask for one in found]

    def names(self, vocabulary: Vocabulary) -> object:
        """Names for masks that were found before."""
        return self._predictor.name(self._encoded, self._candidates, vocabulary=vocabulary)

    def both(self, vocabulary: Vocabulary) -> object:
        """Masks and names in one call."""
        case = self._case
        return self._predictor.predict(
            self._encoded, case.prompts, vocabulary=vocabulary, zoom=case.zoom
        )


def chosen(all_parts: Sequence[dict[str, Work]], wanted: Sequence[str]) -> list[dict[str, Work]]:
    """Of each model's parts those with a name that holds one of `wanted`; all if that is empty.

    Raises:
        UsageError: one of `wanted` is in no name.
    """
    names = list(dict.fromkeys(name for parts_of_one in all_parts for name in parts_of_one))
    for text in wanted:
        if not any(text in name for name in names):
            raise UsageError(
                f"--row {quoted(text)} is in the name of no row of these models; rows are "
                f"{first_few(map(repr, names), 8)}."
            )
    return [
        {name: work for name, work in some.items() if not wanted or any(w in name for w in wanted)}
        for some in all_parts
    ]
