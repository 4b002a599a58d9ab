"""`ovsam benchmark`: how fast models are on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovsam.cli import options
from ovsam.cli.progress import bar, embed_names, loader
from ovsam.cli.report import check_outputs, print_written
from ovsam.cli.streams import print_table
from ovsam.errors import UsageError, quoted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ovsam.benchmark.record import ModelRun, Row, Run
    from ovsam.vocabulary.vocabulary import Vocabulary

COLD_SHARE = 3  # of the repeats one in so many is a cold start, which takes seconds
BUSY = 0.25  # of the cores: more at work before us, and times are not to be trusted


def benchmark(
    model: Annotated[
        list[str],
        typer.Option(
            help="A model's name (`ovsam models`), or the path of a checkpoint. Repeat for more, "
            "which take turns.",
            metavar="MODEL",
            autocompletion=options.complete_models,
        ),
    ] = ["lite"],  # noqa: B006  # which Typer copies
    photo: Annotated[
        Path | None,
        options.option("FILE", "A photo to measure on. Left out: a made-up one of 640 x 480."),
    ] = None,
    vocabulary: options.Vocabularies = ["coco", "22k"],  # noqa: B006
    row: Annotated[
        list[str] | None,
        options.option("TEXT", "Only the rows that have this in their name. Repeat for more."),
    ] = None,
    repeats: Annotated[
        int, typer.Option(min=1, help="How often each row is measured.", metavar="N")
    ] = 10,
    cold: Annotated[
        bool,
        typer.Option(
            "--cold",
            help="Also start `ovsam segment` in fresh processes, a third as often: time and peak "
            "memory.",
        ),
    ] = False,
    threads: Annotated[
        int | None,
        options.option(
            "N", "Compute with so many threads. Left out: as the engine does by itself.", min=1
        ),
    ] = None,
    json_path: options.Json = None,
    against: Annotated[
        Path | None,
        options.option("FILE", "Compare with a run that was written earlier by --json."),
    ] = None,
) -> None:
    """Measure how fast models are on this machine, part by part, and how much memory they take.

    Example: `ovsam benchmark --model lite --model mobile-sam --cold`
    """
    from ovsam.benchmark.cold_start import check_measurable
    from ovsam.benchmark.machine import load_average
    from ovsam.benchmark.record import counterparts, differences, read_run

    check_outputs(json_path, [path for path in (photo, against) if path is not None])
    if cold:
        check_measurable()
    earlier = None if against is None else read_run(against)
    if earlier is not None:
        counterparts(model, earlier)
    words = _vocabularies(vocabulary)
    pixels, what = _photo(photo)
    busy = load_average()  # before we are at work ourselves
    run = _measured(model, pixels, what, words, row or [], repeats, cold, threads, busy)
    if json_path is not None:
        from ovsam.files import write_atomically

        write_atomically(json_path, run.to_json())
    _print_setting(run)
    _print_rows(run, earlier)
    _print_rest(run, earlier)
    if earlier is not None:
        _print_differences(against, differences(run, earlier))
    print_written(json_path)


def _vocabularies(names: Sequence[str]) -> dict[str, Vocabulary]:
    """What rows call each vocabulary: as it was typed, if that is short."""
    from ovsam.vocabulary.load import load_vocabulary

    found: dict[str, Vocabulary] = {}
    for name in names:
        read = load_vocabulary(name)
        label = name if len(name) <= 20 else f"{len(read):,} classes"
        if label in found:
            raise UsageError(f"--vocabulary {quoted(label)} is given twice. Give each once.")
        found[label] = read
    return found


def _photo(path: Path | None) -> tuple[NDArray[np.uint8], str]:
    """The photo, and what it is called in the record."""
    from ovsam.benchmark.scene import made_up_photo
    from ovsam.images.read import read_photo

    pixels = made_up_photo() if path is None else read_photo(path)
    height, width = pixels.shape[:2]
    return pixels, f"{'made up' if path is None else path.name}, {width} x {height}"


def _measured(
    names: Sequence[str],
    photo: NDArray[np.uint8],
    photo_name: str,
    vocabularies: Mapping[str, Vocabulary],
    wanted: Sequence[str],
    repeats: int,
    cold: bool,
    threads: int | None,
    busy: float | None,
) -> Run:
    """Load the models, time them by turns, and say on what."""
    from ovsam.benchmark.cold_start import cold_starts
    from ovsam.benchmark.machine import peak_bytes, this_machine, versions
    from ovsam.benchmark.parts import chosen, parts
    from ovsam.benchmark.record import FORMAT, ModelRun, Row, Run
    from ovsam.benchmark.rounds import timed

    starts = []
    if cold:  # first, while this process is small: Linux counts its peak as its children's, too
        with bar("processes started") as progress:
            starts = cold_starts(names, photo, -(-repeats // COLD_SHARE), threads, progress)
    first = next(iter(vocabularies.values()))
    loads = [loader(name, first, device="cpu") for name in names]
    predictors = [load() for load in loads]
    for predictor in predictors:
        if threads is not None:
            predictor.use_threads(threads)
    pairs = zip(loads, predictors, strict=True)
    works = chosen([parts(load, one, photo, vocabularies) for load, one in pairs], wanted)
    for predictor, rows_of_one in zip(predictors, works, strict=True):
        needed = [
            words
            for label, words in vocabularies.items()
            if any(name.endswith(f"names of {label}") for name in rows_of_one)
        ]
        embed_names(predictor, needed)
    with bar("calls timed") as progress:
        times, yardstick = timed(works, repeats, progress)
    rows = [[Row(name, "ms", values) for name, values in one.items()] for one in times]
    most = peak_bytes()
    if starts:
        for of_one, each in zip(rows, starts, strict=True):
            of_one.append(Row("cold start", "ms", [start.milliseconds for start in each]))
            peaks = [start.peak_bytes / 1e6 for start in each]
            of_one.append(Row("cold start: peak memory", "MB", peaks))
    return Run(
        format=FORMAT,
        machine=this_machine(),
        versions=versions(),
        threads=predictors[0].threads,
        load_average=busy,
        photo=photo_name,
        vocabularies={name: len(words) for name, words in vocabularies.items()},
        yardstick_ms=yardstick,
        peak_bytes=most,
        models=[
            ModelRun(name, predictor.fingerprint, predictor.engine, of_one)
            for name, predictor, of_one in zip(names, predictors, rows, strict=True)
        ],
    )


def _print_setting(run: Run) -> None:
    machine = run.machine
    memory = "" if machine.memory_bytes is None else f", {machine.memory_bytes / 1e9:.1f} GB"
    sets = f"; {', '.join(machine.instruction_sets)}" if machine.instruction_sets else ""
    typer.echo(
        f"machine: {machine.processor}, {machine.system}, {machine.cores} cores{memory}{sets}"
    )
    typer.echo("versions: " + ", ".join(f"{name} {one}" for name, one in run.versions.items()))
    engines = ", ".join(f"{one.model} on {one.engine}" for one in run.models)
    lists = ", ".join(f"{name} has {count:,}" for name, count in run.vocabularies.items())
    typer.echo(f"models: {engines}; threads: {run.threads}; photo: {run.photo}; classes: {lists}")


def _print_rows(run: Run, earlier: Run | None) -> None:
    from rich import box as boxes
    from rich.table import Table

    from ovsam.benchmark.record import counterparts

    table = Table("", box=boxes.SIMPLE_HEAD)
    names = [one.model for one in run.models]
    then = counterparts(names, earlier) if earlier is not None else [None] * len(names)
    columns: list[Callable[[str], str]] = []

    def add(heading: str, shown: Callable[[str], str]) -> None:
        table.add_column(heading, justify="right")
        columns.append(shown)

    for i, (one, before) in enumerate(zip(run.models, then, strict=True)):
        title = f"{one.model}\n" if len(names) > 1 else ""
        add(f"{title}median", _shown(one, "median"))
        add(f"{title}90th percentile", _shown(one, "percentile90"))
        if i:
            add(f"{title}/ {names[0]}", _ratio(one, run.models[0]))
        if before is not None:
            add(f"{title}median then", _shown(before, "median"))
            add(f"{title}now / then", _ratio(one, before))
    for name in run.row_names:
        table.add_row(name, *(shown(name) for shown in columns))
    print_table(table)


def _shown(model: ModelRun, figure: str) -> Callable[[str], str]:
    def shown(name: str) -> str:
        row: Any = model.row(name)
        return "-" if row is None else _with_unit(getattr(row, figure), row)

    return shown


def _with_unit(value: float, row: Row) -> str:
    return f"{value:,.{0 if value >= 1000 else 1}f} {row.unit}"


def _ratio(model: ModelRun, other: ModelRun) -> Callable[[str], str]:
    def shown(name: str) -> str:
        mine, theirs = model.row(name), other.row(name)
        if mine is None or theirs is None or not theirs.median:
            return "-"
        return f"{mine.median / theirs.median:.2f}"

    return shown


def _print_rest(run: Run, earlier: Run | None) -> None:
    """What is of the process and of the machine, whatever the models."""
    import numpy as np

    unit = float(np.median(run.yardstick_ms))
    compared = ""
    if earlier is not None:
        before = float(np.median(earlier.yardstick_ms))
        compared = f", {unit / before:.2f} times as long as then"
    typer.echo(f"yardstick (a fixed FFT, one core): {unit:.1f} ms{compared}")
    if run.peak_bytes is not None:
        of = "" if len(run.models) == 1 else ", with all models in it"
        typer.echo(f"peak memory of this process{of}: {run.peak_bytes / 1e6:,.0f} MB")
    if run.load_average is not None and run.load_average > BUSY * run.machine.cores:
        typer.echo(
            f"warning: before this began, others kept {run.load_average:.1f} of "
            f"{run.machine.cores} cores busy: times are longer than on a quiet machine.",
            err=True,
        )


def _print_differences(against: Path | None, found: Sequence[str]) -> None:
    """Say whether the ratios are of the models' work alone."""
    if not found:
        typer.echo(f"{against} is of the same machine, versions, models, threads and photo.")
        return
    typer.echo(f"warning: ratios are not of the code alone, {against} differs in", err=True)
    for phrase in found:
        typer.echo(f"  {phrase}", err=True)
