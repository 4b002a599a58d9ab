"""What a vocabulary of 80, 1,203 and 21,185 classes costs `lite`, each figure beside its limit.

python benchmarks/vocabulary.py [--runs 15] [--threads 2]

All is time by the clock: run it on an idle machine.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import torch
from figures import Figure, measured, milliseconds, print_table
from processes import in_fresh_process

import ovsam
from ovsam.benchmark.scene import made_up_photo
from ovsam.model.region import class_logits, fuse

VOCABULARIES = ("coco", "lvis", "22k")
BUILD_S, OPEN_MS, ONE_MS, MANY_MS, MEMORY_MB = 180, 50, 5, 40, 60
MANY = 64  # regions
TOP = 5


def resident_mb() -> float:
    """Memory of this process in MB, mapped files included (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024 / 1e6


def opened(name: str, cache: Path, threads: int) -> dict[str, float]:
    """Milliseconds and megabytes of the embeddings that are on disk; the names are read before."""
    torch.set_num_threads(threads)
    predictor = ovsam.load("lite", cache_dir=cache)
    predictor.prepare("warm, up")
    vocabulary = ovsam.load_vocabulary(name)
    before = resident_mb()
    spent = milliseconds(lambda: predictor.prepare(vocabulary))
    return {"ms": spent, "MB": resident_mb() - before}


def opened_afresh(name: str, cache: Path, runs: int) -> list[Figure]:
    """The medians of `opened`, in fresh processes."""
    threads = torch.get_num_threads()
    found = [in_fresh_process(opened, name, cache, threads) for _ in range(runs)]
    spent, memory = (statistics.median(one[unit] for one in found) for unit in ("ms", "MB"))
    return [
        Figure("opened in a fresh process", "ms", spent, OPEN_MS, runs=runs),
        Figure("memory that this takes", "MB", memory, MEMORY_MB, runs=runs),
    ]


def labelling(predictor: ovsam.Predictor, name: str, regions: int, runs: int) -> list[Figure]:
    """From the regions' embeddings to all that is said of them; and from the photo's features."""
    features = predictor.encode(made_up_photo()).features
    model, config, namer = predictor._backend._model, predictor.config, predictor._namer
    query = namer.query(ovsam.load_vocabulary(name), TOP, 0.0)
    names = predictor._backend._prototypes.of(query.prototypes)
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(regions, 2, generator=generator) * 200
    boxes = torch.cat([corners, corners + 150], 1)
    masks = torch.ones(regions, 1, *(side // 4 for side in features.input_hw))
    embeddings = torch.randn(2 * regions, config.encoder.text_dim, generator=generator)

    def named(scores: torch.Tensor) -> object:
        return namer._names(scores.log_softmax(-1).numpy(), query)

    @torch.inference_mode()
    def names_alone() -> object:
        logits = class_logits(embeddings, names.bank, config.logit_scale)
        scores = fuse(
            *logits.chunk(2),
            seen=names.seen,
            answerable=names.answerable,
            clip_valid=torch.ones(regions, dtype=torch.bool),
            alpha=config.fusion_alpha,
            beta=config.fusion_beta,
        )
        return named(scores)

    @torch.inference_mode()
    def with_heads() -> object:
        return named(model.label(features, boxes, masks, names))

    limit = ONE_MS if regions == 1 else MANY_MS
    what = f"{regions} region{'s' * (regions > 1)}"
    return [
        measured(f"label {what}", limit, runs, names_alone),
        measured("the same with the region heads", None, runs, with_heads),
    ]


def editing(predictor: ovsam.Predictor, name: str, runs: int) -> Figure:
    """A class more, by a name never seen, until it can be the answer."""
    vocabulary = ovsam.load_vocabulary(name)
    fresh = (f"{name} thing {number}" for number in range(10**6))
    return measured(
        "a class added", None, runs, lambda: predictor.prepare(vocabulary.with_class(next(fresh)))
    )


def figures(name: str, folder: Path, runs: int) -> list[Figure]:
    """All of one vocabulary, from an empty cache on."""
    cache = folder / name
    predictor = ovsam.load("lite", cache_dir=cache, backend="torch")
    predictor.prepare("warming up,")  # reads the text model
    vocabulary = ovsam.load_vocabulary(name)
    build = milliseconds(lambda: predictor.prepare(vocabulary)) / 1e3
    return [
        Figure("built, cache empty", "s", build, BUILD_S),
        *opened_afresh(name, cache, max(1, runs // 3)),
        *labelling(predictor, name, 1, runs),
        *labelling(predictor, name, MANY, runs),
        editing(predictor, name, runs),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15, help="of each figure; processes: a third")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        for name in VOCABULARIES:
            print(f"{name}: {len(ovsam.load_vocabulary(name)):,} classes")
            print_table(figures(name, Path(folder), options.runs))
            print()


if __name__ == "__main__":
    main()
