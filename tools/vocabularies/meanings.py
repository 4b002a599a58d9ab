"""Which synset a class means, which synsets count as one, and which are left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tools.vocabularies.entry import Entry, without_brackets
from tools.vocabularies.wordnet import WordNet


def give_synsets(
    entries: Sequence[Entry], lvis: Sequence[Entry], wordnet: WordNet, senses: Mapping[str, str]
) -> None:
    """Say what classes without a synset mean, by their first name.

    The name, or what it is the plural of, means what `senses` says, or else what it means in LVIS
    (there with or without brackets), or else WordNet's most common sense of it.

    Args:
        entries: the classes, whose `synset` is set.
        lvis: LVIS's classes with their synsets.
        wordnet: WordNet.
        senses: for names in lower case a sense (`cue.n.04`); "" = none.
    """
    in_lvis = {without_brackets(entry.names[0]).lower(): entry.synset for entry in reversed(lvis)}
    in_lvis |= {name.lower(): entry.synset for entry in reversed(lvis) for name in entry.names}
    in_lvis |= {entry.names[0].lower(): entry.synset for entry in lvis}
    for entry in entries:
        name = entry.names[0].lower()
        if name in senses:
            entry.synset = wordnet.synset(senses[name]) if senses[name] else None
            continue
        forms = (name, wordnet.singular(name))
        known = [in_lvis[form] for form in forms if form in in_lvis]
        known += [wordnet.senses[form][0] for form in forms if form in wordnet.senses]
        entry.synset = known[0] if known else None


def merged_synsets(same_senses: Mapping[str, Sequence[str]], wordnet: WordNet) -> dict[str, str]:
    """Of each synset that another one stands for, that one.

    Args:
        same_senses: for senses (`cat.n.01`) the others that each stands for.
        wordnet: WordNet.
    """
    return {
        wordnet.synset(other): wordnet.synset(first)
        for first, others in same_senses.items()
        for other in others
    }


def kinds_among(synsets: Iterable[str], senses: Iterable[str], wordnet: WordNet) -> set[str]:
    """Those of the synsets that are one of the senses (`bigot.n.01`), or a kind of one."""
    roots = {wordnet.synset(sense) for sense in senses}
    return {synset for synset in synsets if roots & {synset, *wordnet.above(synset)}}
