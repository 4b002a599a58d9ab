"""The authors' release without its weights: names, shapes, seeded tensors, and what they gave.

`reference/small.json` has the settings of a reduced model and the released names with shapes;
`reference/small.npz` what the authors' modules gave for it; `reference/rn50x16_keys.json` the names
and shapes of the full model. Both sides filled the modules with tensors that follow from their
names alone, by `seeded_array`.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FOLDER = Path(__file__).parent / "reference"

SETTINGS: dict[str, Any] = json.loads((FOLDER / "small.json").read_text(encoding="utf-8"))
SHAPES: dict[str, dict[str, list[int]]] = SETTINGS["shapes"]
"""Released names and shapes of the reduced model, by file."""
KEYS: dict[str, dict[str, list[int]]] = json.loads(
    (FOLDER / "rn50x16_keys.json").read_text(encoding="utf-8")
)
"""Released names and shapes of the full model, by part."""


def outputs() -> dict[str, NDArray[Any]]:
    with np.load(FOLDER / "small.npz") as file:
        return dict(file)


def seeded(shapes: Mapping[str, Sequence[int]], prefix: str = "") -> dict[str, Tensor]:
    """Tensors by name; `prefix` is part of what seeds them."""
    return {n: torch.from_numpy(seeded_array(prefix + n, s)) for n, s in shapes.items()}


def seeded_array(name: str, shape: Sequence[int]) -> NDArray[Any]:
    """An array that is a pure function of name and shape."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    x = rng.standard_normal(tuple(shape), dtype=np.float32)
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, dtype=np.int64)
    if leaf == "running_var":
        return 0.5 + np.abs(x)
    if leaf == "positional_encoding_gaussian_matrix":
        return x
    if leaf in ("rel_pos_h", "rel_pos_w", "pos_embed", "positional_embedding"):
        return np.float32(0.05) * x
    if x.ndim >= 2:
        return (x / np.float32(math.sqrt(math.prod(shape[1:])))).astype(np.float32)
    if leaf == "weight":  # 1-D: the scale of a norm
        return np.float32(1.0) + np.float32(0.1) * x
    return np.float32(0.1) * x
