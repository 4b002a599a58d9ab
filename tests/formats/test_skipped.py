"""What may be left out of the data, and how much of it."""

from __future__ import annotations

from ovsam.formats.skipped import Skipped, too_many


def bad(count: int, photo: str = "a.jpg") -> list[Skipped]:
    return [Skipped(photo, f"Annotation {i} has no mask.", annotation=True) for i in range(count)]


def test_one_in_a_hundred_may_be_left_out_and_one_always() -> None:
    photos = [Skipped(f"{i}.jpg", "It is cut short.") for i in range(5)]
    assert too_many(photos[:4], 400, 9) is None
    assert too_many(photos[:1], 3, 3) is None
    assert too_many([], 0, 0) is None
    sentence = too_many(photos, 400, 9)
    assert sentence is not None
    assert sentence.startswith(
        "5 of 400 photos cannot be used, more than 1%, first of '0.jpg': It is cut short. "
    )


def test_annotations_are_counted_apart() -> None:
    assert too_many([*bad(4), Skipped("b.jpg", "It is cut short.")], 100, 400) is None
    sentence = too_many(bad(5), 100, 400)
    assert sentence is not None
    assert sentence.startswith("5 of 400 annotations cannot be used, more than 1%, first of 'a")


def test_where_annotations_are_not_listed_photos_with_bad_ones_count() -> None:
    assert too_many(bad(50), 100, None) is None
    sentence = too_many([*bad(50), *bad(1, "b.jpg")], 100, None)
    assert sentence is not None
    assert sentence.startswith("2 of 100 photos have annotations that cannot be used, more than")


def test_a_photo_that_is_met_twice_counts_once() -> None:
    twice = [Skipped("a.jpg", "It is cut short."), Skipped("a.jpg", "It is of another size.")]
    assert too_many(twice, 100, 100) is None
