"""How names are written, shown, compared and split."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from itertools import pairwise

_INVISIBLE = re.compile(
    "[\u00ad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
)
_SHAPES = re.compile("[\u200c\u200d\ufe00-\ufe0f]")  # joiners, and variants of a sign
_DRAWN_ALIKE = str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-")
    | dict.fromkeys("\u2018\u2019\u201b\u02bc\u00b4`", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u201f", '"')
)
_QUOTES = "\"'“‘"
_MARKS = rf"(?:[!~\s]|\*[^\s,!~*{_QUOTES}]*)*"  # ! and ~, and *3, a weight
_TYPED_MARKS = re.compile(_MARKS)
# A name in quotes, perhaps with marks before it, or what stands between two commas. The bounds keep
# many quotes without an end from being read to the end of the text, each of them.
_ITEM = re.compile(
    rf"""(?P<marks>{_MARKS})(?:"(?P<a>[^"]{{,1000}})"|'(?P<b>[^']{{,1000}})'"""
    r"""|“(?P<c>[^”]{,1000})”|‘(?P<d>[^’]{,1000})’)"""
    r"""\s*(?=,|$)|[^,]+"""
)
_NEEDS_QUOTES = f"{_QUOTES}!~*#{{"  # what a name may not begin with where it is typed
_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")
_JOINING = frozenset(  # words that are no name: a slash beside one is part of a name
    "and,or,on,off,in,out,up,down,yes,no,with,without,his,her,he,she".split(",")
)


def shown_name(name: str) -> str:
    r"""A name as it is shown: composed (NFC), single blanks, nothing that nobody sees.

    >>> shown_name("cafe\u0301  noir\u200b") == "caf\xe9 noir"
    True
    """
    if not name.isascii():
        name = _INVISIBLE.sub("", unicodedata.normalize("NFC", name))
    return " ".join(name.split())


def spaced_name(name: str) -> str:
    """A name as it is shown, with blanks where it has underscores."""
    return shown_name(name.replace("_", " "))


def plain_name(name: str) -> str:
    r"""A name as it is compared and embedded: the same for names that look the same.

    Lower case; letters in their plain form (NFKC: full width is none); one hyphen, apostrophe,
    quote and blank for all that are drawn alike; nothing that nobody sees.

    >>> plain_name("Ｔ－shirt\u200b"), plain_name("Cat’s  eye")
    ('t-shirt', "cat's eye")
    """
    if name.isascii() and "`" not in name:
        return " ".join(name.lower().split())
    name = _SHAPES.sub("", _INVISIBLE.sub("", name)).translate(_DRAWN_ALIKE)
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).lower())
    return " ".join(plain.translate(_DRAWN_ALIKE).split())


def plain_names(names: Iterable[str]) -> tuple[str, ...]:
    """Names as they are embedded, each once."""
    return tuple(dict.fromkeys(map(plain_name, names)))


def typed_name(name: str) -> str:
    """A name as it is written in a list or a text file: in quotes where it needs them.

    >>> print(typed_name("w/o helmet"), typed_name("bag, paper"))
    w/o helmet "bag, paper"
    """
    if split_names(name) == [name] and name[0] not in _NEEDS_QUOTES:
        return name
    quote = "'" if '"' in name else '"'
    return f"{quote}{name}{quote}"


def typed_names(text: str) -> list[str]:
    """What stands between commas or line breaks; a name in quotes keeps its commas.

    >>> typed_names("cat, 'bag, paper'")
    ['cat', "'bag, paper'"]
    """
    listed = re.sub(r"[\r\n，、]+", ",", text)  # commas of other scripts, too
    items = (item[0].strip() for item in _ITEM.finditer(listed.strip()))
    return [item for item in items if item]


def split_marks(text: str) -> tuple[str, str]:
    """The marks `!` and `~` before a name, and the rest."""
    text = text.strip()
    bare = text.lstrip("!~")
    return text.removesuffix(bare), bare


def split_typed_marks(text: str) -> tuple[str, str]:
    """All marks before a name that a person types, weights such as `*3` among them, and the rest.

    >>> split_typed_marks("!*3 cat")
    ('!*3 ', 'cat')
    """
    end = _TYPED_MARKS.match(text).end()  # type: ignore[union-attr]  # it matches nothing, too
    return text[:end], text[end:]


def split_names(names: str) -> list[str]:
    """The names of a class: between commas, `_or_` and separating slashes, or in quotes.

    Which slashes separate, `load_vocabulary` says.

    >>> split_names("coffee_mug/cup, 'bag, paper'")
    ['coffee mug', 'cup', 'bag, paper']
    """
    if not any(quote in names for quote in _QUOTES):
        items = names.split(",")
        if "_" not in names and "/" not in names:
            return [part for part in map(shown_name, items) if part]
        parts = [part for item in items for part in _split_unquoted(item)]
    else:
        parts = []
        for item in _ITEM.finditer(names):
            if item.lastgroup is not None:
                parts.append(item[item.lastgroup])
            else:
                parts += _split_unquoted(item[0])
    return [part for part in map(spaced_name, parts) if part]


def begins_in_quotes(names: str) -> bool:
    """Whether the first of a class's names is in quotes."""
    names = names.lstrip()
    first = _ITEM.match(names) if names[:1] in _QUOTES else None
    return first is not None and first.lastgroup is not None


def _split_unquoted(names: str) -> list[str]:
    """Names between `_or_` and separating slashes."""
    return [
        part for names in names.split("_or_") for part in _split_slashes(names.replace("_", " "))
    ]


def _split_slashes(names: str) -> list[str]:
    if "/" not in names:
        return [names]
    pieces = names.split("/")
    groups = [[pieces[0]]]
    for before, after in pairwise(pieces):
        if _separates(before, after):
            groups.append([after])
        else:
            groups[-1].append(after)
    return list(map("/".join, groups))


def _separates(before: str, after: str) -> bool:
    """Whether a slash between these two separates names."""
    if before[-1:].isspace() and after[:1].isspace():
        return True
    ends = [*before.split()[-1:], *after.split()[:1]]
    if len(ends) < 2:
        return True  # no name on one side
    words = [word if word.isalnum() else _PUNCTUATION.sub("", word) for word in ends]
    return not (
        any(map(_is_fragment, words))
        or all(word[0].isdigit() for word in words)
        or all(map(str.isupper, words))
    )


def _is_fragment(word: str) -> bool:
    """Whether it is no name: nothing, a letter alone, or a word such as "or"."""
    if len(word) > 1:
        return word.lower() in _JOINING
    return not word or (word.isalpha() and unicodedata.category(word) != "Lo")  # not of a sign
