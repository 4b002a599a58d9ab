"""`synsets.txt`: what the classes mean, and what that is a kind of."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from ovsam.vocabulary.wordnet import regular_singulars
from tools.vocabularies.entry import Entry
from tools.vocabularies.meanings import kinds_among
from tools.vocabularies.text_file import TextFile
from tools.vocabularies.union import everyday_plurals
from tools.vocabularies.wordnet import WordNet


def synset_files(
    union: Sequence[Entry],
    vocabularies: Mapping[str, Sequence[Entry]],
    left_out: Collection[str],
    wordnet: WordNet,
) -> dict[str, TextFile]:
    """`synsets.txt`.

    Args:
        union: the classes of `22k`.
        vocabularies: the classes of each vocabulary that it unites, by its name.
        left_out: senses (`bigot.n.01`) of kinds of people who are not named.
        wordnet: WordNet.
    """
    classes = {entry.synset: entry for entry in union if entry.synset is not None}
    meant = {entry.synset for entries in vocabularies.values() for entry in entries if entry.synset}
    meant |= classes.keys()
    others = meant.union(*map(wordnet.above, meant)) - classes.keys()
    unnamed = kinds_among(others, left_out, wordnet)
    comments = (
        f"The WordNet 3.0 synsets of {len(classes):,} of the {len(union):,} classes of 22k.txt,"
        " and",
        f"of what else has one or is above one ({len(others):,} more).",
        "WordNet 3.0 (Copyright 2006 Princeton University, WordNet licence: free use with this",
        "notice), as Debian carries it (package wordnet-base).",
        "On each line: a synset, the synsets that it is a kind of, the name of its class in",
        "22k.txt and what else WordNet calls it but 22k.txt does not; behind 'above' the same of",
        "a synset that is no class there, with its names but for those of people who are left",
        "out; behind 'means' a class of another vocabulary with the synset that it has there,",
        "though 22k.txt has another one, or none, for its name; behind 'plural' an irregular one",
        "and what it is the plural of.",
    )
    lines = (
        *_hypernym_lines(union, classes, others, unnamed, wordnet),
        *_meaning_lines(union, vocabularies),
        *_plural_lines(union, others - unnamed, wordnet),
    )
    return {"synsets": TextFile(comments, lines)}


def _hypernym_lines(
    union: Sequence[Entry],
    classes: Mapping[str, Entry],
    others: set[str],
    unnamed: set[str],
    wordnet: WordNet,
) -> Iterator[str]:
    """What each synset is a kind of, and its names that `22k.txt` does not have."""
    plurals = everyday_plurals(union)
    for synset in sorted({*classes, *others}):
        hypernyms = ",".join(wordnet.synsets[synset].hypernyms) or "-"
        names = wordnet.synsets[synset].names
        if synset in classes:
            entry = classes[synset]
            lost = [
                name
                for name in names
                if name not in entry.names and plurals.get(name.lower(), entry) is entry
            ]
            yield f"{synset} {hypernyms} {', '.join([entry.names[0], *lost])}"
        else:
            shown = [n for n in names if synset not in unnamed and n.lower() not in plurals]
            yield f"above {synset} {hypernyms} {', '.join(shown)}"


def _meaning_lines(
    union: Sequence[Entry], vocabularies: Mapping[str, Sequence[Entry]]
) -> Iterator[str]:
    """The classes whose first name means another synset in `22k`, or none."""
    by_name = {name.lower(): entry.synset for entry in reversed(union) for name in entry.names}
    by_name |= {entry.names[0].lower(): entry.synset for entry in union}
    for vocabulary, entries in vocabularies.items():
        for entry in entries:
            if entry.synset is not None and by_name.get(entry.names[0].lower()) != entry.synset:
                yield f"means {entry.synset} {vocabulary} {entry.names[0]}"


def _plural_lines(union: Sequence[Entry], named: set[str], wordnet: WordNet) -> Iterator[str]:
    """The irregular plurals of names that classes and the synsets above them have."""
    known = {name.lower() for entry in union for name in entry.names}
    known |= {name.lower() for synset in named for name in wordnet.synsets[synset].names}
    for plural, singular in sorted(wordnet.singulars.items()):
        if singular in known and plural not in known and singular not in regular_singulars(plural):
            yield f"plural {plural}, {singular}"
