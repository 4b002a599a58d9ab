"""Tensors by name, of any engine: held against the names and shapes that a model has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovsam.errors import CheckpointError, first_few, quoted

NAMES_SHOWN = 12  # of the tensors that an error message lists
NAME_SHOWN = 300  # characters of each


def shapes_of(state: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shapes of tensors or arrays by name."""
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def check_shapes(
    expected: Mapping[str, tuple[int, ...]],
    found: Mapping[str, tuple[int, ...]],
    source: str | Path,
) -> None:
    """Refuse tensors of other names or shapes than a model has.

    Args:
        expected: the model's, by name.
        found: those to be put in their place.
        source: where they come from, for the message.

    Raises:
        CheckpointError: see `differences`.
    """
    problems = differences(expected, found)
    if problems:
        raise CheckpointError(f"The weights in '{source}' do not fit the model: {problems}.")


def differences(
    expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> str:
    """How two lists of tensors differ, by name and shape; empty if they do not.

    Example:
        >>> differences({"a": (1,), "b": (2,)}, {"b": (3,)})
        '1 missing: a (1,); 1 of another shape: b (3,) instead of (2,)'
    """
    missing = [f"{n} {s}" for n, s in expected.items() if n not in found]
    unexpected = [f"{n} {s}" for n, s in found.items() if n not in expected]
    misshapen = [
        f"{n} {found[n]} instead of {s}" for n, s in expected.items() if found.get(n, s) != s
    ]
    groups = {"missing": missing, "unexpected": unexpected, "of another shape": misshapen}
    return "; ".join(
        f"{len(names)} {kind}: {listed(names)}" for kind, names in groups.items() if names
    )


def check_finite(state: Mapping[str, NDArray[Any]], source: str | Path) -> None:
    """Refuse weights that are infinite or not a number.

    Args:
        state: by name.
        source: where they come from, for the message.

    Raises:
        CheckpointError: names the tensors that hold such a weight.
    """
    wrong = [
        name
        for name, array in state.items()
        if array.dtype.kind != "i" and not np.isfinite(array).all()
    ]
    if wrong:
        raise CheckpointError(
            f"'{source}' holds weights that are not finite: {listed(wrong)}. Whoever trained them "
            "should look at an earlier checkpoint."
        )


def listed(names: Iterable[str], separator: str = ", ") -> str:
    """Names in one line, the first few if there are many; each short, whatever it is."""
    short = (n if n.isprintable() and len(n) <= NAME_SHOWN else quoted(n) for n in names)
    return first_few(short, NAMES_SHOWN, separator)
