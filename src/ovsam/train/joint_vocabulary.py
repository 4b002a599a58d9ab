"""Vocabularies in which the objects of all data sets are named, whatever each calls its classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ovsam.model.torch_bank import TorchBank
from ovsam.train.losses import name_loss
from ovsam.train.sources import Source
from ovsam.vocabulary.vocabulary import Vocabulary
from ovsam.vocabulary.wordnet import hierarchy


@dataclass(frozen=True, eq=False)
class ClassPlace:
    """Where a class of a data set is in another vocabulary.

    Attributes:
        target: the number of the vocabulary's class that it is or is a kind of.
        others: numbers of the classes that are no wrong names for it: what it is a kind of, what is
            a kind of it, and what is called the same.
    """

    target: int
    others: Tensor


@dataclass(frozen=True, eq=False)
class JointVocabulary:
    """A vocabulary of the joint stage.

    Attributes:
        name: of the vocabulary, and of its loss.
        weight: of its loss.
        bank: its C classes in the text space.
        places: for each data set those of its classes; None = the vocabulary has no such thing.
    """

    name: str
    weight: float
    bank: TorchBank
    places: Sequence[Sequence[ClassPlace | None]]

    def loss(self, class_logits: Tensor, places: Sequence[ClassPlace]) -> Tensor:
        """The cross-entropy `(N,)` of logits `(N, C)` among the classes that are wrong names.

        Labels are not smoothed: spread over thousands of classes, it would be their mean that is
        learnt.
        """
        compared = torch.ones_like(class_logits, dtype=torch.bool)
        for row, place in zip(compared, places, strict=True):
            row[place.others.to(row.device)] = False
        target = torch.tensor([place.target for place in places], device=class_logits.device)
        return name_loss(class_logits, target, compared, smoothing=0.0)


def joint_vocabulary(
    vocabulary: Vocabulary, weight: float, bank: TorchBank, sources: Sequence[Source]
) -> JointVocabulary:
    """A vocabulary with the classes of the data sets in it that are named in it.

    A class is found by its synset, or else as the nearest that it is a kind of, or by name.
    """
    finder = _Finder(vocabulary)

    def places_of(source: Source) -> list[ClassPlace | None]:
        chosen = source.settings.among
        if chosen is not None and vocabulary.name not in chosen:
            return [None] * len(source.synonyms)
        return [finder.place(*one) for one in zip(source.synonyms, source.synsets, strict=True)]

    places = [places_of(source) for source in sources]
    return JointVocabulary(vocabulary.name, weight, bank, places)


class _Finder:
    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.number = {name: i for i, name in enumerate(vocabulary.classes)}
        self.of_synset: dict[str, int] = {}
        self.kinds: dict[str, list[int]] = defaultdict(list)  # the classes of each kind
        for i, synset in enumerate(vocabulary.synsets):
            if synset is not None:
                self.of_synset.setdefault(synset, i)
                for kind in hierarchy().above(synset):
                    self.kinds[kind].append(i)

    def place(self, synonyms: Sequence[str], synset: str | None) -> ClassPlace | None:
        above = hierarchy().above(synset) if synset is not None else frozenset()
        wider = {kind: self.of_synset[kind] for kind in above if kind in self.of_synset}
        called = self.vocabulary.class_of(synonyms[0], synonyms)
        others = set(wider.values())
        if called is not None:
            others.add(self.number[called])
        if wider:
            target = wider[max(sorted(wider), key=lambda kind: len(hierarchy().above(kind)))]
        elif called is not None:
            target = self.number[called]
            synset = synset or self.vocabulary.synsets[target]
        else:
            return None
        if synset is not None:
            others.update(self.kinds[synset])
        return ClassPlace(target, torch.tensor(sorted(others)))
