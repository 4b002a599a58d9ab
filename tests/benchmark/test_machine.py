from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovsam.benchmark import machine

AMD = """processor\t: 0
model name\t: AMD EPYC
flags\t\t: fpu avx avx2 fma avx512f avx512_vnni

processor\t: 1
model name\t: another
"""
ARM = """processor\t: 0
BogoMIPS\t: 243.75
Features\t: fp asimd asimddp sve
"""


@pytest.mark.parametrize(
    ("text", "processor", "sets"),
    [
        (AMD, "AMD EPYC", ("AVX", "AVX2", "FMA", "AVX-512", "AVX-512 VNNI")),
        (ARM, "aarch64", ("NEON", "NEON dot product", "SVE")),
        ("", "aarch64", ()),
    ],
)
def test_what_the_system_says_of_the_processor(
    text: str, processor: str, sets: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(_: Path, **__: Any) -> str:
        if not text:
            raise FileNotFoundError
        return text

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    found = machine.this_machine()
    assert (found.processor, found.instruction_sets) == (processor, sets)


def test_this_machine() -> None:
    found = machine.this_machine()
    assert found.processor and found.system
    assert found.cores == machine.cores() >= 1
    assert found.memory_bytes is None or found.memory_bytes > 2**28


def test_versions_of_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "PACKAGES", ("ovsam", "numpy", "no-such-package"))
    assert machine.versions().keys() == {"python", "ovsam", "numpy"}
    assert machine.versions()["numpy"] == metadata.version("numpy") == np.__version__


def test_the_peak_grows_with_what_is_held() -> None:
    before = machine.peak_bytes()
    if before is None:
        pytest.skip("this system does not say")
    held = np.ones(before + 2**24, np.uint8)  # more than there has ever been beside it
    after = machine.peak_bytes()
    assert after is not None and after >= held.nbytes
