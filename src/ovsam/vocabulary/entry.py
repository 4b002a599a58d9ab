"""One class of a vocabulary: its name, its synonyms and its marks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from numbers import Real

from ovsam.errors import VocabularyError, quoted
from ovsam.vocabulary.names import (
    begins_in_quotes,
    plain_name,
    plain_names,
    shown_name,
    spaced_name,
    split_marks,
    split_names,
    split_typed_marks,
)
from ovsam.vocabulary.wordnet import hierarchy

LEAST_WEIGHT, MOST_WEIGHT = 1e-6, 1e6
_WEIGHTS = f"a number from {LEAST_WEIGHT:f} to {MOST_WEIGHT:,.0f}"
_LONGEST = 1000  # characters; text models read some 70 words of a text, or 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")  # half a pair is no text


@dataclass(frozen=True, slots=True)
class Entry:
    """One class of a vocabulary.

    Attributes:
        name: what the class is shown by.
        synonyms: the texts that are embedded, as `plain_name` has them, at least one.
        answerable: whether it may be the answer; if not, it still takes its part of the scores.
        unseen: whether it was held back in training, so that an evaluation reports it apart, as
            novel; a model's scores do not depend on it.
        apart: whether it was given in quotes: it stays a class of its own where another means the
            same.
        weight: how often it is met beside a class of weight 1, its prior: in naming the logarithm
            is added to the log score. From `LEAST_WEIGHT` to `MOST_WEIGHT`.

    Raises:
        VocabularyError: the weight is none.
    """

    name: str
    synonyms: tuple[str, ...]
    answerable: bool = True
    unseen: bool = False
    apart: bool = field(default=False, compare=False)
    weight: float = 1.0
    # Found when it is first asked for; "" = none. A cached_property would make 22,000 dictionaries.
    _synset: str | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        weight = self.weight
        if type(weight) is not float or not LEAST_WEIGHT <= weight <= MOST_WEIGHT:
            if isinstance(weight, bool) or not (
                isinstance(weight, Real) and LEAST_WEIGHT <= weight <= MOST_WEIGHT
            ):
                raise VocabularyError(
                    f"Class '{self.name[:60]}' has the weight {quoted(weight)}. Give {_WEIGHTS}; "
                    "1 makes no difference."
                )
            object.__setattr__(self, "weight", float(weight))

    @property
    def synset(self) -> str | None:
        """The synset of WordNet 3.0 that the first known of its names means; None = no name is."""
        if self._synset is None:
            known = map(hierarchy().find, (self.name, *self.synonyms))
            object.__setattr__(self, "_synset", next(filter(None, known), ""))
        return self._synset or None


def typed_entry(text: str) -> Entry | None:
    """A class by its marks and names, as a person types them; None without a name.

    >>> typed_entry("!*3 coffee_mug/cup")
    Entry(name='coffee mug', synonyms=('coffee mug', 'cup'), answerable=False, unseen=False, \
apart=False, weight=3.0)

    Raises:
        VocabularyError: its weight is none.
    """
    marks, bare = split_typed_marks(text)
    weight = _typed_weight(marks, text) if "*" in marks else 1.0
    if not (names := split_names(bare)):
        return None
    return Entry(
        names[0],
        plain_names(names),
        "!" not in marks,
        "~" in marks,
        begins_in_quotes(bare),
        weight,
    )


def _typed_weight(marks: str, text: str) -> float:
    """The weight among the marks of a class, such as `*3`."""
    try:
        [weight] = map(float, re.findall(r"\*([^\s!~*]*)", marks))
    except ValueError:
        weight = 0.0
    if not LEAST_WEIGHT <= weight <= MOST_WEIGHT:
        raise VocabularyError(
            f"A * before a name is followed by the weight of the class, {_WEIGHTS}, as in "
            f"'*3 cat'; got {text.strip()[:60]!r}. In quotes a * is part of the name."
        )
    return weight


def typed_entries(vocabulary: str, texts: Iterable[str]) -> list[Entry]:
    """Classes as a person types them, one in each text.

    Args:
        vocabulary: its name, for messages.
        texts: see `typed_entry`.

    Raises:
        VocabularyError: they are one text, or one of them is none, has no name, or a weight that
            is none.
    """
    if isinstance(texts, str):
        raise VocabularyError(
            f"Vocabulary '{vocabulary}' must be a list of names, got the text {texts[:60]!r}. "
            "Use load_vocabulary for a comma list."
        )
    entries = []
    for number, text in enumerate(texts, start=1):
        if not isinstance(text, str):
            raise VocabularyError(
                f"Class {number} of vocabulary '{vocabulary}' must be a text, got {quoted(text)}."
            )
        if (entry := typed_entry(text)) is None:
            raise VocabularyError(
                f"Class {number} of vocabulary '{vocabulary}' has an empty name, got "
                f"{text[:60]!r}. Give it one or remove it."
            )
        entries.append(entry)
    return entries


def new_entry(vocabulary: str, text: str) -> Entry:
    """A class that a person adds to a vocabulary.

    Raises:
        VocabularyError: it has no name, or a weight that is none.
    """
    entry = typed_entry(text)
    if entry is None:
        raise VocabularyError(
            f"The new class of vocabulary '{vocabulary}' has an empty name, got {text[:60]!r}. "
            "Give it one."
        )
    return entry


def whole_entry(names: Sequence[str], *, seen: bool = True, weight: float = 1.0) -> Entry:
    """A class by its names, which may hold any character; `!` and `~` are as a person types them.

    Raises:
        VocabularyError: the weight is none.
    """
    marks, bare = split_marks(names[0])
    first = spaced_name(bare)
    synonyms = plain_names([first, *names[1:]])
    return Entry(first, synonyms, "!" not in marks, not seen or "~" in marks, weight=weight)


def checked_entries(vocabulary: str, entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The classes of a vocabulary with their names as they are shown and embedded.

    Args:
        vocabulary: its name, for messages.
        entries: its classes.

    Raises:
        VocabularyError: there is no class or none may be the answer, a name is given twice, is
            empty, too long, or has control characters.
    """
    if not entries:
        raise VocabularyError(f"Vocabulary '{vocabulary}' is empty. Give at least one class name.")
    if not any(entry.answerable for entry in entries):
        raise VocabularyError(
            f"Vocabulary '{vocabulary}' has no class that may be the answer. "
            "Take the leading '!' from at least one."
        )
    if _are_plain(entries):
        return tuple(entries)
    for number, entry in enumerate(entries, start=1):
        if any(map(_CONTROL.search, (entry.name, *entry.synonyms))):
            raise VocabularyError(
                f"Class {number} of vocabulary '{vocabulary}' has a control character in "
                f"{entry.name[:60]!r}. Give names as plain text."
            )
    found: list[Entry] = []
    names: set[str] = set()
    for number, given in enumerate(entries, start=1):
        entry = replace(given, name=shown_name(given.name), synonyms=plain_names(given.synonyms))
        longest = max(map(len, (entry.name, *entry.synonyms)))
        if longest > _LONGEST:
            raise VocabularyError(
                f"Class {number} of vocabulary '{vocabulary}' has a name of {longest:,} "
                f"characters, the limit is {_LONGEST:,}. Give a shorter one to "
                f"{entry.name[:60]!r}."
            )
        key = plain_name(entry.name)
        if key in names:
            raise VocabularyError(
                f"Vocabulary '{vocabulary}' has the class '{entry.name}' twice. "
                "Remove one or rename it."
            )
        names.add(key)
        if not key or not entry.synonyms or not all(entry.synonyms):
            raise VocabularyError(
                f"Class {number} of vocabulary '{vocabulary}' has an empty name. "
                "Give it one or remove it."
            )
        found.append(entry)
    return tuple(found)


def _are_plain(entries: Sequence[Entry]) -> bool:
    """Whether nothing is to be changed or refused, as it is with most lists.

    In a few sweeps over all names, since an edit of a long vocabulary is to take milliseconds.
    """
    names = [entry.name for entry in entries]
    synonyms = [entry.synonyms for entry in entries]
    if not all(synonyms) or set(map(type, synonyms)) != {tuple}:
        return False
    texts = list(chain.from_iterable(synonyms))
    joined = "|".join(["", *texts, ""])
    return (
        _is_plain("|".join(["", *names, ""]))
        and _is_plain(joined)
        and joined == joined.lower()
        and max(map(len, names)) <= _LONGEST
        and max(map(len, texts)) <= _LONGEST
        and len(set(map(str.lower, names))) == len(names)
    )


def _is_plain(joined: str) -> bool:
    """Whether names, with bars between and around them, are as `shown_name` has them."""
    odd = ("  ", "| ", " |", "||", "`")
    return joined.isascii() and joined.isprintable() and not any(part in joined for part in odd)
