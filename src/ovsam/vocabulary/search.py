"""Finding classes of a vocabulary by words of their names."""

from __future__ import annotations

import re

from ovsam.vocabulary.difference import all_names
from ovsam.vocabulary.names import plain_name
from ovsam.vocabulary.vocabulary import Vocabulary


def find(vocabulary: Vocabulary, words: str) -> list[int]:
    """Rows of the classes with a word in a name that begins with `words`.

    Case, hyphens, blanks and plurals make no difference.

    >>> find(Vocabulary.from_names(["cattle", "sofa", "tabby/cat", "vacation"]), "Cats")
    [2, 0]
    >>> find(Vocabulary.from_names(["hot dog", "hotdogs stand", "dog"]), "hot-dog")
    [0, 1]
    """
    wanted = plain_words(words)
    joined = wanted.replace(" ", "")
    pattern = re.compile(rf"(?<!\w){re.escape(wanted)}")
    ranks: dict[int, bool] = {}  # False = called so, which comes first
    for row in range(len(vocabulary)):
        names = list(map(plain_words, all_names(vocabulary, row)))
        whole = [name.replace(" ", "") for name in names]
        if joined in whole:
            ranks[row] = False
        elif any(map(pattern.search, names)) or any(name.startswith(joined) for name in whole):
            ranks[row] = True
    return sorted(ranks, key=ranks.__getitem__)


def plain_words(text: str) -> str:
    """Its words in lower case and the singular: `Hot-Dogs` -> `hot dog`."""
    return " ".join(map(_singular, re.findall(r"\w+", plain_name(text.replace("_", " ")))))


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) else word
