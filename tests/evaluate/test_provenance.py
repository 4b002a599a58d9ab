"""What tells two reports apart: what the names that were typed stood for."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovsam.evaluate.provenance import asked, fingerprint, model_fingerprint, vocabulary_fingerprint
from ovsam.model import presets
from ovsam.vocabulary.load import load_vocabulary


def test_the_same_name_with_other_weights_is_another_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = model_fingerprint("lite")
    assert before == fingerprint(presets.SHIPPED) is not None
    (tmp_path / "new.safetensors").write_bytes(b"other weights")
    monkeypatch.setattr("ovsam.model.presets.SHIPPED", tmp_path / "new.safetensors")
    after = model_fingerprint("lite")
    assert after == model_fingerprint(str(tmp_path / "new.safetensors")) != before


def test_a_baseline_is_neither_its_model_nor_another() -> None:
    names = ("lite", "lite-feature-crop", "lite-image-crop")
    assert len({model_fingerprint(name) for name in names} - {None}) == 3


def test_a_release_is_told_where_it_was_fetched_and_never_fetched_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: tmp_path)
    assert model_fingerprint("rn50x16-coco") is None
    (tmp_path / "models").mkdir()
    (tmp_path / "models/rn50x16-coco.safetensors").write_bytes(b"weights")
    assert model_fingerprint("rn50x16-coco") == fingerprint(
        tmp_path / "models/rn50x16-coco.safetensors"
    )


def test_what_is_not_there_has_no_fingerprint() -> None:
    assert model_fingerprint("none") is model_fingerprint("none.safetensors") is None
    assert vocabulary_fingerprint("cocoo") is vocabulary_fingerprint("none.txt") is None
    assert fingerprint(Path("x" * 5000)) is fingerprint(Path("a\0b")) is None
    assert fingerprint(Path("/dev/zero")) is None, "which has no end"


def test_vocabularies_are_told_by_their_classes_and_files_by_their_content(tmp_path: Path) -> None:
    coco = load_vocabulary("coco").fingerprint
    assert vocabulary_fingerprint("coco") == coco != vocabulary_fingerprint("coco-ov")
    assert vocabulary_fingerprint("cat, dog") == load_vocabulary("cat, dog").fingerprint
    path = tmp_path / "mine.txt"
    path.write_text("cat\n")
    said = asked(annotations=path, model="lite", vocabulary=str(path), limit=3, detections=path)
    content = {"name": str(path), "sha256": fingerprint(path)}
    assert said["vocabulary"] == said["annotations"] == said["detections"] == content
    assert said["limit"] == 3
    compared = asked(annotations=tmp_path, model="lite", teacher="lite", limit=None)
    assert compared["teacher"] == compared["model"]
    assert compared["annotations"] == {"name": str(tmp_path), "sha256": None}  # a folder
    assert compared.keys() == {"annotations", "model", "teacher", "limit"}
