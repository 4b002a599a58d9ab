"""Checkpoints: ONE safetensors file whose metadata says what it is.

The metadata (strings, as safetensors has it) holds `format` = "ovsam-1", `config` = the
`ModelConfig` as JSON, `parts` = a fingerprint of each part as JSON, `lacks` = a JSON list of what
SAM offers and this checkpoint cannot, and what the caller adds (`licence`, `source`, ...). A part
is the first component of a tensor's name: `encoder`, `adapter`, `mask_decoder`, `text`, ...
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ovsam.config import ModelConfig
from ovsam.errors import CheckpointError

FORMAT = "ovsam-1"
NAMES_SHOWN = 12  # of the tensors that an error message lists

_CONFIG = TypeAdapter(ModelConfig)


def save_checkpoint(
    path: str | Path,
    model: nn.Module | Mapping[str, Tensor],
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
    """
    path = Path(path)
    state = model.state_dict() if isinstance(model, nn.Module) else model
    tensors = {name: _storable(tensor, half) for name, tensor in state.items()}
    metadata = {
        **(extra_metadata or {}),
        "format": FORMAT,
        "config": _CONFIG.dump_json(config).decode(),
        "parts": json.dumps(fingerprints(tensors)),
        "lacks": json.dumps(lacks(config)),
    }
    try:
        save_atomically(path, tensors, metadata)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"Cannot write the checkpoint '{path}': {error}.") from error


def save_atomically(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file, and its folder, under another name first: nobody sees half of it.

    Raises:
        OSError, SafetensorError: it cannot be written; what was there is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        temporary.touch()  # with the rights that a new file gets here
        rights = temporary.stat().st_mode
        save_file(dict(tensors), temporary, None if metadata is None else dict(metadata))
        temporary.chmod(rights)  # safetensors' own file none but its owner can read
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _storable(tensor: Tensor, half: bool) -> Tensor:
    tensor = tensor.detach().cpu()
    if half and tensor.is_floating_point():
        tensor = tensor.half()
    return tensor.clone(memory_format=torch.contiguous_format) if _is_view(tensor) else tensor


def _is_view(tensor: Tensor) -> bool:
    # safetensors stores whole, contiguous tensors only.
    whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    return not (whole and tensor.is_contiguous())


def lacks(config: ModelConfig) -> list[str]:
    """What SAM offers and a model of this configuration cannot: "multimask", "mask quality"."""
    decoder = config.decoder
    return ["multimask"] * (decoder.mask_tokens == 1) + ["mask quality"] * (not decoder.iou_head)


def fingerprints(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """BLAKE2b of the names, types, shapes and bytes of each part."""
    digests: dict[str, hashlib.blake2b] = {}
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        part = name.partition(".")[0]
        digest = digests.setdefault(part, hashlib.blake2b(digest_size=16))
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return {part: digest.hexdigest() for part, digest in digests.items()}


def save_with_config(source: str | Path, output: str | Path, config: ModelConfig) -> None:
    """Write a checkpoint anew with another configuration; its tensors stay as they are stored.

    Args:
        source: the checkpoint.
        output: where to; may be the source itself.
        config: must ask for the same shapes.

    Raises:
        CheckpointError: see `load_checkpoint` and `save_checkpoint`.
    """
    metadata, _, tensors = _checked(source)
    own = ("format", "config", "parts", "lacks")
    extra = {name: text for name, text in metadata.items() if name not in own}
    save_checkpoint(output, tensors, config, extra)


def load_checkpoint(path: str | Path) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Read a checkpoint: its configuration and its tensors by name, half precision as float32.

    Raises:
        CheckpointError: no such file, not a checkpoint of ovsam, truncated or altered, or parts of
            different checkpoints in one file.
    """
    _, config, tensors = _checked(path)
    return config, {name: _full_precision(tensor) for name, tensor in tensors.items()}


def _checked(path: str | Path) -> tuple[dict[str, str], ModelConfig, dict[str, Tensor]]:
    """Metadata, configuration and tensors as they are stored, or `CheckpointError`."""
    metadata, tensors = _read(Path(path))
    if metadata.get("format") != FORMAT:
        found = f"its format is '{metadata['format']}'" if "format" in metadata else "it names none"
        raise CheckpointError(
            f"'{path}' is not an ovsam checkpoint: expected the format '{FORMAT}', {found}. "
            "Turn released weights into one with 'ovsam convert'."
        )
    config = _parse_config(metadata.get("config", ""), path)
    _check_fingerprints(metadata.get("parts", ""), tensors, path)
    return metadata, config, tensors


def read_metadata(path: str | Path) -> dict[str, str]:
    """The metadata of a safetensors file, without reading its tensors."""
    with _opened(Path(path)) as file:
        return dict(file.metadata() or {})


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    with _opened(path) as file:
        try:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        except (SafetensorError, OSError, RuntimeError) as error:
            raise CheckpointError(f"The checkpoint '{path}' is damaged: {error}.") from error
        return dict(file.metadata() or {}), tensors


def _opened(path: Path) -> safe_open:
    if not path.exists():
        raise CheckpointError(f"There is no checkpoint at '{path}'.")
    if not path.is_file():
        raise CheckpointError(f"'{path}' is not a file. Give the path of a .safetensors file.")
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"'{path}' is damaged or not a safetensors file ({error}). "
            "Fetch it again, or turn released weights into one with 'ovsam convert'."
        ) from error


def _parse_config(text: str, path: str | Path) -> ModelConfig:
    try:
        return _CONFIG.validate_json(text)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, item['loc'])) or 'config'}: {item['msg']}"
            for item in error.errors(include_url=False)
        ]
        raise CheckpointError(
            f"The configuration in '{path}' cannot be used: {listed(problems, '; ')}. "
            "It may come from another version of ovsam."
        ) from error


def _check_fingerprints(text: str, tensors: Mapping[str, Tensor], path: str | Path) -> None:
    try:
        expected = json.loads(text)
    except json.JSONDecodeError:
        expected = None
    if not isinstance(expected, dict):
        raise CheckpointError(f"'{path}' has no fingerprints of its parts. Convert it again.")
    found = fingerprints(tensors)
    foreign = sorted(
        part for part in expected.keys() | found.keys() if expected.get(part) != found.get(part)
    )
    if foreign:
        raise CheckpointError(
            f"The parts of '{path}' do not belong together: {', '.join(foreign)} differ from what "
            "the file was written with. Fetch or convert it again."
        )


def _full_precision(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def fill(module: nn.Module, state: Mapping[str, Tensor], source: str | Path) -> None:
    """Put weights into a module of just these names and shapes; it may live on `meta`.

    Args:
        module: takes the tensors over as they are.
        state: by name.
        source: where they come from, for the message.

    Raises:
        CheckpointError: names every tensor that is missing, unexpected, or of another shape.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    problems = differences(expected, {name: tuple(t.shape) for name, t in state.items()})
    if problems:
        raise CheckpointError(f"The weights in '{source}' do not fit the model: {problems}.")
    module.load_state_dict(state, strict=True, assign=True)


def differences(
    expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> str:
    """What tells two lists of tensors apart, by name and shape; empty if nothing does.

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


def listed(names: Iterable[str], separator: str = ", ") -> str:
    """Names in one line, the first few if there are many."""
    names = list(names)
    more = len(names) - NAMES_SHOWN
    shown = separator.join(names[:NAMES_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown
