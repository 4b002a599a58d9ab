"""The network of `predictor/click_ranking.py`, fitted so that the mask it takes is worth most."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ovsam.config import ClickRanking
from ovsam.predictor.click_ranking import worth

HIDDEN = 8  # units of one network
NETWORKS = 6  # of which each starts elsewhere; their scores are averaged
EPOCHS = 60
AT_ONCE = 256  # objects of a step
RATE, WARM_UP, DECAY = 0.03, 30, 0.001  # of AdamW; steps until the rate is reached
NOISE = 0.3  # standard deviations that features are disturbed by in training
CHOOSINESS = 20  # the mask that is taken is drawn by the softmax of so many times what it is worth
IMITATION = 0.1  # weight of the cross-entropy with the softmax of `SHARPNESS` times the IoU
SHARPNESS = 8

Floats = NDArray[np.float64]


def fit(features: Floats, common_iou: Floats, iou: Floats, weight: Floats) -> ClickRanking:
    """Maximise what the mask that `expected_worth` ranks first is worth.

    Args:
        features: `(N, K, F)` of K masks for each of N clicks.
        common_iou: `(N, K, K)` of the masks with each other.
        iou: `(N, K)` of these with the annotated mask.
        weight: `(N,)` how much each click counts.
    """
    flat = features.reshape(-1, features.shape[-1])
    mean, deviation = flat.mean(0), flat.std(0) + 1e-6
    normal = (features - mean) / deviation
    networks = [
        _trained(normal, worth(common_iou), iou, weight, np.random.default_rng(seed))
        for seed in range(NETWORKS)
    ]
    weights, biases, output = (np.concatenate(part, -1) for part in zip(*networks, strict=True))
    weights /= deviation[:, None]
    biases -= mean @ weights
    return ClickRanking(
        weights=tuple(_row(row) for row in weights),
        biases=_row(biases),
        output=_row(output / NETWORKS),
    )


def _row(values: Floats) -> tuple[float, ...]:
    return tuple(float(f"{value:.4g}") for value in values)


def _trained(
    features: Floats,
    common: Floats,
    iou: Floats,
    weight: Floats,
    random: np.random.Generator,
) -> list[Floats]:
    """Weights `(F, H)`, biases `(H,)` and output `(H,)` of one network."""
    count = features.shape[-1]
    parts: list[Floats] = [
        random.normal(0, count**-0.5, (count, HIDDEN)),
        np.zeros(HIDDEN),
        random.normal(0, HIDDEN**-0.5, HIDDEN),
    ]
    first, second = [np.zeros_like(p) for p in parts], [np.zeros_like(p) for p in parts]
    steps, step = EPOCHS * -(-len(iou) // AT_ONCE), 0
    for _ in range(EPOCHS):
        order = random.permutation(len(iou))
        for start in range(0, len(iou), AT_ONCE):
            some, step = order[start : start + AT_ONCE], step + 1
            seen = features[some] + NOISE * random.normal(size=features[some].shape)
            rate = RATE * min(1, step / WARM_UP) * (1 + np.cos(np.pi * step / steps)) / 2
            gradients = _gradients(parts, seen, common[some], iou[some], weight[some])
            for i, gradient in enumerate(gradients):
                first[i] = 0.9 * first[i] + 0.1 * gradient
                second[i] = 0.99 * second[i] + 0.01 * gradient**2
                ahead = first[i] / (1 - 0.9**step)
                scale = np.sqrt(second[i] / (1 - 0.99**step)) + 1e-8
                parts[i] = parts[i] - rate * (ahead / scale + DECAY * parts[i])
    return parts


def _gradients(
    parts: list[Floats], features: Floats, common: Floats, iou: Floats, weight: Floats
) -> list[Floats]:
    weights, biases, output = parts
    hidden = np.tanh(features @ weights + biases)
    likely = _softmax(hidden @ output)
    taken = _softmax(CHOOSINESS * (common @ likely[..., None])[..., 0])
    gain = worth(iou)
    of_expected = CHOOSINESS * taken * ((taken * gain).sum(1, keepdims=True) - gain)
    of_likely = (of_expected[:, None] @ common)[:, 0]
    of_scores = likely * (of_likely - (likely * of_likely).sum(1, keepdims=True))
    of_scores += IMITATION * (likely - _softmax(SHARPNESS * iou))
    of_scores *= weight[:, None] / len(iou)
    of_hidden = of_scores[..., None] * output * (1 - hidden**2)
    return [
        np.tensordot(features, of_hidden, ((0, 1), (0, 1))),
        of_hidden.sum((0, 1)),
        (hidden * of_scores[..., None]).sum((0, 1)),
    ]


def _softmax(scores: Floats) -> Floats:
    odds: Floats = np.exp(scores - scores.max(1, keepdims=True))
    odds /= odds.sum(1, keepdims=True)
    return odds
