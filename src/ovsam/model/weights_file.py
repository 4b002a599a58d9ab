"""Reading weights that others wrote: safetensors, what `torch.save` wrote, OpenAI's archives.

Nothing is ever unpickled: files are read with `weights_only=True` or as safetensors, and OpenAI's
TorchScript archives only if their SHA-256 is the published one.
"""

from __future__ import annotations

import hashlib
import os
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ovsam.errors import CheckpointError, first_line, quoted
from ovsam.model.safetensors_file import SafetensorsFile
from ovsam.model.state_dict import listed
from ovsam.model.tensors import as_tensors

# OpenAI publishes each archive under its SHA-256.
OPENAI_ARCHIVES = {
    "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762": "RN50.pt",
    "52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa": "RN50x16.pt",
    "be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c": "RN50x64.pt",
}

_WHOLE = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_NUMBERS = frozenset((torch.float16, torch.bfloat16, torch.float32, torch.float64, *_WHOLE))
"""What weights may be saved as; torch does not compute with all that it stores."""


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, a `torch.save` file or one of OpenAI's archives, by name.

    A state dict may stand under the key "state_dict" or "model". What `torch.save` wrote as a zip
    stays mapped to its file.

    Raises:
        CheckpointError: missing, damaged, or a file that could run code when it is read.
    """
    path = Path(path)
    if not os.path.isfile(path):  # unlike Path's, never raises
        raise CheckpointError(f"There is no file '{path}'.")
    if path.suffix == ".safetensors":
        with SafetensorsFile(path) as file:
            return as_tensors(file.arrays())
    content = _saved(path)
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise CheckpointError(f"'{path}' holds no state dict.")
    tensors = {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
    if not tensors:
        raise CheckpointError(f"'{path}' holds no tensors.")
    _check_stored(tensors, path)
    return tensors


def _saved(path: Path) -> object:
    """What `torch.save` or OpenAI wrote, of tensors and plain containers alone."""
    try:
        is_zip = zipfile.is_zipfile(path)
        if is_zip and _is_torchscript(path):
            return _read_openai(path)
        if is_zip:
            check_archive(path)
        # Only the zip format, which torch.save has written since 1.6, can be mapped into memory.
        with warnings.catch_warnings():  # an odd pickle protocol is no concern of the user's
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except (OSError, RuntimeError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"'{path}' is damaged or holds no weights ({first_line(error)})."
        ) from error
    except CheckpointError:
        raise
    except Exception as error:  # a pickle that is damaged or hostile raises what it likes
        raise CheckpointError(
            f"'{path}' is damaged, or holds more than tensors, which could run foreign code when "
            "it is read. Fetch it again, or save its state dict alone as safetensors."
        ) from error


def _check_stored(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors that no weights are, above all those larger than their file."""
    size = path.stat().st_size
    wrong = [
        name
        for name, tensor in tensors.items()
        if tensor.dtype not in _NUMBERS
        or tensor.layout != torch.strided
        or tensor.is_nested
        or tensor.is_quantized
        or tensor.device.type != "cpu"
        or tensor.numel() * tensor.element_size() > size
    ]
    if wrong:
        raise CheckpointError(
            f"'{path}' holds tensors that are no weights, or larger than itself: {listed(wrong)}."
        )


def check_archive(path: Path) -> None:
    """Hold a zip archive of `torch.save` against its checksums, at which torch does not look.

    Raises:
        CheckpointError: some part of it is not what was written.
        Exception: whatever zipfile makes of a damaged archive.
    """
    with zipfile.ZipFile(path) as archive:
        spoilt = archive.testzip()
    if spoilt is not None:
        raise CheckpointError(
            f"'{path}' is damaged: {quoted(spoilt)} in it is not what its checksum says. Fetch it "
            "again."
        )


def _is_torchscript(path: Path) -> bool:
    """Whether a zip archive is a program; refuses another that would unpack to more than it is."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if any(entry.filename.endswith("/constants.pkl") for entry in entries):
        return True
    packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    if packed or sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise CheckpointError(
            f"'{path}' is a packed archive, which no file of weights is. Unpack it and give the "
            "file within."
        )
    return False


def _read_openai(path: Path) -> dict[str, Tensor]:
    # A TorchScript archive is a program. It is read only if it is byte for byte OpenAI's.
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest not in OPENAI_ARCHIVES:
        raise CheckpointError(
            f"'{path}' is a TorchScript archive, which could run foreign code, and none of those "
            f"that OpenAI published ({', '.join(OPENAI_ARCHIVES.values())}). Take the hub's "
            "open_clip_model.safetensors of the same model."
        )
    with warnings.catch_warnings():  # torch calls TorchScript deprecated
        warnings.simplefilter("ignore")
        module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    return dict(module.state_dict())
