"""Which of COCO's names may be right for a photo whose one object is known."""

from __future__ import annotations

from collections.abc import Sequence

from ovsam import load_vocabulary
from ovsam.errors import VocabularyError
from ovsam.vocabulary.wordnet import hierarchy


def plausible_names(folders: Sequence[str], vocabulary: str) -> dict[str, set[str]]:
    """For the folder of each class the names that its photos may have.

    These are the class's own name, COCO's names for what it is or is a kind of, and "person" where
    it is no animal: the detector calls a goldfish a cat.

    Args:
        folders: names of the folders, one for each class; sorted, they are in the classes' order.
        vocabulary: a built-in vocabulary.
    """
    classes, coco = load_vocabulary(vocabulary), load_vocabulary("coco")
    synset_of = dict(zip(classes.classes, classes.synsets, strict=True))
    names = {name: {name} for name in classes.classes}
    for name, synset in zip(coco.classes, coco.synsets, strict=True):
        try:
            kinds = set(classes.only(name).classes)
        except VocabularyError:  # no class is of this kind
            kinds = set()
        for shown in {classes.class_of(name) or "", *kinds} & names.keys():
            # COCO's kite is no bird, and its cup no punch.
            if _is_one_kind(synset, synset_of[shown]):
                names[shown].add(name)
            else:
                names[shown].discard(name)
    for shown in names.keys() - set(classes.only("animal").classes):
        names[shown].add("person")
    return dict(zip(sorted(folders), names.values(), strict=True))


def _is_one_kind(one: str | None, other: str | None) -> bool:
    """Whether one of two synsets is the other, or a kind of it; one that is not known may be."""
    if one is None or other is None:
        return True
    return one in hierarchy().above(other) or other in hierarchy().above(one)
