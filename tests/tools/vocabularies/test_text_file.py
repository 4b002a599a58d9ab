"""The form of the vocabularies' files, and the form of those that ship."""

from __future__ import annotations

import pytest

from tools.vocabularies.build import SHIPPED, shipped
from tools.vocabularies.entry import Entry
from tools.vocabularies.text_file import ONE_CLASS_A_LINE, TextFile

VOCABULARIES = ("coco", "lvis", "objects365", "imagenet1k", "imagenet21k", "22k")
WRITTEN = ("lvis", "lvis_groups", "objects365", "objects365_spellings", "imagenet21k", "22k")


def test_comments_stand_before_one_class_a_line() -> None:
    file = TextFile.of_entries(["Two classes."], [Entry(["dog", "hound"]), Entry(["cat"])])
    text = f"# Two classes.\n# {ONE_CLASS_A_LINE}\ndog, hound\ncat\n"
    assert file.text() == text
    assert TextFile.parse(text) == file
    assert file.names() == [["dog", "hound"], ["cat"]]


@pytest.mark.parametrize("name", [*WRITTEN, "synsets"])
def test_a_shipped_file_is_as_it_would_be_written(name: str) -> None:
    assert shipped(name).text() == (SHIPPED / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", VOCABULARIES)
def test_a_shipped_vocabulary_is_as_its_names_would_be_written(name: str) -> None:
    file = shipped(name)
    assert file.comments[-1] == ONE_CLASS_A_LINE
    entries = [Entry(names) for names in file.names()]
    assert TextFile.of_entries(file.comments[:-1], entries) == file
