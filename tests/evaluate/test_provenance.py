"""What tells two reports apart: what the names that were typed stood for."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovsam.evaluate.provenance import provenance, vocabulary_sha256
from ovsam.files import sha256_of
from ovsam.hub import SHIPPED, checkpoint_sha256
from ovsam.vocabulary.load import load_vocabulary


def test_the_same_name_with_other_weights_is_another_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = checkpoint_sha256("lite")
    assert before == sha256_of(SHIPPED) is not None
    (tmp_path / "new.safetensors").write_bytes(b"other weights")
    monkeypatch.setattr("ovsam.hub.SHIPPED", tmp_path / "new.safetensors")
    after = checkpoint_sha256("lite")
    assert after == checkpoint_sha256(str(tmp_path / "new.safetensors")) != before


def test_a_baseline_is_neither_its_model_nor_another() -> None:
    names = ("lite", "lite-feature-crop", "lite-image-crop")
    assert len({checkpoint_sha256(name) for name in names} - {None}) == 3


def test_a_release_is_told_where_it_was_fetched_and_never_fetched_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: tmp_path)
    assert checkpoint_sha256("rn50x16-coco") is None
    (tmp_path / "models").mkdir()
    (tmp_path / "models/rn50x16-coco.safetensors").write_bytes(b"weights")
    assert checkpoint_sha256("rn50x16-coco") == sha256_of(
        tmp_path / "models/rn50x16-coco.safetensors"
    )


def test_what_is_not_there_has_no_fingerprint() -> None:
    assert checkpoint_sha256("none") is checkpoint_sha256("none.safetensors") is None
    assert vocabulary_sha256("cocoo") is vocabulary_sha256("none.txt") is None
    assert sha256_of(Path("x" * 5000)) is sha256_of(Path("a\0b")) is None
    assert sha256_of(Path("/dev/zero")) is None, "which has no end"


def test_vocabularies_are_told_by_their_classes_and_files_by_their_content(tmp_path: Path) -> None:
    coco = load_vocabulary("coco").fingerprint
    assert vocabulary_sha256("coco") == coco != vocabulary_sha256("coco-ov")
    assert vocabulary_sha256("cat, dog") == load_vocabulary("cat, dog").fingerprint
    path = tmp_path / "mine.txt"
    path.write_text("cat\n")
    said = provenance(
        annotations=path,
        model="lite",
        vocabulary=str(path),
        limit=3,
        model_sha256=checkpoint_sha256,
        detections=path,
    )
    content = {"name": str(path), "sha256": sha256_of(path)}
    assert said["vocabulary"] == said["annotations"] == said["detections"] == content
    assert said["limit"] == 3
    compared = provenance(
        annotations=tmp_path,
        model="lite",
        teacher="lite",
        limit=None,
        model_sha256=checkpoint_sha256,
    )
    assert compared["teacher"] == compared["model"]
    assert compared["annotations"] == {"name": str(tmp_path), "sha256": None}  # a folder
    assert compared.keys() == {"annotations", "model", "teacher", "limit"}
