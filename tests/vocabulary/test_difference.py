from __future__ import annotations

from ovsam.vocabulary.difference import Difference
from ovsam.vocabulary.vocabulary import Vocabulary


def test_what_differs_between_two_vocabularies() -> None:
    first = Vocabulary.from_names(["cat/kitty", "Dog", "cup", "!sofa"])
    second = Vocabulary.from_names(["sofa", "dog", "kitty", "lamp"])
    found = Difference.between(first, second)
    assert (found.only_first, found.only_second) == (("cup",), ("lamp",))
    assert found.shown == {"cat": "kitty"}
    assert found.names == {"cat": (("cat",), ())}
    assert (found.answers, found.unseen) == (("sofa",), ())
    assert found


def test_order_and_case_make_no_difference() -> None:
    first = Vocabulary.from_names(["cat", "dog/hound"])
    second = Vocabulary.from_names(["Dog/Hound", "CAT"])
    assert not Difference.between(first, second)


def test_other_weights_are_a_difference() -> None:
    first = Vocabulary.from_names(["*3 cat", "dog", "*2 cup"])
    second = Vocabulary.from_names(["*2 cup", "dog", "*0.5 CAT"])
    found = Difference.between(first, second)
    assert found.weights == {"cat": (3, 0.5)}
    assert found
