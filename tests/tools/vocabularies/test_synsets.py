"""`synsets.txt`."""

from __future__ import annotations

from tiny_wordnet import n, tiny_wordnet
from tools.vocabularies.entry import Entry
from tools.vocabularies.synsets import synset_files


def test_lines_say_what_is_a_kind_of_what() -> None:
    vocabularies = {
        "coco": [Entry(["shoe"], n(10)), Entry(["mouse"], n(15)), Entry(["stop sign"])],
        "imagenet21k": [
            Entry(["mouse"], n(14)),  # `22k` calls it otherwise
            Entry(["place", "shoes"], n(11)),
            Entry(["bigot"], n(13)),  # left out there
        ],
    }
    union = [
        Entry(["shoe"], n(10), parts=[("coco", ["shoe"])]),
        Entry(["mouse"], n(15), parts=[("coco", ["mouse"])]),
        Entry(["stop sign"], None, parts=[("coco", ["stop sign"])]),
        Entry(["wild mouse"], n(14), parts=[("imagenet21k", ["mouse"])]),
        Entry(["place"], n(11), parts=[("imagenet21k", ["place", "shoes"])]),
    ]
    wordnet = tiny_wordnet(plurals="mice mouse\nshoen shoe\ndogges dog\nfolk human\n")
    [file] = synset_files(union, vocabularies, ["person.n.01"], wordnet).values()
    assert file.lines == (
        f"above {n(1)} - entity",
        f"above {n(2)} {n(1)} animal, creature",
        f"above {n(7)} {n(1)} lifting device",
        f"above {n(9)} {n(1)} footwear, footgear",
        f"{n(10)} {n(9)} shoe",
        f"{n(11)} {n(1)} place",  # its "shoes" is the plural of the everyday class
        f"above {n(12)} {n(2)} ",  # people who are not named
        f"above {n(13)} {n(12)} ",
        f"{n(14)} {n(2)} wild mouse, mouse",
        f"{n(15)} {n(7)} mouse, computer mouse",
        f"means {n(14)} imagenet21k mouse",
        f"means {n(13)} imagenet21k bigot",
        "plural mice, mouse",
        "plural shoen, shoe",  # no dog is among them, and no human is named
    )
    assert file.comments[:2] == (
        "The WordNet 3.0 synsets of 4 of the 5 classes of 22k.txt, and",
        "of what else has one or is above one (6 more).",
    )
