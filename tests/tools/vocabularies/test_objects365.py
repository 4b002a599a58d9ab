"""Objects365's classes."""

from __future__ import annotations

from tools.vocabularies.choices import Objects365
from tools.vocabularies.objects365 import objects365_entries, objects365_files

CHOICES = Objects365(
    kept_case=["TV", "CD"],
    spelling={"Moniter/TV": "Monitor/TV", "Tape Measur/ Ruler": "Tape/Ruler"},
)
NAMES = ["Person", "Moniter/TV", "CD", "Cup/cup", "Tape Measur/ Ruler"]


def test_names_are_put_right_in_lower_case() -> None:
    names = [entry.names for entry in objects365_entries(NAMES, CHOICES)]
    assert names == [["person"], ["monitor", "TV"], ["CD"], ["cup"], ["tape", "ruler"]]


def test_two_files_are_written() -> None:
    files = objects365_files(objects365_entries(NAMES, CHOICES), CHOICES)
    assert files["objects365"].lines == ("person", "monitor, TV", "CD", "cup", "tape, ruler")
    assert "(2: see" in files["objects365"].comments[3]
    assert files["objects365_spellings"].lines == (
        "moniter/tv: monitor",
        "tape measur/ ruler: tape",
    )
