"""`22k`: the classes of all vocabularies, each meaning once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tools.vocabularies.choices import Names
from tools.vocabularies.distinct_names import drop_shared_synonyms, make_first_names_distinct
from tools.vocabularies.entry import Entry, normalised, unique, without_brackets
from tools.vocabularies.text_file import TextFile
from tools.vocabularies.wordnet import WordNet

EVERYDAY = ("coco", "lvis", "objects365")  # vocabularies whose names mean what people mean by them


def union_entries(
    vocabularies: Mapping[str, Sequence[Entry]],
    merged: Mapping[str, str],
    choices: Names,
    wordnet: WordNet,
) -> list[Entry]:
    """The classes of all vocabularies with their names, in the order of their appearance.

    Args:
        vocabularies: the classes of each, by its name.
        merged: of each synset that another one stands for, that one.
        choices: what classes are called besides, and are not called.
        wordnet: WordNet.
    """
    united = unite(vocabularies, merged)
    give_everyday_names(united, choices, wordnet)
    drop_plurals(united)
    for entry in united:
        apply_choices(entry, choices)
    make_first_names_distinct(united, wordnet)
    drop_shared_synonyms(united)
    return united


def unite(vocabularies: Mapping[str, Sequence[Entry]], merged: Mapping[str, str]) -> list[Entry]:
    """The classes with all names that they have anywhere.

    Two classes are one if they have the same synset, or one stands for both. A class without a
    synset is one with the first class of the same first name, where only letters and digits count.
    """
    united: list[Entry] = []
    by_synset: dict[str, Entry] = {}
    by_name: dict[str, Entry] = {}
    for vocabulary, entries in vocabularies.items():
        for entry in entries:
            key = normalised(entry.names[0])
            synset = merged.get(entry.synset or "", entry.synset)
            same = by_synset.get(synset or "")
            namesake = by_name.get(key)
            if same is None and namesake and (synset is None or namesake.synset is None):
                same = namesake
            if same is None:
                same = Entry([], synset)
                united.append(same)
            same.names += entry.names
            same.parts.append((vocabulary, [*entry.names]))
            same.synset = same.synset or synset
            if same.synset is not None:
                by_synset.setdefault(same.synset, same)
            by_name.setdefault(key, same)
    return united


def give_everyday_names(entries: Iterable[Entry], choices: Names, wordnet: WordNet) -> None:
    """Find the everyday names of classes, LVIS's without their brackets among them.

    `speaker (stereo equipment)` of LVIS is shown as `speaker` unless another everyday class is. A
    first name in an everyday vocabulary is an everyday name; a synonym is one if WordNet has it
    for this meaning, and no other everyday class is called so.
    """

    def bare(name: str) -> str:
        return name.lower() if name in choices.kept_brackets else without_brackets(name).lower()

    everyday = [
        (entry, names)
        for entry in entries
        for vocabulary, names in entry.parts
        if vocabulary in EVERYDAY and entry.synset is not None
    ]
    # How many classes have a name: as the first one, and at all.
    heads = Counter(name for name, _ in {(bare(names[0]), id(entry)) for entry, names in everyday})
    pairs = {(bare(name), id(entry)) for entry, names in everyday for name in names}
    holders = Counter(name for name, _ in pairs)
    for entry, names in everyday:
        head = bare(names[0])
        if names[0] == entry.names[0] and head != names[0].lower() and heads[head] == 1:
            entry.names.insert(0, without_brackets(names[0]))
        elif names[0] != entry.names[0] and heads[head] == 1 and head == names[0].lower():
            entry.everyday_names.append(head)
            entry.reserved_names.append(head)
        in_wordnet = {name.lower() for name in wordnet.synsets[entry.synset or ""].names}
        synonyms = [
            name
            for name in map(bare, names[1:])
            if in_wordnet & {name, wordnet.singular(name), name.removesuffix("s")}
            and not heads[name]
            and holders[name] == 1
            and name not in choices.misnomers.get(entry.names[0], ())
        ]
        entry.names += synonyms
        entry.everyday_names += synonyms


def drop_plurals(entries: Sequence[Entry]) -> None:
    """Take a plural of an everyday class's first name from those that it is a synonym of.

    Shoes are footwear to everyone but WordNet, where they are a place to be in, too.
    """
    plurals = everyday_plurals(entries)
    for entry in entries:
        entry.names[1:] = [n for n in entry.names[1:] if plurals.get(n.lower(), entry) is entry]


def everyday_plurals(entries: Iterable[Entry]) -> dict[str, Entry]:
    """Regular plurals of the first names of everyday classes, with the class of each.

    Glasses, which are a class of their own, are none.
    """
    parts = [
        (entry, vocabulary, names[0].lower())
        for entry in entries
        for vocabulary, names in entry.parts
    ]
    firsts = {name for _, _, name in parts}
    plurals = [
        (f"{name}{ending}", entry)
        for entry, vocabulary, name in reversed(parts)  # of several classes the first
        for ending in ("s", "es")
        if vocabulary in EVERYDAY
    ]
    return {plural: entry for plural, entry in plurals if plural not in firsts}


def apply_choices(entry: Entry, choices: Names) -> None:
    """Add the names that people chose, and take what a class is not called."""
    added = choices.added.get(entry.names[0], [])
    entry.everyday_names += added
    entry.reserved_names += added
    names = unique([*entry.names, *added])
    wrong = choices.misnomers.get(names[0], ())
    names = [name for name in names if name not in wrong]
    slurs = set(choices.slurs)
    entry.names = [name for name in names if not slurs & set(name.lower().split())] or names


def union_files(
    union: Sequence[Entry], vocabularies: Iterable[str], left_out: int
) -> dict[str, TextFile]:
    """`22k.txt`; `left_out` is how many of ImageNet-21k's kinds of people it does without."""
    firsts = Counter(entry.parts[0][0] for entry in union)
    comments = (
        f"The {len(union):,} classes of coco, lvis, objects365, imagenet1k and imagenet21k, each",
        "meaning once, in the order of their appearance. Sources and licences: those of the five.",
        f"What each adds: {', '.join(f'{name} {firsts[name]:,}' for name in vocabularies)}.",
        f"Left out are {left_out} of imagenet21k's kinds of people, which insult or judge: by",
        "descent, belief, illness, wealth, character or crime (people.toml; this and the other",
        "TOML files are in tools/vocabularies/data).",
        "Two classes are one if they have the same WordNet 3.0 synset, or, where one of the two",
        "has none, the same first name (only letters and digits count); or if WordNet tells apart",
        "what a photo does not (same_senses.toml). COCO's and Objects365's classes have the synset",
        "that LVIS gives to their name, or else WordNet's first; those for which that is wrong are",
        "in senses.toml. LVIS's names have no brackets here where that leaves no doubt. Classes of",
        "other meanings that share a first name are told apart: the first to appear keeps it.",
    )
    return {"22k": TextFile.of_entries(comments, union)}
