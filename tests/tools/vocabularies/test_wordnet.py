"""WordNet's database files."""

from __future__ import annotations

import pytest

from tiny_wordnet import n, tiny_wordnet
from tools.vocabularies.wordnet import Synset, WordNet

# Lines of WordNet 3.0 itself, with pointers left out.
INDEX = (
    "  1 This software and database is being provided to you\n"
    "hot_dog n 3 4 @ ~ #m + 3 1 10192361 07697537 07676602\n"
    "mouse n 4 5 @ ~ #m %p ; 4 2 02330245 14299637 10335931 03793489\n"
)
DATA = (
    "  1 This software and database is being provided to you\n"
    "02330245 05 n 01 mouse 0 003 @ 02329401 n 0000 #m 02329401 n 0000 ~ 02330500 n 0000 | small\n"
    "07697537 13 n 0a hotdog 0 hot_dog 1 red_hot 0 a 0 b 0 c 0 d 0 e 0 f 0 g 0 002 @ 07695965 n"
    " 0000 @i 07643981 n 0000 | a | frankfurter\n"
)
# Of an older WordNet are a ninth meaning of mouse and cursor; a verb is no noun.
COUNTS = (
    "Mouse%1:05:00:: 1 7\nhot_dog%1:13:00:: 2 5\nmouse%1:26:00:: 9 2\nmouse%2:35:00:: 1 3\n"
    "hot_dog%1:13:01:: 2 1\ncursor%1:06:00:: 1 4\n"
)


def test_reads_the_database_files() -> None:
    wordnet = WordNet(INDEX, DATA, "mice mouse\nattorneys_general attorney_general\n", COUNTS)
    assert wordnet.senses == {
        "hot dog": ["n10192361", "n07697537", "n07676602"],
        "mouse": ["n02330245", "n14299637", "n10335931", "n03793489"],
    }
    assert wordnet.synsets == {
        "n02330245": Synset(("mouse",), ("n02329401",)),
        # Ten names: the count is hexadecimal. Of an instance it is a kind, too.
        "n07697537": Synset(
            ("hotdog", "hot dog", "red hot", "a", "b", "c", "d", "e", "f", "g"),
            ("n07695965", "n07643981"),
        ),
    }
    assert wordnet.singulars == {"mice": "mouse", "attorneys general": "attorney general"}
    assert wordnet.counts == {"n02330245": 7, "n07697537": 6}  # neither of verbs nor of no sense


def test_a_sense_is_a_noun_and_the_number_of_its_meaning() -> None:
    wordnet = tiny_wordnet()
    assert wordnet.find("mouse.n.01") == n(14)
    assert wordnet.find("Mouse.n.02") == n(15)
    assert wordnet.find("lifting_device.n.01") == n(7)
    assert wordnet.find("mouse.n.03") is None
    assert wordnet.find("stop_sign.n.01") is None
    assert wordnet.synset("computer_mouse.n.01") == n(15)
    with pytest.raises(ValueError, match=r"WordNet 3\.0 has no sense 'mouse\.n\.03'\."):
        wordnet.synset("mouse.n.03")


@pytest.mark.parametrize(
    ("name", "singular"),
    [("dogs", "dog"), ("mice", "mouse"), ("shoes", "shoes"), ("unicorns", "unicorns")],
)
def test_singular_of_what_is_no_noun_itself(name: str, singular: str) -> None:
    assert tiny_wordnet().singular(name) == singular


def test_above_goes_up_level_by_level() -> None:
    wordnet = tiny_wordnet(
        """
        00000001 top <
        00000002 left < 00000001
        00000003 right < 00000001
        00000004 upper right < 00000003
        00000005 bottom < 00000004 00000002
        """.replace("        ", "")
    )
    assert [*wordnet.above(n(5))] == [n(4), n(2), n(3), n(1), n(1)]
    assert [*wordnet.above(n(1))] == []
