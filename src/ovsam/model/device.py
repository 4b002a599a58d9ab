"""Where a model computes."""

from __future__ import annotations

import re

import torch

from ovsam.errors import OvsamError, UsageError, quoted


def check_device(device: str) -> None:
    """Refuse a device that nothing can be computed on.

    Args:
        device: "cpu", "cuda" or "mps"; of several with its number, like "cuda:1".

    Raises:
        UsageError: it is none of these.
        OvsamError: this machine has not got it.
    """
    if not re.fullmatch(r"cpu(:0)?|(cuda|mps)(:[0-9]{1,3})?", str(device)):
        raise UsageError(
            "device must be 'cpu', 'cuda' or 'mps', or one of several like 'cuda:1', got "
            f"{quoted(device)}."
        )
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise OvsamError(
            f"The device '{device}' cannot be used on this machine. Use 'cpu'."
        ) from error
