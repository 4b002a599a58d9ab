"""Checkpoints: ONE safetensors file whose metadata says what it is.

The metadata (strings, as safetensors has it) holds `format` = "ovsam-1", `config` = the
`ModelConfig` as JSON, `parts` = a fingerprint of each part as JSON, `lacks` = a JSON list of what
SAM offers and this checkpoint cannot, and what the caller adds (`licence`, `source`, ...). A part
is the first component of a tensor's name: `encoder`, `adapter`, `mask_decoder`, `text`, ...

A file may come from anybody. Its header is read within bounds and held against the file's size and
the model that it says it is; only then is memory taken for its tensors, which are copied out of it:
a file that is written anew later changes no model that is in use.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ovsam.bounded_json import JsonError, parse_json
from ovsam.config import ModelConfig
from ovsam.errors import CheckpointError, first_few, quoted
from ovsam.files import replace_file

FORMAT = "ovsam-1"
NAMES_SHOWN = 12  # of the tensors that an error message lists
NAME_SHOWN = 300  # characters of each
HEADER_BYTES = 8 * 2**20  # at most, of a file's header; `lite` has 50 kB
CONFIG_BYTES = 4 * 2**20  # at most, of the configuration in it, most of it names of classes
FILE_BYTES = 8 * 2**30  # at most; the largest model that can be made has 5 GiB
DTYPES = {
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
}
"""What weights may be stored as, by safetensors' names; whole numbers only count batches."""

_CONFIG = TypeAdapter(ModelConfig)


@dataclass(frozen=True)
class Stored:
    """A tensor as a file's header describes it.

    Attributes:
        dtype: one of `DTYPES`.
        shape: of the tensor.
        start: its first byte in the file.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int

    @property
    def bytes(self) -> int:
        """How many it takes."""
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize


@dataclass(frozen=True)
class Header:
    """What a safetensors file says before its tensors.

    Attributes:
        metadata: strings by name.
        stored: its tensors by name.
    """

    metadata: dict[str, str]
    stored: dict[str, Stored]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The tensors' shapes by name."""
        return {name: tensor.shape for name, tensor in self.stored.items()}


Check = Callable[[ModelConfig, Header], None]


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
    except OSError as error:
        raise CheckpointError(f"Cannot write the checkpoint '{path}': {error}.") from error


def save_atomically(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file, and its folder, under another name first: nobody sees half of it.

    Raises:
        OSError: it cannot be written; what was there is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not save_file: it writes under a name of its own first, which stays when it is killed.
    replace_file(path, save(dict(tensors), None if metadata is None else dict(metadata)))


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


def load_checkpoint(
    path: str | Path, check: Check | None = None
) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Read a checkpoint: its configuration and its tensors by name, half precision as float32.

    Args:
        path: of the file.
        check: refuses a file by its configuration and header, before any tensor is read.

    Raises:
        CheckpointError: no such file, not a checkpoint of ovsam, truncated or altered, of numbers
            that no model has, or parts of different checkpoints in one file.
    """
    _, config, tensors = _checked(path, check)
    return config, {name: _full_precision(tensor) for name, tensor in tensors.items()}


def read_config(path: str | Path) -> ModelConfig:
    """The configuration of a checkpoint, without reading its tensors.

    Raises:
        CheckpointError: no such file, not a checkpoint of ovsam, or its header is damaged.
    """
    with _opened(Path(path)) as file:
        return _config_of(_header(file, Path(path)).metadata, path)


def _checked(
    path: str | Path, check: Check | None = None
) -> tuple[dict[str, str], ModelConfig, dict[str, Tensor]]:
    """Metadata, configuration and tensors as they are stored, or `CheckpointError`."""
    with _opened(Path(path)) as file:
        header = _header(file, Path(path))
        config = _config_of(header.metadata, path)
        if check is not None:
            check(config, header)
        tensors = _tensors(file, header, path)
    _check_fingerprints(header.metadata.get("parts", ""), tensors, path)
    check_finite(tensors, path)
    return header.metadata, config, tensors


def read_metadata(path: str | Path) -> dict[str, str]:
    """The metadata of a safetensors file, without reading its tensors."""
    with _opened(Path(path)) as file:
        return _header(file, Path(path)).metadata


def read_safetensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors of any safetensors file of weights, as they are stored.

    Raises:
        CheckpointError: no such file, damaged, or of other numbers than weights are.
    """
    with _opened(Path(path)) as file:
        return _tensors(file, _header(file, Path(path)), path)


def _opened(path: Path) -> BinaryIO:
    if not os.path.exists(path):  # unlike Path's, never raises
        raise CheckpointError(f"There is no checkpoint at '{path}'.")
    if not os.path.isfile(path):
        raise CheckpointError(f"'{path}' is not a file. Give the path of a .safetensors file.")
    try:
        return path.open("rb")
    except OSError as error:
        raise CheckpointError(f"'{path}' cannot be read: {error.strerror or error}.") from error


def _header(file: BinaryIO, path: Path) -> Header:
    """The header of an open file, its size told before it is read."""
    try:
        size = int.from_bytes(file.read(8), "little")
        whole = os.fstat(file.fileno()).st_size
        if whole > FILE_BYTES:
            raise _not_readable(path, f"it has {whole:,} bytes, {FILE_BYTES:,} at most")
        if size > HEADER_BYTES:
            raise _not_readable(path, f"its header has {size:,} bytes, {HEADER_BYTES:,} at most")
        if 8 + size > whole:
            raise _not_readable(path, "it ends within its header")
        with safe_open(path, framework="numpy"):
            pass  # it holds what each tensor takes against the file's size
        content = parse_json(file.read(size))
    except (SafetensorError, OSError, ValueError, RuntimeError, MemoryError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise _not_readable(path, _one_line(error)) from error
    if not isinstance(content, dict):
        raise _not_readable(path, "its header is no JSON object")
    metadata = content.pop("__metadata__", None) or {}
    try:
        stored = {
            name: Stored(row["dtype"], tuple(row["shape"]), 8 + size + row["data_offsets"][0])
            for name, row in content.items()
        }
        metadata = {str(name): str(text) for name, text in metadata.items()}
    except (LookupError, TypeError, AttributeError) as error:  # it was changed meanwhile
        raise _not_readable(path, "its header is not safetensors'") from error
    return Header(metadata, stored)


def _tensors(file: BinaryIO, header: Header, path: str | Path) -> dict[str, Tensor]:
    """Copies of the tensors that a header describes."""
    foreign = [f"{n} {quoted(t.dtype)}" for n, t in header.stored.items() if t.dtype not in DTYPES]
    if foreign:
        raise CheckpointError(
            f"'{path}' holds numbers that are no weights: {listed(foreign)}; expected one of "
            f"{', '.join(DTYPES)}."
        )
    tensors = {}
    try:
        for name, stored in header.stored.items():
            tensor = torch.empty(stored.shape, dtype=DTYPES[stored.dtype])
            if stored.bytes:
                file.seek(stored.start)
                target = tensor.reshape(-1).view(torch.uint8).numpy().data
                # A buffered reader fills it but for the file's end.
                if file.readinto(target) < len(target):  # type: ignore[attr-defined]
                    raise CheckpointError(f"The checkpoint '{path}' ends before its tensor {name}.")
            tensors[name] = tensor
    except (OSError, RuntimeError, MemoryError) as error:
        raise CheckpointError(f"The tensors of '{path}' cannot be read: {_one_line(error)}.") from (
            error
        )
    return tensors


def _not_readable(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"'{path}' is damaged or not a safetensors file ({reason}). "
        "Fetch it again, or turn released weights into one with 'ovsam convert'."
    )


def _one_line(error: Exception) -> str:
    """The first line of what an error says, without a full stop, and short."""
    text = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
    return text if len(text) <= 200 else f"{text[:197]}..."


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
        if count <= 10 * NAMES_SHOWN:  # else they take more memory than the file
            details = error.errors(include_url=False, include_context=False, include_input=False)
            problems = [
                f"{_place(detail['loc'])}: {_one_line(ValueError(detail['msg']))}".replace(
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


def _check_fingerprints(text: str, tensors: Mapping[str, Tensor], path: str | Path) -> None:
    try:
        expected = parse_json(text)
    except JsonError:
        expected = None
    if not isinstance(expected, dict):
        raise CheckpointError(f"'{path}' has no fingerprints of its parts. Convert it again.")
    found = fingerprints(tensors)
    foreign = sorted(
        part for part in expected.keys() | found.keys() if expected.get(part) != found.get(part)
    )
    if foreign:
        raise CheckpointError(
            f"The parts of '{path}' do not belong together: {listed(foreign)} differ from what "
            "the file was written with. Fetch or convert it again."
        )


def check_finite(tensors: Mapping[str, Tensor], source: str | Path) -> None:
    """Refuse weights that are no numbers.

    Raises:
        CheckpointError: names the tensors that hold something infinite or not a number.
    """
    wrong = [
        name
        for name, tensor in tensors.items()
        if tensor.is_floating_point() and not torch.isfinite(tensor).all()
    ]
    if wrong:
        raise CheckpointError(
            f"'{source}' holds weights that are not finite: {listed(wrong)}. Whoever trained them "
            "should look at an earlier checkpoint."
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
        CheckpointError: names every tensor that is missing, unexpected, of another shape, or of
            whole numbers where the module has others.
    """
    own = module.state_dict()
    expected = {name: tuple(tensor.shape) for name, tensor in own.items()}
    problems = differences(expected, {name: tuple(t.shape) for name, t in state.items()})
    if problems:
        raise CheckpointError(f"The weights in '{source}' do not fit the model: {problems}.")
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
    """Names in one line, the first few if there are many; each short, whatever it is."""
    short = (n if n.isprintable() and len(n) <= NAME_SHOWN else quoted(n) for n in names)
    return first_few(short, NAMES_SHOWN, separator)
