"""The learning rate of each step, as a share of the peak."""

from __future__ import annotations

import math

from ovsam.train.settings import ScheduleSettings


def rate_share(step: int, steps: int, settings: ScheduleSettings) -> float:
    """Warm-up times decay at a step (0 = the first of `steps`).

    Example:
        >>> drops = ScheduleSettings(peak=1e-4, warm_up=0, decay="drops", drops=(0.5,))
        >>> [rate_share(step, 4, drops) for step in range(4)]
        [1.0, 1.0, 0.1, 0.1]
    """
    warm = 1.0
    if step < settings.warm_up - 1:
        first = settings.warm_up_from
        warm = first + (1 - first) * step / (settings.warm_up - 1)
    if settings.decay == "drops":
        return warm * 0.1 ** sum(step >= drop * steps for drop in settings.drops)
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return warm * (settings.end + (1 - settings.end) * cosine)
