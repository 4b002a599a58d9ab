"""Photos are found by their files' names, however these are written."""

from __future__ import annotations

import pytest

from ovsam.formats.annotations import Photo
from ovsam.formats.photo_names import PhotoNames, as_posix, base_name, number_of


def photo(number: int, file_name: str) -> Photo:
    return Photo(number, file_name, (40, 60))


PHOTOS = [photo(1, "a/0007.jpg"), photo(2, "b/0007.jpg"), photo(3, "b/cafe\u0301.png")]


def test_a_name_finds_a_photo_where_only_one_has_it() -> None:
    names = PhotoNames(PHOTOS)
    assert names.find("a/0007.jpg") is PHOTOS[0]
    assert names.find("b\\0007.jpg") is PHOTOS[1]
    assert names.find("0007.jpg") is None, "there are two"
    assert names.find("elsewhere/caf\u00e9.png") is PHOTOS[2], "composed or not"
    assert names.find(7) is names.find("none.png") is None
    assert names.by_stem["0007"] is names.by_number[7] is None


@pytest.mark.parametrize(
    ("name", "number"),
    [("a/0007.jpg", 7), ("12", 12), ("a.jpg", None), ("\u00b2.jpg", None), (f"{10**19}.jpg", None)],
)
def test_the_number_of_a_file(name: str, number: int | None) -> None:
    assert number_of(photo(1, name)) == number


def test_ids_are_numbers_of_files_where_they_are_no_ids() -> None:
    names = PhotoNames([photo(1, "7.jpg"), photo(2, "8.jpg")])

    def are_numbers(*rows: object) -> bool:
        return names.are_numbers(list(rows), {1, 2})

    assert are_numbers({"image_id": 7}, {"image_id": 8})
    assert not are_numbers({"image_id": 1}, {"image_id": 2})
    assert not are_numbers({"image_id": 7}, {"image_id": 9}), "9 is no file's number"
    assert are_numbers({"image_id": 7}, {"image_id": 99, "file_name": "8.jpg"}), "a name decides"
    assert not are_numbers("no row", {"image_id": "7"})


def test_names_as_all_systems_write_them() -> None:
    assert as_posix("a\\b.jpg") == "a/b.jpg"
    assert base_name("a\\b/c.jpg") == "c.jpg"
