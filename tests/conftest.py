from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import fuzzing

MOST_WORKERS = 8  # Each takes 1 GB, and seconds to start; more of them would save no time.
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

# Before anything imports torch: each of several workers takes its share of the cores, not all.
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    share = CORES // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, share)))

# Before anything imports Typer or Rich: what they print depends on none of these.
for variable in (
    *("FORCE_COLOR", "NO_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "TTY_COMPATIBLE"),
    *("COLUMNS", "LINES", "TERMINAL_WIDTH"),
):
    os.environ.pop(variable, None)

# How fast a machine is says nothing of the code.
settings.register_profile("ovsam", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ovsam")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--long", action="store_true", help="run the long tests too, and fuzz at length"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--long"):
        fuzzing.go_long()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """`-n auto`: a worker for each core that this process may use, or what the variable says."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return min(CORES, MOST_WORKERS)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--long"):
        for item in items:
            if "long" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="takes long; run with --long"))


@pytest.fixture(scope="session", autouse=True)
def empty_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Embeddings are what the code makes now, not what a run before has left in the cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def own_random_numbers() -> None:
    """A test draws the same numbers, whichever tests its process ran before."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def photos_root() -> Path:
    """The optional photos: `OVSAM_DATA`, or `shared/data` beside the checkout."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    root = Path(os.environ.get("OVSAM_DATA", beside)).resolve()  # tests change directory
    if not root.is_dir():
        pytest.skip(f"needs the optional photos: no folder {root}; set OVSAM_DATA")
    return root
