"""A WordNet of a few nouns, written as its database files are."""

from __future__ import annotations

from tools.vocabularies.wordnet import WordNet

LICENCE = "  1 This software and database is being provided to you\n"

ANIMALS = """
00000001 entity <
00000002 animal, creature < 00000001
00000003 dog, domestic dog < 00000002
00000004 puppy < 00000003
00000005 bird < 00000002
00000006 crane < 00000005
00000007 lifting device < 00000001
00000008 crane < 00000007
00000009 footwear, footgear < 00000001
00000010 shoe < 00000009
00000011 place, shoes < 00000001
00000012 person, human < 00000002
00000013 bigot < 00000012
00000014 mouse, wild mouse < 00000002
00000015 mouse, computer mouse < 00000007
"""


def tiny_wordnet(
    synsets: str = ANIMALS, plurals: str = "mice mouse\n", tagged: str = ""
) -> WordNet:
    """A line of `synsets` has a number, names, and the numbers of what that is a kind of.

    The first of the synsets with a name is the most common sense of the name.
    """
    data, senses = LICENCE, dict[str, list[str]]()
    for line in synsets.strip().splitlines():
        left, hypernyms = line.split("<")
        number, text = left.split(" ", 1)
        names = [name.strip().replace(" ", "_") for name in text.split(",")]
        words = " ".join(f"{name} 0" for name in names)
        pointers = [f"@ {above} n 0000" for above in hypernyms.split()] + ["~ 00000004 n 0000"]
        counts = f"{len(names):02x} {words} {len(pointers):03}"
        data += f"{number} 03 n {counts} {' '.join(pointers)} | what it is\n"
        for name in names:
            senses.setdefault(name.lower(), []).append(number)
    index = LICENCE + "".join(
        f"{name} n {len(of)} 2 @ ~ {len(of)} 0 {' '.join(of)}\n" for name, of in senses.items()
    )
    return WordNet(index, data, plurals, tagged)


def n(number: int) -> str:
    """A synset of `ANIMALS`."""
    return f"n{number:08}"
