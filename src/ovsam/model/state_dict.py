"""Tensors by name, held against the module that they are to fill."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ovsam.errors import CheckpointError, first_few, quoted

NAMES_SHOWN = 12  # of the tensors that an error message lists
NAME_SHOWN = 300  # characters of each


def fill(module: nn.Module, state: Mapping[str, Tensor], source: str | Path) -> None:
    """Put weights into a module of just these names and shapes; it may live on `meta`.

    Args:
        module: takes the tensors over as they are, without a copy.
        state: by name.
        source: where they come from, for the message.

    Raises:
        CheckpointError: names every tensor that is missing, unexpected, of another shape, or of
            whole numbers where the module has others.
    """
    own = module.state_dict()
    check_shapes(shapes_of(own), shapes_of(state), source)
    check_kinds(own, state, source)
    module.load_state_dict(state, strict=True, assign=True)


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The shapes of tensors by name."""
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


def check_kinds(
    expected: Mapping[str, Tensor], state: Mapping[str, Tensor], source: str | Path
) -> None:
    """Refuse weights of another kind of number than a model has.

    Args:
        expected: the model's, by name; they may live on `meta`.
        state: those to be put in their place.
        source: where they come from, for the message.

    Raises:
        CheckpointError: names the tensors that are of whole numbers where the model has others,
            or the other way round.
    """
    wrong = [
        f"{name} {str(state[name].dtype).removeprefix('torch.')}"
        for name, tensor in expected.items()
        if state[name].is_floating_point() != tensor.is_floating_point()
    ]
    if wrong:
        raise CheckpointError(
            f"The weights in '{source}' are not of the model's kind of numbers: {listed(wrong)}."
        )


def check_finite(state: Mapping[str, Tensor], source: str | Path) -> None:
    """Refuse weights that are infinite or not a number.

    Args:
        state: by name.
        source: where they come from, for the message.

    Raises:
        CheckpointError: names the tensors that hold such a weight.
    """
    wrong = [
        name
        for name, tensor in state.items()
        if tensor.is_floating_point() and not torch.isfinite(tensor).all()
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
