"""Measuring in fresh processes: the peak of one never falls, and none is helped by another."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from typing import Any


def in_fresh_process(script: str, *arguments: object) -> Any:
    """The JSON that a script prints last when it is called with these arguments."""
    texts = [str(argument) for argument in arguments]
    done = subprocess.run([sys.executable, script, *texts], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"error: {script} {' '.join(texts)} failed; is there enough memory?")
    return json.loads(done.stdout.splitlines()[-1])


def peak_gb(usage: resource.struct_rusage | None = None) -> float:
    """The most memory that a process has held, this one or the one whose use is given."""
    usage = usage or resource.getrusage(resource.RUSAGE_SELF)
    kilobyte = 1 if sys.platform == "darwin" else 1024
    return usage.ru_maxrss * kilobyte / 1e9
