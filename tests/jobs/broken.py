"""Predictors that a worker cannot use; apart, for a worker imports this module and little else."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from fakes import FakePredictor
from ovsam.errors import CheckpointError


@dataclass
class Dying(FakePredictor):
    """Its process ends at the first photo."""

    def encode(self, image: Any) -> Any:  # noqa: ARG002
        os._exit(1)


def cannot_load() -> FakePredictor:
    raise CheckpointError("'gone.safetensors' is missing.")
