from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How fast a machine is says nothing of the code.
settings.register_profile("ovsam", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ovsam")


@pytest.fixture(scope="session")
def photos_root() -> Path:
    """The optional photos: `OVSAM_DATA`, or `shared/data` beside the checkout."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    root = Path(os.environ.get("OVSAM_DATA", beside)).resolve()  # tests change directory
    if not root.is_dir():
        pytest.skip(f"needs the optional photos: no folder {root}; set OVSAM_DATA")
    return root
