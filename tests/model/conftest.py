from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from foreign_files import let_tiny_models_load, write_sound


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Sound checkpoints of the tiny model, which load like any other as long as a module runs."""
    with pytest.MonkeyPatch.context() as patch:
        let_tiny_models_load(patch)
        yield write_sound(tmp_path_factory.mktemp("sound"))
