"""How many examples the fuzzing tests try: some by default, many with `pytest --long`."""

from __future__ import annotations

LONGER = 10

_long = False


def go_long() -> None:
    """Ask for many examples; called before the test modules are imported."""
    global _long
    _long = True


def examples(count: int) -> int:
    """`count` examples by default, `LONGER` times as many with `--long`."""
    return count * LONGER if _long else count
