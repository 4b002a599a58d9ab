"""The Gaussian error linear unit of BERT's layers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# erf(x) = 1 - (a1 t + a2 t^2 + ... + a5 t^5) exp(-x^2), t = 1 / (1 + p x), for x >= 0:
# Abramowitz and Stegun 7.1.26, off by 1.5e-7 at most, about what float32 rounds. numpy has no erf,
# and scipy's takes as long as the matrix products around it.
_P = 0.3275911
_A = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
_CHUNK = 1 << 15  # numbers at once, so that what is between stays in a processor's cache


def gelu(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """`x (1 + erf(x / sqrt(2))) / 2` of each number, in place.

    Args:
        x: contiguous, of any shape.
    """
    flat = x.reshape(-1)
    for start in range(0, flat.size, _CHUNK):
        _gelu(flat[start : start + _CHUNK])
    return x


def _gelu(x: NDArray[np.float32]) -> None:
    """Of numbers `(n,)`: with e = erfc(|x| / sqrt(2)) / 2 it is max(x, 0) - |x| e."""
    z = np.abs(x)
    t = z * np.float32(_P / 2**0.5)
    t += 1
    np.reciprocal(t, out=t)
    e = t * np.float32(_A[0])
    for a in _A[1:]:
        e += np.float32(a)
        e *= t
    e *= np.float32(0.5)
    e *= z
    z *= z
    z *= np.float32(-0.5)
    np.exp(z, out=z)
    e *= z
    np.maximum(x, 0, out=x)
    x -= e
