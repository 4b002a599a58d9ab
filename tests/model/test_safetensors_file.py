"""Files that are no safetensors files, or end too early: refused in one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from foreign_files import as_json, packed, refused, replaced, unpacked, with_metadata
from ovsam.errors import CheckpointError
from ovsam.hub import SHIPPED
from ovsam.model.checkpoint import load_checkpoint
from ovsam.model.presets import MODELS
from ovsam.model.restore import restore
from ovsam.model.safetensors_file import HEADER_BYTES, SafetensorsFile, write_safetensors
from ovsam.model.tensors import as_arrays, as_tensors


def empty(_: Path, path: Path) -> None:
    path.touch()


def folder(_: Path, path: Path) -> None:
    path.mkdir()


def loop(_: Path, path: Path) -> None:
    path.symlink_to(path)


def dangling(_: Path, path: Path) -> None:
    path.symlink_to(path.with_name("nothing"))


def pipe(_: Path, path: Path) -> None:
    os.mkfifo(path)


def pickled(_: Path, path: Path) -> None:
    torch.save({"a": torch.zeros(3)}, path, _use_new_zipfile_serialization=False)


def zipped(_: Path, path: Path) -> None:
    torch.save({"a": torch.zeros(3)}, path)


def web_page(_: Path, path: Path) -> None:
    path.write_bytes(b"<!DOCTYPE html><html><body>404: Not Found</body></html>")


def huge_header(_: Path, path: Path) -> None:
    with path.open("wb") as file:  # takes no space
        file.write((HEADER_BYTES + 1).to_bytes(8, "little"))
        file.truncate(2 * HEADER_BYTES)


def endless_header(_: Path, path: Path) -> None:
    path.write_bytes((2**63 - 1).to_bytes(8, "little") + b"{}")


def deep_header(_: Path, path: Path) -> None:
    path.write_bytes((200_000).to_bytes(8, "little") + b"[" * 200_000)


def promised(sound: Path, path: Path) -> None:
    """More than there is."""
    header, body = unpacked(sound.read_bytes())
    size = len(body)
    row = {"dtype": "F32", "shape": [2**30], "data_offsets": [size, size + 2**32]}
    path.write_bytes(packed({**header, "adapter.more": row}, body))


def sparse(sound: Path, path: Path, gib: int = 7) -> None:
    """As much as it promises, though nothing of it is on the disk."""
    header, body = unpacked(sound.read_bytes())
    size, more = len(body), gib * 2**30
    row = {"dtype": "F32", "shape": [more // 4], "data_offsets": [size, size + more]}
    content = packed({**header, "adapter.more": row}, body)
    with path.open("wb") as file:
        file.write(content)
        file.truncate(len(content) + more)


def larger_than_any(sound: Path, path: Path) -> None:
    sparse(sound, path, gib=64)


def overflowing(sound: Path, path: Path) -> None:
    header, body = unpacked(sound.read_bytes())
    row = {"dtype": "F32", "shape": [2**32, 2**32, 2**32], "data_offsets": [0, 4]}
    path.write_bytes(packed({**header, "adapter.more": row}, body))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (empty, "damaged or not a safetensors file"),
        (folder, "is not a file"),
        (loop, "There is no checkpoint"),
        (dangling, "There is no checkpoint"),
        (pipe, "is not a file"),
        (pickled, "damaged or not a safetensors file"),
        (zipped, "damaged or not a safetensors file"),
        (web_page, "damaged or not a safetensors file"),
        (huge_header, "its header has 8,388,609 bytes, 8,388,608 at most"),
        (endless_header, "its header has 9,223,372,036,854,775,807 bytes"),
        (deep_header, "damaged or not a safetensors file"),
        (promised, "damaged or not a safetensors file"),
        (sparse, "1 unexpected: adapter.more (1879048192,)"),
        (larger_than_any, "bytes, 8,589,934,592 at most"),
        (overflowing, "damaged or not a safetensors file"),
    ],
)
def test_what_is_no_checkpoint(
    make: Callable[[Path, Path], None], message: str, sound: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "odd.safetensors"
    make(sound["whole"], path)
    assert message in refused(path)


def test_a_path_of_any_length(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        restore(tmp_path / ("a" * 5000))


def test_a_file_that_is_cut_while_it_is_read(
    sound: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(sound["whole"].read_bytes())
    own = SafetensorsFile.arrays

    def cut(*arguments: Any) -> dict[str, Any]:
        os.truncate(path, path.stat().st_size // 2)
        return own(*arguments)

    monkeypatch.setattr(SafetensorsFile, "arrays", cut)
    with pytest.raises(CheckpointError, match="ends before its tensor"):
        load_checkpoint(path)


# Not by ru_maxrss: that begins with the peak of the parent, which has run other tests.
_GROWTH = """
import re, sys
from pathlib import Path
from ovsam.errors import CheckpointError
from ovsam.hub import SHIPPED
from ovsam.model.restore import restore
from ovsam.model.weights_file import read_tensors
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024
restore(SHIPPED)
before = peak()
for path in sys.argv[1:]:
    try:
        restore(path) if path.endswith(".safetensors") else read_tensors(path)
    except CheckpointError as error:
        pass
    else:
        raise AssertionError(path)
print(peak() - before)
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_is_refused_takes_no_memory(tmp_path: Path) -> None:
    """Beside what a sound model takes, in MiB."""
    paths = []
    content = SHIPPED.read_bytes()
    lite = as_json(MODELS["lite"])
    for number, (place, value) in enumerate(
        [
            (("image_size",), 4096),
            (("adapter", "dim"), 16320),
            (("adapter", "depth"), 128),
            (("embed_dim",), 16384),
            (("decoder", "mlp_dim"), 16384),
            (("seen_classes",), [1] * 1_000_000),
            ((), {str(i): i for i in range(200_000)}),
        ]
    ):
        paths.append(tmp_path / f"{number}.safetensors")
        config = json.dumps(replaced(lite, place, value))
        paths[-1].write_bytes(with_metadata(content, config=config))
    makers = (huge_header, endless_header, deep_header, promised, sparse, larger_than_any)
    for make in makers:
        paths.append(tmp_path / f"{make.__name__}.safetensors")
        make(SHIPPED, paths[-1])
    paths.append(tmp_path / "view.pth")
    torch.save({"a": torch.zeros(1).expand(2**40)}, paths[-1])
    command = [sys.executable, "-c", _GROWTH, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 400


def test_what_is_written_is_what_others_read(tmp_path: Path) -> None:
    """By safetensors itself, too: all kinds of numbers, views, nothing, and any text."""
    tensors = {
        "half": torch.arange(3).half(),
        "turned": torch.arange(6.0).reshape(2, 3).T,
        "count": torch.tensor(5),
        "none": torch.zeros(0, 4),
        "brief": torch.arange(5).bfloat16()[1:4],
    }
    metadata = {"said": '«naïve»\n"', "format": "x"}
    path = tmp_path / "a.safetensors"
    write_safetensors(path, as_arrays(tensors), metadata)
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == metadata
    with SafetensorsFile(path) as own:
        for read in (as_tensors(own.arrays()), load_file(path)):
            assert read.keys() == tensors.keys()
            for name, tensor in tensors.items():
                assert read[name].dtype == tensor.dtype and torch.equal(read[name], tensor), name
    assert [each.name for each in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").mkdir()
    with pytest.raises(OSError):
        write_safetensors(tmp_path / "a.safetensors", {"a": np.zeros(3, np.float32)}, {})
    assert [each.name for each in tmp_path.iterdir()] == ["a.safetensors"]
