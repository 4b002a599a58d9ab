"""all-MiniLM-L6-v2 (Wang et al. 2020; sentence-transformers, Apache-2.0): `lite`'s text model.

Its six BERT layers are written out here in numpy: no library that runs such models is needed, and
importing one takes longer than all else that a first answer needs. `tools/minilm` makes its files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ovsam.errors import CheckpointError, first_line
from ovsam.extras import install_line
from ovsam.text.encoder import Reading
from ovsam.text.gelu import gelu
from ovsam.text.half import widened

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Floats = NDArray[np.float32]

MAX_TOKENS = 256
"""So many tokens of a text are read, those of its start and end included."""
LAYERS, HEADS, EPS = 6, 12, 1e-12

WEIGHTS, TOKENIZER = "minilm.safetensors", "minilm_tokenizer.json"
"""The files, by their names."""
WORDS = "embeddings.word_embeddings.weight"  # (V, 384) int8, times
WORD_SCALES = "embeddings.word_embeddings.scale"  # (V, 1) float32
POSITIONS = "embeddings.position_embeddings.weight"
SEGMENTS = "embeddings.token_type_embeddings.weight"

_BATCH = 128
_UNKNOWN = "[UNK]"


class MiniLM:
    """A small model of sentences, 384 dimensions; its files are read when the first text comes.

    Args:
        folder: holds the files `WEIGHTS` and `TOKENIZER`; None = those that ship.
    """

    identity = "all-MiniLM-L6-v2 int8"  # the published float32 weights make vectors of their own
    dim = 384

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(str(resources.files("ovsam") / "weights"))

    def embed(self, texts: Sequence[str]) -> Floats:
        """Texts -> unit vectors `(N, 384)`; what exceeds 256 tokens of a text is ignored.

        Raises:
            CheckpointError: a file of the model is missing or damaged.
        """
        vectors = np.empty((len(texts), self.dim), np.float32)
        for rows, ids in self.batches(texts):
            vectors[rows] = _sentences(self.words(ids), self.weights)
        return vectors

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """What its tokenizer knows of each text; what it does not is one token, `[UNK]`."""
        readings = []
        for encoding in self.tokenizer.encode_batch(list(texts)):
            content = encoding.tokens[1:-1]
            known = [token for token in content if token != _UNKNOWN]
            letters = any(map(str.isalpha, "".join(known)))
            whole = bool(known) and len(known) == len(content) and not encoding.overflowing
            readings.append(Reading(tuple(encoding.ids), letters, whole))
        return readings

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], NDArray[np.int64]]]:
        """N texts in batches of B: their numbers, and their tokens `(B, T)`.

        Texts of equal length come together: no padding, hence no mask.
        """
        tokens = [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(texts)), key=lambda i: len(tokens[i]))
        for _, equal in groupby(order, key=lambda i: len(tokens[i])):
            for start in range(0, len(rows := list(equal)), _BATCH):
                batch = rows[start : start + _BATCH]
                yield batch, np.array([tokens[i] for i in batch])

    def words(self, ids: NDArray[np.int64]) -> Floats:
        """Tokens `(B, T)` -> the embeddings of these words, `(B, T, 384)`."""
        _, words, scales = self._loaded
        embeddings: Floats = words[ids] * scales[ids]
        return embeddings

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """What turns texts into tokens."""
        from tokenizers import Tokenizer

        path = self._folder / TOKENIZER
        try:
            tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except Exception as error:  # which the library does not narrow
            raise _unreadable(path, error) from error
        tokenizer.no_padding()
        tokenizer.enable_truncation(MAX_TOKENS)
        return tokenizer

    @property
    def weights(self) -> dict[str, Floats]:
        """All tensors but those of the words, by their names in the published file."""
        return self._loaded[0]

    @cached_property
    def _loaded(self) -> tuple[dict[str, Floats], NDArray[np.int8], Floats]:
        """The weights, the words `(V, 384)` and their scales `(V, 1)`."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        path = self._folder / WEIGHTS
        try:
            stored: dict[str, NDArray[Any]] = load_file(path)
        except (OSError, SafetensorError) as error:
            raise _unreadable(path, error) from error
        if lacking := {WORDS, WORD_SCALES, POSITIONS} - stored.keys():
            raise _unreadable(path, ValueError(f"it lacks {min(lacking)}"))
        words, scales = stored.pop(WORDS), stored.pop(WORD_SCALES)
        return {name: widened(halves) for name, halves in stored.items()}, words, scales


def _sentences(words: Floats, weights: Mapping[str, Floats]) -> Floats:
    """Words `(B, T, 384)` -> the mean over the last layer's tokens, normalised: `(B, 384)`."""
    count, length, width = words.shape

    def linear(x: Floats, name: str) -> Floats:
        y: Floats = x @ weights[f"{name}.weight"].T
        y += weights[f"{name}.bias"]
        return y

    def norm(x: Floats, name: str) -> Floats:
        x -= x.mean(-1, keepdims=True)
        variance = np.einsum("ij,ij->i", x, x)[:, None] / np.float32(width)
        x /= np.sqrt(variance + np.float32(EPS))
        x *= weights[f"{name}.weight"]
        x += weights[f"{name}.bias"]
        return x

    def heads(x: Floats) -> Floats:
        return x.reshape(count, length, HEADS, -1).transpose(0, 2, 1, 3)  # (B, heads, T, 32)

    x = words + weights[POSITIONS][:length]
    x += weights[SEGMENTS][0]
    x = norm(x.reshape(-1, width), "embeddings.LayerNorm")  # (B * T, 384)
    for i in range(LAYERS):
        layer = f"encoder.layer.{i}"
        q, k, v = (
            heads(linear(x, f"{layer}.attention.self.{name}")) for name in ("query", "key", "value")
        )
        attention = _softmax(q @ k.swapaxes(-1, -2) / np.float32((width // HEADS) ** 0.5))
        y = (attention @ v).transpose(0, 2, 1, 3).reshape(-1, width)
        y = linear(y, f"{layer}.attention.output.dense")
        x = norm(x + y, f"{layer}.attention.output.LayerNorm")
        y = gelu(linear(x, f"{layer}.intermediate.dense"))
        x = norm(x + linear(y, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    means = x.reshape(words.shape).mean(1)
    unit: Floats = means / np.linalg.norm(means, axis=-1, keepdims=True)
    return unit


def _softmax(x: Floats) -> Floats:
    """Over the last axis, in place."""
    x -= x.max(-1, keepdims=True)
    np.exp(x, out=x)
    x /= x.sum(-1, keepdims=True)
    return x


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"The text model's file '{path}' is missing or damaged ({first_line(error)}): run "
        f"`{install_line('ovsam')} --force-reinstall --no-deps`."
    )
