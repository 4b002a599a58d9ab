"""What messages say of values and of many names."""

from __future__ import annotations

import numpy as np
import pytest

from ovsam.errors import and_more, first_few, quoted


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ("", ""),
        ("a", "a"),
        ("abcde", "a, b, c, d, e"),
        ("abcdef", "a, b, c, d, e and 1 more"),
        (["x"] * 2005, "x, x, x, x, x and 2,000 more"),
    ],
)
def test_the_first_few_of_many(items: str | list[str], said: str) -> None:
    assert first_few(items) == said
    assert first_few(iter(items)) == said


def test_how_many_and_what_is_between_them_can_be_said() -> None:
    assert first_few("abcd", 3, "; ") == "a; b; c and 1 more"
    assert first_few("abc", 3, "; ") == "a; b; c"
    assert and_more(1) == "and 1 more"


def test_a_value_is_quoted_in_one_short_line() -> None:
    assert quoted("cat") == "'cat'"
    assert quoted("x" * 100) == "'" + "x" * 76 + "..."
    assert quoted(np.zeros((2, 2))) == "array([[0., 0.], [0., 0.]])"
    assert quoted(10**5000) == "a number of thousands of digits"
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    assert quoted(nested) == "something nested deeply"
    while nested:  # piece by piece: freeing it at once is recursive, too
        nested = nested.pop()  # type: ignore[assignment]
