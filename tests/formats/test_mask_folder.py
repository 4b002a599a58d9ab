"""Photos with pictures of masks, and what is ignored beside them."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from layout_folders import (
    mask_folder,
    no_report,
)
from ovsam.data.check import check
from ovsam.formats.layouts import list_photos
from photo_folder import HEIGHT, WIDTH, rectangle, write_photo


def test_what_was_done_to_masks_is_said_once(tmp_path: Path) -> None:
    whole = Image.fromarray(rectangle(21, 13, 71, 47, (HEIGHT, WIDTH)).astype(np.uint8) * 255)
    soft = np.asarray(whole.resize((45, 30)).resize((WIDTH, HEIGHT)))
    numbers = np.zeros((HEIGHT, WIDTH), np.uint8)
    numbers[5:30, 5:30], numbers[30:50, 40:70] = 1, 255
    for name in "ab":
        mask_folder(tmp_path, soft, f"{name}.png", f"{name}.jpg")
    mask_folder(tmp_path, numbers, "c.png", "c.jpg")
    found = check(tmp_path)
    assert (found.problems, sum(found.instances.values())) == ([], 3)
    assert found.notes == {
        "masks with grey rims, cut at half of white": 2,
        "label maps in which 255 is no object but void": 1,
    }


def test_mixed_numbers_are_a_problem_of_their_photo(tmp_path: Path) -> None:
    numbers = np.zeros((HEIGHT, WIDTH), np.uint8)
    for i in range(4):
        numbers[10:50, 20 * i + 5 : 20 * i + 22] = 50 * (i + 1)
    shrunk = Image.fromarray(numbers).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    blurred = np.asarray(shrunk.resize((45, 30)).resize((WIDTH, HEIGHT)))
    found = check(mask_folder(tmp_path, blurred))
    [problem] = found.problems
    assert "masks/a.png' cannot be used: its" in problem and "nearest neighbour" in problem
    assert found.instances == {}


@pytest.mark.parametrize("name", ["a.PNG", "A.png", "a.jpg", "a.bmp", "a.tif"])
def test_masks_of_other_suffixes(tmp_path: Path, name: str) -> None:
    mask = rectangle(21, 13, 71, 47, (HEIGHT, WIDTH)).astype(np.uint8) * 255
    found = check(mask_folder(tmp_path, mask, name, "a.JPG"))
    assert (found.problems, sum(found.instances.values())) == ([], 1)


def test_masks_and_photos_that_do_not_belong(tmp_path: Path) -> None:
    mask = rectangle(21, 13, 71, 47, (HEIGHT, WIDTH)).astype(np.uint8) * 255
    mask_folder(tmp_path, mask)
    Image.fromarray(mask).save(tmp_path / "masks/a.jpg")
    Image.fromarray(mask).save(tmp_path / "masks/b.png")
    for name in ("masks/._a.png", "masks/notes.txt", "images/Thumbs.db", "images/.DS_Store"):
        (tmp_path / name).write_text("x")
    found = check(tmp_path)
    assert found.photos == 1
    second, without = found.problems
    assert "masks/a.jpg' is a second one beside 'a.png'" in second
    assert "masks/b.png' has no photo of its stem" in without
    assert found.ignored == {
        "hidden files and folders, and those of a system": 3,
        "files that are no photos (.txt)": 1,
    }


def test_names_with_letters_composed_otherwise(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    mask = rectangle(21, 13, 71, 47, (HEIGHT, WIDTH)).astype(np.uint8) * 255
    mask_folder(tmp_path / "masks", mask, f"{apart}.png", f"{composed}.jpg")
    write_photo(tmp_path / f"sa/{apart}.JPG")
    region = {"id": 1, "bbox": [0, 0, 5, 5], "segmentation": [[0, 0, 5, 0, 5, 5]]}
    (tmp_path / f"sa/{composed}.json").write_text(json.dumps({"annotations": [region]}))
    for folder in ("masks", "sa"):
        found = check(tmp_path / folder)
        assert (found.photos, found.problems, sum(found.instances.values())) == (1, [], 1), folder


def test_a_map_of_numbers_in_a_jpeg_file_is_a_problem(tmp_path: Path) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[8:24, 8:24] = 1
    mask[8:24, 24:40] = 2
    mask_folder(tmp_path, mask)
    assert len(next(iter(list_photos(tmp_path, None, no_report).photos)).instances) == 2
    (tmp_path / "masks/a.png").rename(tmp_path / "masks/a.JPG")
    [photo] = list_photos(tmp_path, None, no_report).photos
    assert not photo.instances and "JPEG changes numbers" in photo.problems[0]
