"""ImageNet-21k's classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tools.vocabularies.distinct_names import drop_shared_synonyms, make_first_names_distinct
from tools.vocabularies.entry import Entry, unique
from tools.vocabularies.text_file import TextFile
from tools.vocabularies.wordnet import WordNet


def imagenet21k_entries(
    names: Mapping[str, str], imagenet1k: Sequence[Entry], wordnet: WordNet
) -> list[Entry]:
    """The classes in the order of their index.

    Args:
        names: for each synset, in this order, its names with commas between them.
        imagenet1k: classes whose first names the same synsets have here.
        wordnet: says which sense of a name is the most common.
    """
    shown = {entry.synset: entry.names[0] for entry in imagenet1k}
    entries = []
    for synset, text in names.items():
        plain = [name.replace("/", " ") for name in text.split(", ")]
        entries.append(Entry(unique([shown.get(synset, plain[0]), *plain]), synset))
    in_order = by_sense(entries, wordnet, {entry.synset for entry in imagenet1k})
    make_first_names_distinct(in_order, wordnet)
    drop_shared_synonyms(entries)
    return entries


def by_sense(entries: Sequence[Entry], wordnet: WordNet, first: set[str | None]) -> list[Entry]:
    """Classes whose synset is among `first`, then those with more common senses of a name."""

    def rank(entry: Entry) -> tuple[bool, int]:
        senses = wordnet.senses.get(entry.names[0].lower(), [])
        synset = entry.synset or ""
        return synset not in first, senses.index(synset) if synset in senses else len(senses)

    return sorted(entries, key=rank)


def imagenet_files(imagenet21k: Sequence[Entry]) -> dict[str, TextFile]:
    """`imagenet21k.txt`."""
    comments = (
        f"ImageNet-21k's {len(imagenet21k):,} classes (fall 2011) in the order of their index.",
        "Names: WordNet 3.0 (Copyright 2006 Princeton University, WordNet licence: free use with",
        "this notice), as timm 1.0 carries them (timm.data.ImageNetInfo('imagenet-22k'); timm is",
        "Apache-2.0). Changes: a first name that several classes share stays with ImageNet-1k's",
        "class or else with the name's most common sense, the others get another name of theirs",
        "or say in brackets what they are; a synonym that several classes share is left out,",
        "except where it is a class's first name.",
    )
    return {"imagenet21k": TextFile.of_entries(comments, imagenet21k)}
