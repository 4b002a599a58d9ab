"""The files in `src/ovsam/vocabularies`: comments that say the source, then one class a line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from tools.vocabularies.entry import Entry

ONE_CLASS_A_LINE = (
    "One class on each line: the name shown, then synonyms. All of them are embedded."
)


@dataclass(frozen=True)
class TextFile:
    """A file's comments, without their marks, and its lines."""

    comments: tuple[str, ...]
    lines: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Of what is written in the file."""
        comments = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("#")]
        return cls(tuple(comments), tuple(line for line in text.splitlines() if line[:1] != "#"))

    @classmethod
    def of_entries(cls, comments: Iterable[str], entries: Iterable[Entry]) -> Self:
        """A vocabulary; `comments` say what it is and where it comes from."""
        lines = tuple(", ".join(entry.names) for entry in entries)
        return cls((*comments, ONE_CLASS_A_LINE), lines)

    def names(self) -> list[list[str]]:
        """The names of each class of a vocabulary."""
        return [line.split(", ") for line in self.lines]

    def text(self) -> str:
        """What is written in the file."""
        return "".join(f"{line}\n" for line in (*(f"# {c}" for c in self.comments), *self.lines))
