"""Text embeddings on disk."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from counting_text import CountingEncoder, prototypes_of, vector_of
from ovsam.text import cache
from ovsam.text.cache import TextStore
from tiny_model import names_of


@pytest.mark.parametrize("path", ["text.sqlite", "new/folder/text.sqlite"])
def test_a_second_store_on_the_same_file_computes_nothing(tmp_path: Path, path: str) -> None:
    names = ["cat", "dog/puppy", "mug"]
    first = prototypes_of(names, TextStore(tmp_path / path))
    encoder = CountingEncoder()
    second = prototypes_of(names, TextStore(tmp_path / path), encoder)
    assert not encoder.embedded
    for number in range(3):
        assert np.array_equal(names_of(first.bank, number), names_of(second.bank, number))


def test_the_seed_is_used_and_never_written(tmp_path: Path) -> None:
    path, encoder = tmp_path / "text.sqlite", CountingEncoder()
    seed = {"cat": vector_of("cat")[0].astype(np.float16)}
    bank = prototypes_of(["cat"], TextStore(path, seed), encoder).bank
    assert not encoder.embedded and not path.exists()
    np.testing.assert_allclose(names_of(bank, 0), vector_of("cat"), atol=1e-3, rtol=0)


@pytest.mark.parametrize("content", [b"not a database at all" * 100, None])
def test_a_damaged_file_is_moved_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes | None
) -> None:
    path = tmp_path / "text.sqlite"
    names = [f"name {i}" for i in range(500)]
    prototypes_of(names, TextStore(path))
    if content is None:  # the first page is right, the others are not
        content = path.read_bytes()[:4096] + b"\xff" * (path.stat().st_size - 4096)
    path.write_bytes(content)
    encoder = CountingEncoder()
    with caplog.at_level(logging.WARNING):
        prototypes_of(names, TextStore(path), encoder)
    assert len(encoder.embedded) == 500
    assert "are computed again" in caplog.text
    assert (tmp_path / "text.sqlite.damaged").read_bytes() == content
    encoder.embedded.clear()
    prototypes_of(names, TextStore(path), encoder)
    assert not encoder.embedded


@pytest.mark.parametrize("blob", [b"", b"\0" * 32, b"\xff" * 32, b"\0" * 31])
def test_a_damaged_vector_is_computed_again(tmp_path: Path, blob: bytes) -> None:
    path = tmp_path / "text.sqlite"
    prototypes_of(["cat"], TextStore(path))
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE embedding SET vector = ?", (blob,))
    connection.close()
    bank = prototypes_of(["cat"], TextStore(path)).bank
    assert np.array_equal(names_of(bank, 0), vector_of("cat"))


def test_without_a_writable_file_it_works_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    store, encoder = TextStore(tmp_path / "file" / "text.sqlite"), CountingEncoder()
    with caplog.at_level(logging.WARNING):
        prototypes_of(["cat"], store, encoder)
    assert "not kept on disk" in caplog.text
    prototypes_of(["cat"], store, encoder)
    assert encoder.embedded == ["cat"]


def test_a_file_that_stays_locked_is_read_and_not_waited_for_forever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_TIMEOUT_S", 0.05)
    path = tmp_path / "text.sqlite"
    prototypes_of(["cat"], TextStore(path))
    store, encoder = TextStore(path), CountingEncoder()
    writer = sqlite3.connect(path)
    writer.execute("BEGIN IMMEDIATE")
    try:
        for _ in range(2):
            prototypes_of(["cat", "dog"], store, encoder)
    finally:
        writer.close()
    assert encoder.embedded == ["dog"]


def test_processes_write_at_once(tmp_path: Path) -> None:
    """Copies of one process, so that numpy is imported once."""
    path = tmp_path / "text.sqlite"
    code = """
import os, sys
from pathlib import Path
import numpy as np
from ovsam.text.cache import TextStore
vector = np.array([1, 0, 0, 0], np.float32)
children = []
for start in (0, 20, 40):
    child = os.fork()
    if not child:
        store = TextStore(Path(sys.argv[1]))
        for i in range(start, start + 20):
            store.put("model", {f"name {i}": vector, "shared": vector})
        os._exit(0)
    children.append(child)
sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    names = [*(f"name {i}" for i in range(60)), "shared"]
    assert set(TextStore(path).get("model", names, 4)) == set(names)


# Matrices

SIZE = (200, 8)
Halves = NDArray[np.float16]


@pytest.fixture
def vectors() -> Halves:
    vectors = np.random.default_rng(0).normal(size=SIZE)
    unit: Halves = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    return unit


@pytest.fixture
def store(tmp_path: Path) -> TextStore:
    return TextStore(tmp_path / "text.sqlite")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of matrix `a`."""
    return tmp_path / "banks" / "a.safetensors"


def test_comes_back_as_it_was(store: TextStore, path: Path, vectors: Halves) -> None:
    assert store.get_matrix("a", SIZE) is None
    store.put_matrix("a", vectors)
    found = store.get_matrix("a", SIZE)
    assert found is not None and np.array_equal(found, vectors)
    assert [file.name for file in path.parent.iterdir()] == ["a.safetensors"]


def test_is_mapped_rather_than_read(store: TextStore) -> None:
    if not (status := Path("/proc/self/status")).exists():
        pytest.skip("this system does not tell what is mapped")
    size = (1 << 17, 64)  # 16 MB
    store.put_matrix("a", np.full(size, 1 / 8, np.float16))

    def own_megabytes() -> float:
        [line] = [line for line in status.read_text().splitlines() if line.startswith("RssAnon")]
        return int(line.split()[1]) / 1024

    before = own_megabytes()
    found = store.get_matrix("a", size)
    assert found is not None
    assert own_megabytes() - before < 8


@pytest.mark.parametrize("harm", ["cut short", "zeros", "other size", "float32", "no tensors"])
def test_a_damaged_file_is_none(
    store: TextStore, path: Path, vectors: Halves, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    store.put_matrix("a", vectors)
    content = path.read_bytes()
    match harm:
        case "cut short":
            path.write_bytes(content[:-100])
        case "zeros":
            path.write_bytes(content[:-100] + bytes(100))
        case "other size":
            save_file({"vectors": vectors[:-1].copy()}, path)
        case "float32":
            save_file({"vectors": vectors.astype(np.float32)}, path)
        case "no tensors":
            save_file({}, path)
    with caplog.at_level(logging.WARNING):
        assert store.get_matrix("a", SIZE) is None
    assert "read name by name" in caplog.text
    store.put_matrix("a", vectors)
    assert store.get_matrix("a", SIZE) is not None


def test_what_is_mapped_survives_a_new_file(store: TextStore, vectors: Halves) -> None:
    store.put_matrix("a", vectors)
    found = store.get_matrix("a", SIZE)
    store.put_matrix("a", -vectors)
    assert found is not None and np.array_equal(found, vectors)


def test_the_last_used_are_kept(
    store: TextStore, path: Path, vectors: Halves, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "FILES_KEPT", 2)
    for age, name in ((200, "a"), (100, "b")):
        store.put_matrix(name, vectors)
        file = path.with_stem(name)
        os.utime(file, (file.stat().st_mtime - age,) * 2)
    assert store.get_matrix("a", SIZE) is not None  # used now
    store.put_matrix("c", vectors)
    assert {file.stem for file in path.parent.iterdir()} == {"a", "c"}


def test_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, vectors: Halves, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING):
        TextStore(tmp_path / "file" / "text.sqlite").put_matrix("a", vectors)
    assert "not kept on disk" in caplog.text


def test_without_a_file_no_matrix_is_kept(vectors: Halves) -> None:
    store = TextStore(None)
    store.put_matrix("a", vectors)
    assert store.get_matrix("a", SIZE) is None
