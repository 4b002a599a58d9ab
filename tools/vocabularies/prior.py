"""How ordinary the things are that classes mean: `22k_weights.txt`, `imagenet21k_weights.txt`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from tools.vocabularies.choices import Prior
from tools.vocabularies.entry import Entry
from tools.vocabularies.text_file import TextFile
from tools.vocabularies.union import EVERYDAY


class Ordinariness:
    """What is known of how often classes are met, and the log weight that it makes.

    Args:
        vocabularies: the classes of each, by its name: LVIS's with their frequency, Objects365's
            those that are met most first.
        counts: how often each synset is meant in texts.
        prior: the coefficients.
    """

    def __init__(
        self,
        vocabularies: Mapping[str, Sequence[Entry]],
        counts: Mapping[str, int],
        prior: Prior,
    ) -> None:
        self._frequencies = {entry.names[0]: entry.frequency for entry in vocabularies["lvis"]}
        objects365 = vocabularies["objects365"]
        self._places = {entry.names[0]: place for place, entry in enumerate(objects365, start=1)}
        self._counts, self._prior = counts, prior

    def log_weight(self, entry: Entry) -> float:
        """Of a class of the union, with its `parts`; of several classes of one list the best."""
        prior = self._prior
        lists = {vocabulary for vocabulary, _ in entry.parts}
        in_lvis, in_objects365 = (
            [names[0] for vocabulary, names in entry.parts if vocabulary == wanted]
            for wanted in ("lvis", "objects365")
        )
        total = prior.sense_count * math.log1p(self._counts.get(entry.synset or "", 0))
        if not lists.isdisjoint(EVERYDAY):
            total += prior.everyday
        if in_lvis:
            total += max(prior.lvis[self._frequencies[name]] for name in in_lvis)
        if in_objects365:
            place = min(self._places[name] for name in in_objects365)
            total += prior.objects365_rank * math.log(len(self._places) / place)
        if "imagenet1k" in lists:
            total += prior.imagenet1k
        return total


def sense_counts(counts: Mapping[str, int], merged: Mapping[str, str]) -> Counter[str]:
    """How often a synset is meant, with those that it stands for.

    Args:
        counts: of each synset of WordNet.
        merged: of each synset that another one stands for, that one.
    """
    together: Counter[str] = Counter()
    for synset, count in counts.items():
        together[merged.get(synset, synset)] += count
    return together


def weight_files(
    union: Sequence[Entry],
    imagenet21k: Sequence[Entry],
    merged: Mapping[str, str],
    ordinariness: Ordinariness,
) -> dict[str, TextFile]:
    """The two files.

    Args:
        union: the classes of `22k`.
        imagenet21k: those of `imagenet21k`; the same meaning has the same weight.
        merged: of each synset that another one stands for, that one.
        ordinariness: gives the weights.
    """
    known = {entry.synset: ordinariness.log_weight(entry) for entry in union if entry.synset}
    of_union = [(entry.names[0], ordinariness.log_weight(entry)) for entry in union]
    of_imagenet = []
    for entry in imagenet21k:
        synset = merged.get(entry.synset or "", entry.synset)
        alone = Entry(entry.names, synset)
        of_imagenet.append(
            (entry.names[0], known[synset] if synset in known else ordinariness.log_weight(alone))
        )
    return {
        "22k_weights": _weight_file("22k", of_union),
        "imagenet21k_weights": _weight_file("imagenet21k", of_imagenet),
    }


def _weight_file(vocabulary: str, log_weights: Sequence[tuple[str, float]]) -> TextFile:
    weights = [(name, f"{math.exp(log_weight):.3g}") for name, log_weight in log_weights]
    lines = tuple(f"{name}, {weight}" for name, weight in weights if weight != "1")
    comments = (
        f"How often the classes of {vocabulary}.txt are met beside one of weight 1, for the"
        f" {len(lines):,} where",
        "that is not 1: their prior. Computed for ovsam (tools/vocabularies/data/prior.toml) from",
        "membership in coco, lvis, objects365 and imagenet1k, LVIS's frequency groups, the order",
        "of Objects365's classes (sources and licences as in these files), and how often WordNet",
        "3.0's tagged texts have a meaning (cntlist.rev; Copyright 2006 Princeton University,",
        "WordNet licence: free use with this notice, as Debian carries it, package wordnet-base).",
    )
    return TextFile(comments, lines)
