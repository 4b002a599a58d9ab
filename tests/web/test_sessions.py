from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fakes import FakePredictor
from ovsam.errors import VocabularyError
from ovsam.structures import Prompt
from ovsam.vocabulary.load import load_vocabulary
from ovsam.web.sessions import PhotoNotHeldError, Sessions, parse_vocabulary


def image(height: int = 4, width: int = 5) -> NDArray[np.uint8]:
    return np.zeros((height, width, 3), dtype=np.uint8)


def test_ids_are_unguessable_and_distinct() -> None:
    sessions = Sessions(FakePredictor())
    ids = {sessions.open(image()).id for _ in range(5)}
    assert len(ids) == 5
    assert all(len(photo_id) >= 20 for photo_id in ids)


def test_the_least_recently_used_photo_is_dropped() -> None:
    sessions = Sessions(FakePredictor(), capacity=2)
    first, second = sessions.open(image()), sessions.open(image())
    sessions.get(first.id)
    third = sessions.open(image())
    assert sessions.get(first.id) is first
    assert sessions.get(third.id) is third
    with pytest.raises(PhotoNotHeldError, match=r"^This photo is no longer held: open it again\.$"):
        sessions.get(second.id)


def test_a_model_of_masks_alone_is_asked_for_masks() -> None:
    sessions = Sessions(FakePredictor(names_objects=False))
    photo = sessions.open(image(20, 30))
    box = Prompt(box_xyxy=[3, 4, 13, 9])
    found = sessions.predict(photo.id, box, vocabulary=None, multimask=False, top=5)
    assert (found.mask.sum(), found.labels) == (50, ((),))
    vocabulary = load_vocabulary("cat, dog")
    assert sessions.prepare(vocabulary) is vocabulary


def test_photos_are_dropped_when_they_are_large_together() -> None:
    sessions = Sessions(FakePredictor(), capacity_pixels=100)
    small = sessions.open(image(5, 5))
    large = sessions.open(image(10, 20))  # larger than the limit by itself, yet held
    assert sessions.get(large.id) is large
    with pytest.raises(PhotoNotHeldError):
        sessions.get(small.id)


def test_vocabulary_is_a_builtin_name_or_class_names() -> None:
    assert parse_vocabulary("*3 cat, dog").entries[0].weight == 3
    assert len(parse_vocabulary(" coco ")) == 80
    assert parse_vocabulary("cat, dog/puppy\ncoffee mug,").classes == ("cat", "dog", "coffee mug")
    assert parse_vocabulary("cat,").classes == parse_vocabulary("cat").classes == ("cat",)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "The vocabulary is empty"),
        (" , \n", "The vocabulary is empty"),
        ("cocoo", "There is no vocabulary 'cocoo': did you mean coco.* ends with a comma"),
        ("cat, dog, !cat", "'cat' twice"),
        (",".join(map(str, range(10_001))), "at most 10,000 class names, got 10,001"),
    ],
)
def test_bad_vocabulary_is_one_sentence(spec: str, message: str) -> None:
    with pytest.raises(VocabularyError, match=message):
        parse_vocabulary(spec)


@pytest.mark.parametrize(
    "spec", ["/etc/hostname", "names.txt", "../a.json", "~/x", "C:\\x", "a.yaml", "names.txt,"]
)
def test_vocabulary_never_reads_a_file(
    spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "names.txt").write_text("secret\n")
    monkeypatch.chdir(tmp_path)
    if spec.endswith(","):  # a list is names, whatever they look like
        assert parse_vocabulary(spec).classes == ("names.txt",)
        return
    with pytest.raises(VocabularyError, match="There is no vocabulary"):
        parse_vocabulary(spec)


def test_a_photo_that_is_opened_again_is_not_encoded_again() -> None:
    predictor = FakePredictor()
    sessions = Sessions(predictor, capacity=1)
    first, again = sessions.open(image(20, 30)), sessions.open(image(20, 30))
    assert (predictor.encode_calls, first.id == again.id) == (1, False)
    assert sessions.get(again.id).encoded is first.encoded
    sessions.open(image(30, 20))
    assert predictor.encode_calls == 2
