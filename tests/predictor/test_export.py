"""A model of the released kind, from its checkpoint to an exported folder and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import small_model
from ovsam.errors import VocabularyError
from ovsam.model.convert import convert
from ovsam.predictor.export import export_model
from ovsam.predictor.load import load
from ovsam.structures import Prompt
from predictor.scenes import blobs


@pytest.mark.long
@pytest.mark.parametrize("zoom", [False, True], ids=["whole photo", "zoomed"])
def test_clip_s_names_go_along(zoom: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_model.offer(monkeypatch)
    checkpoint, folder = tmp_path / "small.safetensors", tmp_path / "exported"
    files: dict[str, Any] = {**small_model.write_released(tmp_path)}
    convert(checkpoint, model=small_model.NAME, **files)
    words = "cat, dog, mug/cup"
    export_model(str(checkpoint), folder, "float32", ["dog, cat", "mug, cup"])
    ours, theirs = load(folder, vocabulary=words), load(checkpoint, vocabulary=words)
    for prompt in (Prompt(box_xyxy=[10, 10, 120, 100]), Prompt(points_xy=[[50, 60]])):
        [mine] = ours.predict(ours.encode(blobs(0)), prompt, zoom=zoom)
        [other] = theirs.predict(theirs.encode(blobs(0)), prompt, zoom=zoom)
        np.testing.assert_allclose(mine.low_res_logits, other.low_res_logits, atol=1e-3)
        assert [label.name for label in mine.labels[0]] == [label.name for label in other.labels[0]]
        for label, same in zip(mine.labels[0], other.labels[0], strict=True):
            assert label.score == pytest.approx(same.score, abs=0.005)
    with pytest.raises(VocabularyError, match=r"without the names 'quokka'\. Export it again with"):
        ours.predict(ours.encode(blobs(0)), prompt, vocabulary="cat, quokka")
