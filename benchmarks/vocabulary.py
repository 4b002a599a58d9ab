"""What changing the names costs, from a name never seen to a vocabulary in memory.

python benchmarks/vocabulary.py [--threads 2]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence

import torch

import ovsam


def milliseconds(predictor: ovsam.Predictor, vocabulary: str | Sequence[str]) -> float:
    start = time.perf_counter()
    predictor.prepare(vocabulary)
    return (time.perf_counter() - start) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    torch.set_num_threads(parser.parse_args().threads)
    names = [f"old {name}" for name in ovsam.load_vocabulary("imagenet1k").classes]
    edited = ["a name of my own", *names[1:]]
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        predictor = ovsam.load("lite", cache_dir=first)
        rows = [
            ("COCO's 80 classes, which ship with lite", milliseconds(predictor, "coco")),
            ("one new name, the text model read first", milliseconds(predictor, "warming up,")),
            ("80 new names", milliseconds(predictor, names[:80])),
        ]
        predictor = ovsam.load("lite", cache_dir=second)
        predictor.prepare("warming up,")
        rows += [
            ("1,000 new names", milliseconds(predictor, names)),
            ("the same with one name edited", milliseconds(predictor, edited)),
            ("back to the first 1,000, in memory", milliseconds(predictor, names)),
        ]
        predictor = ovsam.load("lite", cache_dir=second)
        rows += [("the same 1,000 in a new process, on disk", milliseconds(predictor, names))]
    for what, value in rows:
        print(f"{what:44}{value:10.1f} ms")


if __name__ == "__main__":
    main()
