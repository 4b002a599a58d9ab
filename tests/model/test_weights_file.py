"""What `torch.save` and others wrote: tensors, or a refusal in one sentence."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from foreign_files import CHECKS, CUT, edited, one_sentence
from fuzzing import examples
from ovsam.errors import CheckpointError
from ovsam.model import weights_file
from ovsam.model.weights_file import read_tensors


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1/0",)


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_is_unpickled(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "bomb.pth"
    torch.save({"state_dict": Bomb()}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="could run foreign code"):
        read_tensors(path)


def test_files_that_hold_no_weights(tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    for content in (b"", b"hello", b"PK\x03\x04 broken", pickle.dumps([1, 2])):
        path.write_bytes(content)
        with pytest.raises(CheckpointError):
            read_tensors(path)
    with pytest.raises(CheckpointError, match="There is no file"):
        read_tensors(tmp_path / "none.pth")
    for value in ([1, 2], {"a": 1}):
        torch.save(value, path)
        with pytest.raises(CheckpointError, match="holds no"):
            read_tensors(path)
    path.with_suffix(".safetensors").write_bytes(b"broken")
    with pytest.raises(CheckpointError, match="damaged"):
        read_tensors(path.with_suffix(".safetensors"))


def test_a_torchscript_archive_only_if_it_is_openais(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "RN50x16.pt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 3)), path)
    with pytest.raises(CheckpointError, match=r"TorchScript archive.*open_clip_model.safetensors"):
        read_tensors(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(weights_file, "OPENAI_ARCHIVES", {digest: path.name})
    assert {n: tuple(t.shape) for n, t in read_tensors(path).items()} == {
        "weight": (3, 2),
        "bias": (3,),
    }


@pytest.mark.fuzz
@settings(max_examples=examples(100), derandomize=True, suppress_health_check=CHECKS)
@given(cuts=st.lists(CUT, min_size=1, max_size=3), zipped=st.booleans())
def test_whatever_happens_to_the_bytes_of_what_torch_saved(
    cuts: list[tuple[float, int, bytes]], zipped: bool, tmp_path: Path
) -> None:
    """The zip format has checksums of its own that are not looked at: values may differ."""
    path = tmp_path / "odd.pth"
    tensors = {"a.weight": torch.arange(12.0).reshape(3, 4), "a.bias": torch.ones(3).half()}
    torch.save({"state_dict": tensors}, path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(edited(content, cuts, len(content) // 2))
    try:
        found = read_tensors(path)
    except CheckpointError as error:
        one_sentence(error)
    else:
        assert all(tensor.numel() < 1000 for tensor in found.values())


def test_a_zip_that_would_unpack_to_more_than_it_is(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", b"\0" * 10**7)
    with pytest.raises(CheckpointError, match="is a packed archive"):
        read_tensors(tmp_path / "bomb.pth")


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize(
    "made",
    [
        lambda: torch.zeros(2, dtype=torch.complex64),
        lambda: torch.zeros(2).to(torch.float8_e4m3fn),  # torch cannot say whether it is finite
        lambda: torch.zeros(2, dtype=torch.uint16),
        lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(1)]),  # has no shape
        lambda: torch.zeros(2).to_sparse(),
    ],
    ids=["complex", "float8", "uint16", "nested", "sparse"],
)
def test_a_tensor_that_no_weights_are(made: Callable[[], Tensor], tmp_path: Path) -> None:
    torch.save({"a": made(), "b": torch.zeros(2)}, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=r"no weights, or larger than itself: a\.$"):
        read_tensors(tmp_path / "odd.pth")


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_tensor_larger_than_its_file(is_zip: bool, tmp_path: Path) -> None:
    path = tmp_path / "huge.pth"
    huge = torch.zeros(1).expand(2**40)
    torch.save({"a": huge}, path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(CheckpointError, match="or larger than itself: a"):
        read_tensors(path)


def test_a_broken_member_of_a_zip(tmp_path: Path) -> None:
    """Its directory stands at the end; each part of it in turn is spoilt."""
    path = tmp_path / "spoilt.pth"
    torch.save({"a": torch.zeros(3)}, path)
    content = path.read_bytes()
    at = content.rindex(b"PK\x05\x06")
    for start in range(at, len(content)):
        path.unlink()
        path.write_bytes(content[:start] + b"\xff" + content[start + 1 :])
        try:
            assert torch.equal(read_tensors(path)["a"], torch.zeros(3))
        except CheckpointError as error:
            one_sentence(error)
