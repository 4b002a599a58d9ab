"""What is a kind of what: WordNet's hypernyms of the built-in classes, and of words that mean them.

A word means what the vocabulary `22k` means by it, or else the first of the kinds above its
classes that is called so. `synsets.txt` says where another built-in vocabulary means something
else, `kinds.txt` where people call something a kind of what WordNet does not, and
`answer_kinds.txt` which kinds an answer may have. A plural that is not known means its singular.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from ovsam.errors import VocabularyError

RARE = 10
"""Of a word's meanings one with so many times fewer classes is not what a person means."""
OTHERS_SHARE = 0.05
"""A kind is an answer's only where its classes but for the likeliest have so much together."""
_NEAR = 5  # words that a message offers
_PLURALS = (("men", "man"), ("ies", "y"), ("s", ""), ("es", ""))  # endings, and of what


class Hierarchy:
    """The synsets of WordNet 3.0, written as in ImageNet (`n02084071`). Get it from `hierarchy`.

    What WordNet does not know but `kinds.txt` does has its name for a synset.
    """

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[str, ...]] = {}
        self._classes: dict[str, str] = {}  # those of 22k by their synset
        self._exceptions: dict[str, dict[str, str]] = {}  # by vocabulary
        self._above: dict[str, frozenset[str]] = {}
        self._bases: dict[str, str] = {}  # of irregular plurals
        called: list[tuple[str, str]] = []  # what WordNet calls each, where 22k does not
        for line in _lines("synsets"):
            kind, *rest = line.split(" ", 3)
            if kind == "means":
                self._exceptions.setdefault(rest[1], {})[rest[2].lower()] = rest[0]
            elif kind == "above":
                self._kinds[rest[0]] = _parents(rest[1])
                called += [(name.lower(), rest[0]) for name in rest[2].split(", ") if name]
            elif kind == "plural":
                plural, base = line.removeprefix("plural ").split(", ")
                self._bases[plural] = base
            else:
                synset, parents, names = line.split(" ", 2)
                self._kinds[synset] = _parents(parents)
                self._classes[synset], *lost = names.split(", ")
                called += [(name.lower(), synset) for name in lost]
        firsts = {name.lower(): synset for synset, name in self._classes.items()}
        synonyms = [
            (name.lower(), firsts[names[0].lower()])
            for names in (line.split(", ") for line in _lines("22k"))
            if names[0].lower() in firsts
            for name in names
        ]
        self._words = dict(reversed(called)) | dict(reversed(synonyms)) | firsts
        self._called: dict[str, set[str]] = {}
        for word, synset in (*called, *synonyms, *firsts.items()):
            self._called.setdefault(word, set()).add(synset)
        for line in _lines("kinds"):
            self._correct(*line.split(": "))

    def _correct(self, name: str, kinds: str) -> None:
        """Say what a thing is a kind of, too, or with "not" before it, is not."""
        synset = self._words.setdefault(name.lower(), name)
        if synset == name:
            self._classes[name] = name
            self._called[name.lower()] = {name}
        parents = list(self._kinds.get(synset, ()))
        for kind in kinds.split(", "):
            if kind.startswith("not "):
                parents.remove(self._words[kind.removeprefix("not ").lower()])
            else:
                parents.append(self._words[kind.lower()])
        self._kinds[synset] = tuple(parents)

    def find(self, word: str) -> str | None:
        """The synset that a word means; None where it is not known.

        >>> hierarchy().find("Dogs")
        'n02084071'
        """
        return next((self._words[w] for w in self._forms(word) if w in self._words), None)

    def exceptions(self, vocabulary: str) -> Mapping[str, str]:
        """What a built-in vocabulary means by names, in lower case, that mean something else here.

        >>> hierarchy().exceptions("imagenet1k")["kite"]
        'n01608432'
        """
        return self._exceptions.get(vocabulary, {})

    def __contains__(self, synset: str) -> bool:
        """Whether a synset is known.

        >>> "n02084071" in hierarchy()
        True
        """
        return synset in self._kinds

    def above(self, synset: str) -> frozenset[str]:
        """A synset and all that it is a kind of."""
        if synset not in self._above:
            parents = (self.above(parent) for parent in self._kinds[synset])
            self._above[synset] = frozenset({synset}.union(*parents))
        return self._above[synset]

    def levels_below(self, synset: str, kind: str) -> int | None:
        """How many hypernyms up from a synset a kind is, by the shortest way; None = it is none.

        >>> tree = hierarchy()
        >>> [tree.levels_below(tree.find(word), tree.find("dog")) for word in ("dog", "dalmatian")]
        [0, 1]
        """
        level, reached = 0, {synset}
        while kind not in reached:
            reached = {parent for one in reached for parent in self._kinds[one]}
            if not reached:
                return None
            level += 1
        return level

    def named(self, kind: str) -> frozenset[str]:
        """The synsets of a kind that a person asks for.

        Of several that are called so it is the one with the most classes of `22k` under it, and
        with it those that have at least a tenth as many: plants are no factories, but food is
        what is eaten raw and what is cooked. Where `answer_kinds.txt` has a synset, it is that.

        Raises:
            VocabularyError: the word is not known; names others that are written alike.
        """
        word = next((word for word in self._forms(kind) if word in self._called), "")
        if word in self._kind_synsets:
            return frozenset({self._kind_synsets[word]})
        if found := self._called.get(word):
            most = max(self._counts[synset] for synset in found)
            return frozenset(s for s in found if self._counts[s] >= most / RARE)
        near = difflib.get_close_matches(kind.lower(), self._words, n=_NEAR, cutoff=0.7)
        advice = f"Did you mean {', '.join(near)}?" if near else "Try a more common word."
        raise VocabularyError(
            f"'{kind[:60]}' is not known as a kind of thing; kinds are nouns of WordNet such as "
            f"animal, vehicle or food. {advice}"
        )

    def _forms(self, word: str) -> Iterator[str]:
        """How a word may be written in WordNet, and what it may be the plural of."""
        word = " ".join(word.split()).lower()
        yield word
        if word in self._bases:
            yield self._bases[word]
        yield from regular_singulars(word)

    @cached_property
    def _counts(self) -> Counter[str]:
        """How many classes of 22k are of each kind."""
        return Counter(kind for synset in self._classes for kind in self.above(synset))

    @cached_property
    def kind_words(self) -> dict[str, str]:
        """The kinds that an answer may have, with the words for them."""
        words = [word.partition(" = ")[0] for word in answer_kinds()]
        return {
            self._kind_synsets.get(w)
            or max(sorted(self._called[w]), key=self._counts.__getitem__): w
            for w in words
        }

    @cached_property
    def _kind_synsets(self) -> dict[str, str]:
        """The synsets of the kinds whose words might mean another."""
        pairs = (word.partition(" = ") for word in answer_kinds())
        return {word: synset for word, _, synset in pairs if synset}


@cache
def hierarchy() -> Hierarchy:
    """The one there is, read when it is first needed."""
    return Hierarchy()


class Kinds:
    """The kinds of some classes of a vocabulary, and those of them that an answer may have.

    What all classes that may be the answer are says nothing of an object: the list forces it.

    Args:
        synsets: what each of C classes means; None = not known.
        answerable: for each class whether it may be the answer; all may when left out.
    """

    def __init__(
        self, synsets: Sequence[str | None], answerable: Sequence[bool] | None = None
    ) -> None:
        tree = hierarchy()
        answers = {row for row in range(len(synsets)) if answerable is None or answerable[row]}
        members: dict[str, list[int]] = {}
        for row, synset in enumerate(synsets):
            for kind in tree.above(synset) & tree.kind_words.keys() if synset else ():
                members.setdefault(kind, []).append(row)
        members = {kind: rows for kind, rows in members.items() if not answers <= set(rows)}
        # The most specific first; of those with the same classes the lowest, that has most above.
        order = sorted(members, key=lambda kind: (len(members[kind]), -len(tree.above(kind)), kind))
        self._names = [tree.kind_words[kind] for kind in order]
        self._rows = np.array([row for kind in order for row in members[kind]], np.int64)
        self._counts = np.array([len(members[kind]) for kind in order], np.int64)
        self._starts = np.cumsum(self._counts) - self._counts
        self._alone = int((self._counts == 1).sum())  # kinds of one class, which come first
        self._kinds_of: list[list[int]] = [[] for _ in synsets]  # of each class, in this order
        for number, kind in enumerate(order):
            for row in members[kind]:
                self._kinds_of[row].append(number)

    def most_specific(
        self, probabilities: NDArray[np.floating], level: float
    ) -> tuple[str, float] | None:
        """The kind of the fewest classes whose probabilities `(C,)` add up to `level` or more.

        It is none that one class alone speaks for: the others have `OTHERS_SHARE` or more.

        Returns:
            Its name and the sum; None where no kind is so likely.
        """
        first = int(probabilities.argmax())
        if float(probabilities.sum() - probabilities[first]) < level:
            # Without the likeliest class no kind reaches the level: most of 22k are spared.
            for number in self._kinds_of[first]:
                rows = self._rows[self._starts[number] :][: self._counts[number]]
                likely = float(probabilities[rows].sum())
                if likely >= level and likely - float(probabilities[first]) >= OTHERS_SHARE:
                    return self._names[number], min(1.0, likely)
            return None
        if self._alone == len(self._names):
            return None
        known = probabilities[self._rows]
        starts = self._starts[self._alone :]
        sums = np.add.reduceat(known, starts)
        others = sums - np.maximum.reduceat(known, starts)
        enough = self._alone + np.flatnonzero((sums >= level) & (others >= OTHERS_SHARE))
        if not len(enough):
            return None
        return self._names[enough[0]], min(1.0, float(sums[enough[0] - self._alone]))


def regular_singulars(word: str) -> Iterator[str]:
    """What a word, in lower case, may be the plural of by its ending.

    >>> list(regular_singulars("boxes"))
    ['boxe', 'box']
    """
    for end, new in _PLURALS:
        if word.endswith(end) and not word.endswith("ss"):
            yield f"{word.removesuffix(end)}{new}"


def answer_kinds() -> list[str]:
    """The words for the kinds that an answer may have, some with their synset: `bat = n123`."""
    return [word for line in _lines("answer_kinds") for word in line.split(", ")]


def _parents(text: str) -> tuple[str, ...]:
    return () if text == "-" else tuple(text.split(","))


def _lines(name: str) -> Iterable[str]:
    file = resources.files("ovsam") / "vocabularies" / f"{name}.txt"
    text = file.read_text(encoding="utf-8")
    return (line for line in text.splitlines() if not line.startswith("#"))
