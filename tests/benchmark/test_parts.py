"""What is timed is what the names of the rows say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fakes import FakePredictor
from ovsam.benchmark.parts import chosen, parts
from ovsam.benchmark.scene import HEIGHT, WIDTH, cases, made_up_photo
from ovsam.errors import UsageError
from ovsam.vocabulary.load import load_vocabulary

LISTS = {"two": load_vocabulary("cat, dog"), "three": load_vocabulary("cup, fork, spoon")}
PHOTO = np.zeros((40, 60, 3), np.uint8)


class Recorder(FakePredictor):
    """Remembers what it was asked: the verb, how many items, zoom, classes."""

    asked: list[tuple[str, int, bool | None, int]]

    def _note(self, verb: str, items: Any, options: dict[str, Any]) -> None:
        words = options.get("vocabulary")
        self.asked = [
            *getattr(self, "asked", []),
            (verb, len(items), options.get("zoom"), len(words or ())),
        ]

    def segment(self, encoded: Any, prompts: Any, **options: Any) -> Any:
        self._note("segment", prompts, options)
        return super().segment(encoded, prompts, **options)

    def name(self, encoded: Any, masks: Any, **options: Any) -> Any:
        self._note("name", masks, options)
        return super().name(encoded, masks, **options)

    def predict(self, encoded: Any, prompts: Any, **options: Any) -> Any:
        self._note("predict", prompts, options)
        return FakePredictor().predict(encoded, prompts, **options)


def nothing() -> None: ...


def test_each_row_does_what_its_name_says() -> None:
    predictor = Recorder()
    works = parts(nothing, predictor, PHOTO, LISTS)
    names = ["box", "box, zoom", "point", "point, zoom", "16 boxes", "16 boxes, zoom", "64 boxes"]
    verbs = ["mask", "names of two", "names of three"]
    both = ["mask and names of two", "mask and names of three"]
    assert list(works) == ["load", "encode", *(f"{n}: {v}" for n in names for v in verbs + both)]
    for name, work in works.items():
        if name in ("load", "encode"):
            continue
        work()  # what is done once is not timed
        predictor.asked = []
        work()
        case, _, what = name.partition(": ")
        count = int(case.split()[0]) if case[0].isdigit() else 1
        zoom = "zoom" in case
        classes = {"two": 2, "three": 3}.get(what.split()[-1], 0)
        verb = (
            {"mask": "segment", "names": "name"}[what.split()[0]]
            if "and" not in what
            else "predict"
        )
        [(asked, items, zoomed, words)] = predictor.asked
        assert (asked, items, words) == (verb, count, classes), name
        assert zoomed == (None if verb == "name" else zoom), name
    calls = predictor.encode_calls
    works["encode"]()
    assert predictor.encode_calls == calls + 1
    assert works["load"] is nothing


def test_a_model_of_masks_alone_has_no_rows_of_names() -> None:
    works = parts(nothing, FakePredictor(names_objects=False), PHOTO, LISTS)
    assert len(works) == 2 + len(cases((40, 60)))
    assert not any("names" in name for name in works)
    for work in works.values():
        work()


def test_rows_are_chosen_by_a_part_of_their_names() -> None:
    with_names, alone = (
        parts(nothing, FakePredictor(names_objects=named), PHOTO, LISTS) for named in (True, False)
    )
    first, second = chosen([with_names, alone], ["load", "point: "])
    assert list(second) == ["load", "point: mask"]
    assert len(first) == 6
    assert chosen([alone], []) == [alone]
    with pytest.raises(
        UsageError, match=r"--row 'cat' is in the name of no row .*'load', 'encode'"
    ):
        chosen([with_names], ["load", "cat"])


def test_the_made_up_photo_is_always_the_same_and_has_something_on_it() -> None:
    photo = made_up_photo()
    assert photo.shape == (HEIGHT, WIDTH, 3) and photo.dtype == np.uint8
    assert np.array_equal(photo, made_up_photo())
    assert photo.std() > 30


def test_prompts_lie_on_any_photo() -> None:
    for size in ((480, 640), (3000, 17), (8, 8)):
        for case in cases(size):
            for prompt in case.prompts:
                prompt.check_inside(size)
