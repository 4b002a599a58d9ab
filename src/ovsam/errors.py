"""Errors that a user can cause, each a single sentence: what, expected, got, what to do."""

from __future__ import annotations

from collections.abc import Iterable


class OvsamError(ValueError):
    """Base of every error that bad input or a bad file can cause."""


class UsageError(OvsamError):
    """What was asked for is wrong in itself, whatever the files hold."""


class PhotoError(OvsamError):
    """The photo cannot be read as an image."""


class PromptError(UsageError):
    """A point, box or mask prompt is malformed or lies outside its photo."""


class VocabularyError(OvsamError):
    """A vocabulary is empty, repeats a name, or cannot be found."""


class UnreadableNamesError(VocabularyError):
    """The text model reads none of a vocabulary's names, or all of them alike."""


class CheckpointError(OvsamError):
    """A weights file is corrupt, foreign, incomplete, or its parts do not belong together."""


class UnknownModelError(CheckpointError, UsageError):
    """No model has that name."""


class AnnotationError(OvsamError):
    """An annotation file does not follow the COCO layout."""


class TrainingError(OvsamError):
    """A training run cannot begin or go on."""


class SettingError(TrainingError, UsageError):
    """A change of a recipe is none, or makes a sound recipe one that cannot be used."""


class OutputError(OvsamError):
    """A result cannot be written where it was asked for."""


class OutputNameError(OutputError, UsageError):
    """A result's name does not say a format that it can be written in."""


def first_line(error: Exception) -> str:
    r"""The first line of what a library's error says, without a full stop, in 200 characters.

    >>> first_line(RuntimeError("no memory.\n at 0x00"))
    'no memory'
    >>> first_line(EOFError())
    'EOFError'
    """
    text = str(error).strip().partition("\n")[0].strip().rstrip(".") or type(error).__name__
    return text if len(text) <= 200 else f"{text[:197]}..."


def quoted(value: object) -> str:
    """A value as a message shows it: in one line and short, whatever it is.

    >>> quoted("a" * 100)
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa..."
    """
    try:
        text = repr(value)
    except RecursionError:
        return "something nested deeply"
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return "a number of thousands of digits"
    if "\n" in text:  # as arrays have
        text = " ".join(text.split())
    return text if len(text) <= 80 else text[:77] + "..."


def first_few(items: Iterable[str], count: int = 5, separator: str = ", ") -> str:
    """The first of many items, and how many more there are, as a message names them.

    >>> first_few(["a", "b", "c", "d"], 2)
    'a, b and 2 more'
    """
    items = list(items)
    shown = separator.join(items[:count])
    return shown if len(items) <= count else f"{shown} {and_more(len(items) - count)}"


def and_more(count: int) -> str:
    """What follows the first few where `count` items are left out.

    >>> and_more(1200)
    'and 1,200 more'
    """
    return f"and {count:,} more"
