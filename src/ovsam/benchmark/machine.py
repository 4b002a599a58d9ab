"""What times depend on beside the model: the machine, and the versions of what computes."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

PACKAGES = ("ovsam", "numpy", "opencv-python-headless", "torch", "onnxruntime")
SETS = (  # of instructions that matrix products are made of: as the system writes them, and we
    ("avx", "AVX"),
    ("avx2", "AVX2"),
    ("fma", "FMA"),
    ("f16c", "F16C"),
    ("avx512f", "AVX-512"),
    ("avx_vnni", "AVX-VNNI"),
    ("avx512_vnni", "AVX-512 VNNI"),
    ("avx512_bf16", "AVX-512 BF16"),
    ("avx512_fp16", "AVX-512 FP16"),
    ("amx_int8", "AMX INT8"),
    ("amx_bf16", "AMX BF16"),
    ("asimd", "NEON"),
    ("asimdhp", "NEON FP16"),
    ("asimddp", "NEON dot product"),
    ("i8mm", "I8MM"),
    ("bf16", "BF16"),
    ("sve", "SVE"),
    ("sve2", "SVE2"),
)


@dataclass(frozen=True)
class Machine:
    """A computer, as far as it tells how fast a model runs.

    Attributes:
        system: operating system and architecture.
        processor: its name, as the maker writes it.
        cores: how many this process may use, hardware threads counted.
        instruction_sets: those of `SETS` that it has; empty where the system does not say.
        memory_bytes: in all; None where the system does not say.
    """

    system: str
    processor: str
    cores: int
    instruction_sets: tuple[str, ...]
    memory_bytes: int | None


def this_machine() -> Machine:
    """The machine that this process runs on."""
    known = _cpuinfo()
    flags = set(known.get("flags", known.get("Features", "")).split())
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        processor=known.get("model name") or _processor(),
        cores=cores(),
        instruction_sets=tuple(name for flag, name in SETS if flag in flags),
        memory_bytes=_memory_bytes(),
    )


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Python's version, and those of `PACKAGES` that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def load_average() -> float | None:
    """How many processes were at work in the last minute; None where the system does not say."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows has none
        return None


def peak_bytes() -> int | None:
    """The most memory that this process has held; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    return in_bytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def in_bytes(maxrss: int) -> int:
    """The peak that the system gives for a process, in kB on all systems but one, in bytes."""
    return maxrss if sys.platform == "darwin" else maxrss * 1024


def _cpuinfo() -> dict[str, str]:
    """What Linux says of the first core."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    first = text.partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _processor() -> str:
    """The processor's name where there is no /proc/cpuinfo, or no name in it."""
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        if told.stdout.strip():
            return told.stdout.strip()
    return platform.processor() or platform.machine()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows
        return None
