"""What a vocabulary of 80, 1,203 and 22,098 classes costs `lite`, each figure beside its limit.

python benchmarks/vocabulary.py [--runs 15] [--threads 2]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from speed import PHOTO, Figure, measured, milliseconds, print_table

import ovsam

VOCABULARIES = ("coco", "lvis", "22k")
BUILD_S, OPEN_MS, ONE_MS, MANY_MS, MEMORY_MB = 180, 50, 5, 40, 60
MANY = 64
TOP = 5


def resident_mb() -> float:
    """Memory of this process in MB, mapped files included (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024 / 1e6


def opened(name: str, cache: Path) -> dict[str, float]:
    """Milliseconds and megabytes of opening a bank that is on disk, the first of the process.

    Reading the list of names is not counted, what tells its file's name is.
    """
    predictor = ovsam.load("lite", cache_dir=cache)
    predictor.prepare("warm, up")
    vocabulary = ovsam.load_vocabulary(name)
    before = resident_mb()
    time = milliseconds(lambda: predictor.prepare(vocabulary))
    return {"ms": time, "MB": resident_mb() - before}


def opened_afresh(name: str, cache: Path, threads: int, runs: int) -> tuple[float, float]:
    """The medians of `opened` in fresh processes."""
    command = [sys.executable, __file__, "--threads", str(threads), "--open", name, str(cache)]
    found = []
    for _ in range(runs):
        answer = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        found.append(json.loads(answer.stdout))
    time, memory = (float(np.median([one[unit] for one in found])) for unit in ("ms", "MB"))
    return time, memory


def scoring(predictor: ovsam.Predictor, name: str, regions: int, runs: int) -> Figure:
    """From the photo's features to the best names: region heads, cosines, fusion, ranking."""
    picture = Image.open(PHOTO).convert("RGB").resize((640, 480))
    features = predictor.encode(np.asarray(picture)).features
    model, names = predictor._model, predictor._class_prototypes(ovsam.load_vocabulary(name))
    corners = torch.rand(regions, 2, generator=torch.Generator().manual_seed(0)) * 200
    boxes = torch.cat([corners, corners + 150], 1)
    masks = torch.ones(regions, 1, *(side // 4 for side in features.input_hw))

    @torch.inference_mode()
    def label() -> object:
        return model.label(features, boxes, masks, names).softmax(-1)[:, :-1].topk(TOP)

    limit = ONE_MS if regions == 1 else MANY_MS
    return measured(f"label, {regions} region{'s' * (regions > 1)}", limit, runs, label)


def editing(predictor: ovsam.Predictor, name: str, runs: int) -> Figure:
    """A class more, by a name never seen, until it can be the answer."""
    vocabulary = ovsam.load_vocabulary(name)
    fresh = iter(range(10**6))
    edit = lambda: predictor.prepare(vocabulary.with_class(f"{name} thing {next(fresh)}"))  # noqa: E731
    return measured("a class added", None, runs, edit)


def figures(name: str, folder: Path, runs: int, threads: int) -> list[Figure]:
    """All of one vocabulary, from an empty cache on."""
    cache = folder / name
    predictor = ovsam.load("lite", cache_dir=cache)
    predictor.prepare("warming up,")  # reads the text model
    vocabulary = ovsam.load_vocabulary(name)
    build = milliseconds(lambda: predictor.prepare(vocabulary)) / 1e3
    time, memory = opened_afresh(name, cache, threads, max(1, runs // 3))
    return [
        Figure("built, cache empty", "s", build, BUILD_S),
        Figure("opened in a fresh process", "ms", time, OPEN_MS, runs=max(1, runs // 3)),
        Figure("memory that this takes", "MB", memory, MEMORY_MB, runs=max(1, runs // 3)),
        scoring(predictor, name, 1, runs),
        scoring(predictor, name, MANY, runs),
        editing(predictor, name, runs),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15, help="of each figure; processes: a third")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--open", nargs=2, metavar=("NAME", "CACHE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.open:
        name, cache = options.open
        print(json.dumps(opened(name, Path(cache))))
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in VOCABULARIES:
            print(f"{name}: {len(ovsam.load_vocabulary(name)):,} classes")
            print_table(figures(name, Path(folder), options.runs, options.threads))
            print()


if __name__ == "__main__":
    main()
