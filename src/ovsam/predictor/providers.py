"""Where ONNX Runtime computes: its providers by the names of devices."""

from __future__ import annotations

import os
from typing import Any

from ovsam.errors import OvsamError, UsageError, quoted

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}
"""ONNX Runtime's names of devices; all but the first come with packages of their own."""


def providers(device: str) -> list[Any]:
    """ONNX Runtime's providers for a device, in the order in which parts of a graph go to them.

    Args:
        device: one of `PROVIDERS`, perhaps with its number, as "cuda:1".

    Raises:
        UsageError: it is none.
        OvsamError: the ONNX Runtime that is installed has no provider for it.
    """
    import onnxruntime

    kind, _, number = device.partition(":")
    if kind not in PROVIDERS or not (number.isdecimal() or number == ""):
        raise UsageError(
            f"device must be one of {', '.join(PROVIDERS)}, or one of several like 'cuda:1', got "
            f"{quoted(device)}."
        )
    name, available = PROVIDERS[kind], onnxruntime.get_available_providers()
    if name not in available:
        raise OvsamError(
            f"The device '{device}' cannot be used: the ONNX Runtime that is installed has "
            f"{', '.join(available)}, not {name}. Install its package for that device, or use "
            "'cpu'."
        )
    if kind == "cpu":
        return [name]
    return [(name, {"device_id": number} if number else {}), PROVIDERS["cpu"]]


def usable_cores() -> int:
    """How many of the processor's cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
