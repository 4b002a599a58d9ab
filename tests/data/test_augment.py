from __future__ import annotations

import numpy as np

from ovsam.data.augment import noisy_box

SIZE = 64


def test_anoisy_box_stays_in_its_crop() -> None:
    """An object that another was pasted over has a box of zeros."""
    for seed in range(50):
        for exact in ([0.0, 0, 0, 0], [60.0, 10, 64, 64], [0, 0, 64, 64]):
            box = noisy_box(np.random.default_rng(seed), np.array(exact), SIZE)
            assert box.min() >= 0 and box.max() <= SIZE
            assert (box[2:] - box[:2] >= 1).all()
