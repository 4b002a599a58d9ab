"""How fast and how big `lite` is: each figure beside its limit and a reference of the same run.

python benchmarks/speed.py [--runs 15] [--threads 2] [--json speed.json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from processes import peak_gb

import ovsam

PHOTO = Path(__file__).resolve().parent.parent / "examples" / "coffee.png"
WIDTH, HEIGHT = 640, 480
BOX = [184, 18, 446, 374]  # the cup
POINT = [300, 250]
NEW_NAMES = "espresso cup, cake fork, napkin ring"  # not among those that ship with `lite`
COMMAND = [sys.executable, "-c", "from ovsam.cli.app import app; app()", "segment"]


@dataclass(frozen=True)
class Figure:
    """One line of the table; `ratio` is the median over that of the reference."""

    what: str
    unit: str
    median: float
    limit: float | None
    ratio: float | None = None
    runs: int = 1


def reference() -> Callable[[], object]:
    """A fixed piece of work (1.2 G multiply-adds of convolution) that tells machines apart."""
    torch.manual_seed(0)
    image, kernel = torch.randn(1, 64, 128, 128), torch.randn(128, 64, 3, 3)
    return lambda: torch.nn.functional.conv2d(image, kernel, padding=1)


def milliseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def measured(what: str, limit: float | None, runs: int, work: Callable[[], object]) -> Figure:
    """The median of `work`, run by turns with the reference, so that both meet the same noise."""
    unit = reference()
    for _ in range(2):  # warm up
        work(), unit()
    pairs = [(milliseconds(work), milliseconds(unit)) for _ in range(runs)]
    mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    return Figure(what, "ms", mine, limit, mine / theirs, runs)


def in_process(photo: np.ndarray, runs: int, threads: int) -> list[Figure]:
    """What a server or a notebook waits for."""
    predictor = ovsam.load("lite")
    predictor.use_threads(threads)
    encoded = predictor.encode(photo)
    box, point = ovsam.Prompt(box_xyxy=np.array(BOX)), ovsam.Prompt(points_xy=np.array([POINT]))
    shifts = [8 * i for i in range(16)]
    many = [ovsam.Prompt(box_xyxy=np.add(BOX, [s, 0, s, 0])) for s in shifts]

    def predict(prompts: ovsam.Prompt | list[ovsam.Prompt], zoom: bool) -> Callable[[], object]:
        return lambda: predictor.predict(encoded, prompts, zoom=zoom)

    return [
        measured("encode a photo", 300, runs, lambda: predictor.encode(photo)),
        measured("a box, no zoom", 25, runs, predict(box, False)),
        measured("a point, no zoom", 25, runs, predict(point, False)),
        measured("a box, zoom", 90, runs, predict(box, True)),
        measured("a point, zoom", 90, runs, predict(point, True)),
        measured("16 boxes, no zoom", 160, runs, predict(many, False)),
        measured("16 boxes, zoom", None, runs, predict(many, True)),
    ]


def run_command(arguments: list[str], cache: Path, threads: int) -> tuple[float, float]:
    """Seconds and peak memory in GB of one fresh process."""
    environment = os.environ | {"XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": str(threads)}
    start = time.perf_counter()
    process = subprocess.Popen(
        [*COMMAND, *arguments], env=environment, stdout=subprocess.DEVNULL, cwd=cache
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"error: ovsam segment {' '.join(arguments)} failed.")
    return seconds, peak_gb(usage)


def as_command(photo: Path, folder: Path, runs: int, threads: int) -> list[Figure]:
    """What a person waits for who types one command."""
    box = ",".join(map(str, BOX))
    segment = [str(photo), "--box", box, "-o", str(folder / "overlay.png")]
    new_names = [*segment, "--vocabulary", NEW_NAMES]
    cached = folder / "cached"
    cached.mkdir()
    run_command(new_names, cached, threads)  # fills the cache of names and warms the disk's

    def repeated(arguments: list[str], empty_cache: bool = False) -> tuple[float, float]:
        results = []
        for _ in range(runs):
            cache = Path(tempfile.mkdtemp(dir=folder)) if empty_cache else cached
            results.append(run_command(arguments, cache, threads))
        seconds, memory = zip(*results, strict=True)
        return statistics.median(seconds), max(memory)

    many = [
        argument for i in range(1, 16) for argument in ("--box", f"{i * 8},18,{i * 8 + 262},374")
    ]
    coco, coco_memory = repeated(segment)
    known, _ = repeated(new_names)
    new, new_memory = repeated(new_names, empty_cache=True)
    _, many_memory = run_command([*segment, *many], cached, threads)
    return [
        Figure("command, 80 classes of COCO", "s", coco, 6, runs=runs),
        Figure("command, own names, cached", "s", known, 6, runs=runs),
        Figure("command, own names, never seen", "s", new, 6, runs=runs),
        Figure("its peak memory, one box", "GB", coco_memory, 1.2, runs=runs),
        Figure("its peak memory, names never seen", "GB", new_memory, 1.2, runs=runs),
        Figure("its peak memory, 16 boxes, zoom", "GB", many_memory, 1.2),
    ]


def print_table(figures: list[Figure]) -> None:
    print(f"{'':36}{'median':>12}{'limit':>8}{'x reference':>13}{'runs':>6}")
    for figure in figures:
        limit = "" if figure.limit is None else f"{figure.limit:g}"
        ratio = "" if figure.ratio is None else f"{figure.ratio:.1f}"
        over = "  over" if figure.limit is not None and figure.median > figure.limit else ""
        value = f"{figure.median:.{1 if figure.unit == 'ms' else 2}f} {figure.unit:2}"
        print(f"{figure.what:36}{value:>12}{limit:>8}{ratio:>13}{figure.runs:>6}{over}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15, help="of each figure; commands: a third")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        photo = Path(name) / "photo.png"
        picture = Image.open(PHOTO).convert("RGB").resize((WIDTH, HEIGHT))
        picture.save(photo)
        alone = measured("reference: one convolution", None, options.runs, reference())
        figures = [alone, *in_process(np.asarray(picture), options.runs, options.threads)]
        figures += as_command(photo, Path(name), max(1, options.runs // 3), options.threads)
    print_table(figures)
    if options.json:
        document = {
            "model": "lite",
            "photo": [WIDTH, HEIGHT],
            "threads": options.threads,
            "torch": torch.__version__,
            "figures": [asdict(figure) for figure in figures],
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
