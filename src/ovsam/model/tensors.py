"""Tensors of torch by name, held against the module that they are to fill; to numpy and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ovsam.errors import CheckpointError
from ovsam.model.state_dict import check_shapes, listed, shapes_of

_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def as_arrays(state: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """Tensors by name as numpy arrays; those on the CPU share their memory."""
    return {name: as_array(tensor) for name, tensor in state.items()}


def as_array(tensor: Tensor) -> NDArray[Any]:
    """A tensor as a numpy array; on the CPU it shares its memory."""
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:  # which numpy itself does not have
        return tensor.contiguous().view(torch.int16).numpy().view(_BFLOAT16)
    array: NDArray[Any] = tensor.numpy()
    return array


def as_tensors(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    """Arrays by name as tensors that share their memory."""
    return {name: as_tensor(array) for name, array in arrays.items()}


def as_tensor(array: NDArray[Any]) -> Tensor:
    """An array as a tensor that shares its memory."""
    if array.dtype == _BFLOAT16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


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
