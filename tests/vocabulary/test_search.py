from __future__ import annotations

import pytest

from ovsam.vocabulary.search import find, plain_words
from ovsam.vocabulary.vocabulary import Vocabulary


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hot-Dogs", "hot dog"),
        ("cherries", "cherry"),
        ("pies", "pie"),
        ("wrist_watches", "wrist watch"),
        ("glasses", "glass"),
        ("boxes", "box"),
        ("bus", "bus"),
        ("tennis", "tennis"),
    ],
)
def test_words_are_compared_in_the_singular(text: str, words: str) -> None:
    assert plain_words(text) == words


def test_a_class_of_just_that_name_comes_first() -> None:
    vocabulary = Vocabulary.from_names(["dog bed", "hot dog", "hound/dog", "doge", "adog"])
    assert find(vocabulary, "dog") == [2, 0, 1, 3]
    assert find(vocabulary, "cat") == []
