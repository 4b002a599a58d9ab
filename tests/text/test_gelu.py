from __future__ import annotations

import math

import numpy as np
import pytest

from ovsam.text import gelu as module
from ovsam.text.gelu import gelu


@pytest.mark.parametrize("chunk", [1 << 15, 7])
def test_is_that_of_the_error_function(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(module, "_CHUNK", chunk)
    x = np.concatenate([np.linspace(-12, 12, 4001), [0, -0.0, -1e4, 1e4]]).astype(np.float32)
    expected = [value * (1 + math.erf(value / 2**0.5)) / 2 for value in x.tolist()]
    np.testing.assert_allclose(gelu(x.copy()), expected, rtol=1e-6, atol=1e-6)


def test_is_computed_in_place() -> None:
    x = np.ones((2, 3), np.float32)
    assert gelu(x) is x and x[0, 0] == pytest.approx(0.841345, abs=1e-6)
