"""MiniLM's weights rounded to what a package can carry: 34 MB of 91."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from ovsam.text.minilm import MAX_TOKENS, POSITIONS, WORD_SCALES, WORDS

Array = NDArray[Any]

METADATA = {
    "licence": "Apache-2.0",
    "rounding": (
        f"{WORDS}: int8 with one float32 scale a row; all else: float16; {POSITIONS}: the first "
        f"{MAX_TOKENS} rows; what embeds no sentence is left out"
    ),
    "source": "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
}


def rounded(published: Mapping[str, Array]) -> dict[str, Array]:
    """The tensors that `ovsam.text.minilm` reads.

    Args:
        published: tensors of all-MiniLM-L6-v2 by name, float32.

    Returns:
        Float16 by the same names, but for the word embeddings `(V, D)`: int8, with their scales
        `(V, 1)` in float32.
    """
    kept = {
        name: tensor
        for name, tensor in published.items()
        if not name.startswith("pooler.") and name != "embeddings.position_ids"
    }
    words = kept.pop(WORDS)
    scales = np.abs(words).max(1, keepdims=True) / np.float32(127)
    scales[scales == 0] = 1  # a row of zeros stays one
    kept[POSITIONS] = kept[POSITIONS][:MAX_TOKENS]
    halves: dict[str, Array] = {name: kept[name].astype(np.float16) for name in kept}
    return {**halves, WORDS: np.rint(words / scales).astype(np.int8), WORD_SCALES: scales}


def file_bytes(tensors: Mapping[str, Array]) -> bytes:
    """A safetensors file with `METADATA`, the same bytes each time.

    safetensors' own writer has no fixed order for the metadata, so they are put in here.
    """
    content = save({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)})
    size = int.from_bytes(content[:8], "little")
    header = {"__metadata__": METADATA, **json.loads(content[8 : 8 + size])}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + size :]
