"""Checkpoints: ONE safetensors file whose metadata says what it is.

The metadata (strings, as safetensors has it) holds `format` = "ovsam-1", `config` = the
`ModelConfig` as JSON, `parts` = a fingerprint of each part as JSON, `lacks` = a JSON list of what
SAM offers and this checkpoint cannot, and what the caller adds (`licence`, `source`, ...). A part
is the first component of a tensor's name: `encoder`, `adapter`, `mask_decoder`, `text`, ...

A file may come from anybody: what it says is checked before its tensors are read, and its tensors
before they are used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from ovsam.bounded_json import JsonError, parse_json
from ovsam.config import ModelConfig
from ovsam.errors import CheckpointError, first_line, quoted
from ovsam.model.safetensors_file import DTYPES, Header, SafetensorsFile, write_safetensors
from ovsam.model.state_dict import check_finite, listed

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMAT = "ovsam-1"
CONFIG_BYTES = 4 * 2**20  # at most, of the configuration, most of it names of classes
PROBLEMS_SHOWN = 120  # at most, of a configuration; more of them are only counted

Check = Callable[[ModelConfig, Header], None]
"""Refuses a file by its configuration and header."""

_CONFIG = TypeAdapter(ModelConfig)


def save_checkpoint(
    path: str | Path,
    model: nn.Module | Mapping[str, Tensor] | Mapping[str, NDArray[Any]],
    config: ModelConfig,
    extra_metadata: Mapping[str, str] | None = None,
    *,
    half: bool = False,
) -> None:
    """Write a checkpoint; the file appears under its name only once it is complete.

    Args:
        path: where to, usually ending in `.safetensors`.
        model: the module, or its tensors by name.
        config: decides the shapes.
        extra_metadata: for example `licence` and `source`.
        half: store floating-point tensors in half precision.

    Raises:
        CheckpointError: the file cannot be written.
    """
    path = Path(path)
    state = model if isinstance(model, Mapping) else model.state_dict()
    arrays = {name: _storable(value, half) for name, value in state.items()}
    metadata = {
        **(extra_metadata or {}),
        "format": FORMAT,
        "config": _CONFIG.dump_json(config).decode(),
        "parts": json.dumps(fingerprints(arrays)),
        "lacks": json.dumps(lacks(config)),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_safetensors(path, arrays, metadata)
    except OSError as error:
        raise CheckpointError(f"Cannot write the checkpoint '{path}': {error}.") from error


def _storable(value: Tensor | NDArray[Any], half: bool) -> NDArray[Any]:
    if isinstance(value, np.ndarray):
        array = value
    else:
        from ovsam.model.tensors import as_array

        array = as_array(value)
    if array.dtype not in DTYPES.values():  # of double precision, or a short counter
        array = array.astype(np.float32 if is_floating_point(array) else np.int64)
    return array.astype(np.float16) if half and is_floating_point(array) else array


def is_floating_point(array: NDArray[Any]) -> bool:
    """Whether an array holds weights, and not whole numbers that count."""
    return array.dtype.kind == "f" or array.dtype == ml_dtypes.bfloat16


def lacks(config: ModelConfig) -> list[str]:
    """What SAM offers and a model of this configuration does not: "multimask", "predicted IoU"."""
    decoder = config.decoder
    return ["multimask"] * (decoder.mask_tokens == 1) + ["predicted IoU"] * (not decoder.iou_head)


def fingerprints(arrays: Mapping[str, NDArray[Any]]) -> dict[str, str]:
    """BLAKE2b of the names, types, shapes and bytes of each part."""
    digests: dict[str, hashlib.blake2b] = {}
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        part = name.partition(".")[0]
        digest = digests.setdefault(part, hashlib.blake2b(digest_size=16))
        # Named as torch has its types, which wrote the first checkpoints.
        digest.update(f"{name} torch.{array.dtype} {arrays[name].shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return {part: digest.hexdigest() for part, digest in digests.items()}


def joint_fingerprint(parts: Mapping[str, str]) -> str:
    """BLAKE2b of the fingerprints of parts: what tells a whole model's weights from all others."""
    return hashlib.blake2b(repr(sorted(parts.items())).encode(), digest_size=16).hexdigest()


def save_with_config(source: str | Path, output: str | Path, config: ModelConfig) -> None:
    """Write a checkpoint again with another configuration; its tensors stay as they are stored.

    Args:
        source: the checkpoint.
        output: where to; may be the source itself.
        config: must have the same shapes.

    Raises:
        CheckpointError: see `load_checkpoint` and `save_checkpoint`.
    """
    header, _, arrays = _load(source)
    own = ("format", "config", "parts", "lacks")
    extra = {name: text for name, text in header.metadata.items() if name not in own}
    save_checkpoint(output, arrays, config, extra)


def load_checkpoint(
    path: str | Path, check: Check | None = None
) -> tuple[ModelConfig, dict[str, NDArray[Any]]]:
    """Read a checkpoint: its configuration and its weights by name, half precision as float32.

    Args:
        path: of the file.
        check: refuses a file by its configuration and header, before any weight is read.

    Raises:
        CheckpointError: no such file, not a checkpoint of ovsam, truncated or altered, of numbers
            that no model has, or parts of different checkpoints in one file.
    """
    _, config, arrays = _load(path, check)
    return config, {
        name: array.astype(np.float32, copy=False) if is_floating_point(array) else array
        for name, array in arrays.items()
    }


def read_config(path: str | Path) -> ModelConfig:
    """The configuration of a checkpoint, without reading its tensors.

    Raises:
        CheckpointError: no such file, not a checkpoint of ovsam, or its header is damaged.
    """
    with SafetensorsFile(path) as file:
        return _config_of(file.header.metadata, path)


def _load(
    path: str | Path, check: Check | None = None
) -> tuple[Header, ModelConfig, dict[str, NDArray[Any]]]:
    """Header, configuration and weights as they are stored."""
    with SafetensorsFile(path) as file:
        config = _config_of(file.header.metadata, path)
        if check is not None:
            check(config, file.header)
        arrays = file.arrays()
    _check_fingerprints(file.header.metadata.get("parts", ""), arrays, path)
    check_finite(arrays, path)
    return file.header, config, arrays


def _config_of(metadata: Mapping[str, str], path: str | Path) -> ModelConfig:
    if metadata.get("format") != FORMAT:
        named = "format" in metadata
        found = f"its format is {quoted(metadata['format'])}" if named else "it names none"
        raise CheckpointError(
            f"'{path}' is not an ovsam checkpoint: expected the format '{FORMAT}', {found}. "
            "Turn released weights into one with 'ovsam convert'."
        )
    text = metadata.get("config", "")
    if len(text) > CONFIG_BYTES:
        raise CheckpointError(
            f"The configuration in '{path}' cannot be used: it has {len(text):,} characters, "
            f"{CONFIG_BYTES:,} at most."
        )
    try:
        return _CONFIG.validate_json(text)
    except ValidationError as error:
        count = error.error_count()
        problems = [f"{count:,} things are wrong with it"]
        if count <= PROBLEMS_SHOWN:  # else they take more memory than the file
            details = error.errors(include_url=False, include_context=False, include_input=False)
            problems = [
                f"{_place(detail['loc'])}: {first_line(ValueError(detail['msg']))}".replace(
                    "Value error, ", ""
                )
                for detail in details
            ]
        raise CheckpointError(
            f"The configuration in '{path}' cannot be used: {listed(problems, '; ')}. "
            "It may come from another version of ovsam."
        ) from error


def _place(parts: Iterable[int | str]) -> str:
    """A field's name within the configuration, in one line and short, whatever it is."""
    name = ".".join(map(str, parts)) or "config"
    return name if name.isprintable() and len(name) <= 80 else quoted(name)


def _check_fingerprints(text: str, arrays: Mapping[str, NDArray[Any]], path: str | Path) -> None:
    try:
        expected = parse_json(text)
    except JsonError:
        expected = None
    if not isinstance(expected, dict):
        raise CheckpointError(f"'{path}' has no fingerprints of its parts. Convert it again.")
    found = fingerprints(arrays)
    foreign = sorted(
        part for part in expected.keys() | found.keys() if expected.get(part) != found.get(part)
    )
    if foreign:
        raise CheckpointError(
            f"The parts of '{path}' do not belong together: {listed(foreign)} differ from what "
            "the file was written with. Fetch or convert it again."
        )
