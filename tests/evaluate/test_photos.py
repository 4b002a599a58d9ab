"""Photos are checked before any work is done."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluate.drawn import TWO, annotated
from fakes import FakePredictor
from ovsam.errors import AnnotationError, PhotoError
from ovsam.evaluate.instances import evaluate
from ovsam.evaluate.photos import chosen_photos
from ovsam.jobs.run import Job


def test_limit_counts_photos_with_instances(images: Path) -> None:
    assert [photo.id for photo in chosen_photos(annotated(*TWO), images, 1)] == [1]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_photo_that_is_cut_short_is_named_before_any_work(images: Path, kind: str) -> None:
    fake = FakePredictor()
    path = images / "b.png"  # whatever is in it
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, kind)
    whole = path.read_bytes()
    path.write_bytes(whole + b"what a camera adds")
    assert evaluate(fake.as_predictor(), annotated(*TWO), images, prompts="box").photos == 2
    calls = fake.encode_calls
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(PhotoError, match=r"Photo 2 of the annotations: .*b\.png' .*cut short"):
        evaluate(fake.as_predictor(), annotated(*TWO), images, prompts="box")
    assert fake.encode_calls == calls


def test_missing_photo_is_named_before_any_work(images: Path) -> None:
    (images / "b.png").unlink()
    fake = FakePredictor()
    with pytest.raises(AnnotationError, match=r"1 of 2 photos are missing .* first 'b.png'"):
        evaluate(fake.as_predictor(), annotated(*TWO), images, prompts="box")
    assert fake.encode_calls == 0


def test_photo_of_another_size_is_named_before_any_work(images: Path) -> None:
    Image.new("RGB", (61, 40)).save(images / "b.png")
    fake, journal = FakePredictor(), images / "run.jsonl"
    with pytest.raises(AnnotationError, match=r"'b\.png' \(id 2\) in .* is 61 x 40 pixels, but"):
        evaluate(fake.as_predictor(), annotated(*TWO), images, prompts="box", job=Job(journal))
    assert fake.encode_calls == 0
    assert not journal.exists()
