from __future__ import annotations

import numpy as np
import pytest

from ovsam.text import half
from ovsam.text.half import widened


@pytest.mark.parametrize("chunk", [1 << 16, 1000])
def test_every_number_of_half_precision_is_the_same(
    monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(half, "_CHUNK", chunk)
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)].reshape(2, -1)
    found = widened(finite)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, finite.astype(np.float32))
    np.testing.assert_array_equal(np.signbit(found), np.signbit(finite))


def test_memory_is_used_again() -> None:
    memory = np.empty((3, 4), np.float32)
    assert widened(np.full((3, 4), 0.5, np.float16), memory) is memory
    assert (memory == 0.5).all()
