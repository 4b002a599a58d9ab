"""`ovsam calibrate`: make the scores of a model's names probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ovsam.cli import options
from ovsam.cli.progress import bar, embed_names
from ovsam.cli.report import check_outputs, print_left_out, print_written
from ovsam.errors import OvsamError, UsageError, quoted

if TYPE_CHECKING:
    from ovsam.evaluate.temperature import Fit
    from ovsam.vocabulary.vocabulary import Vocabulary


def calibrate(
    annotations: Annotated[
        Path,
        options.argument(
            "ANNOTATIONS",
            "Photos with named masks that the model was not trained on, as for evaluate.",
        ),
    ],
    output: Annotated[
        Path,
        options.option(
            "FILE", "The .safetensors file to write: the same model, calibrated.", "--output", "-o"
        ),
    ],
    images: options.ImagesBeside = None,
    vocabulary: options.Vocabularies = ["coco"],  # noqa: B006  # which Typer copies
    prior: options.Prior = True,
    crowds: options.Crowds = "left-out",
    json_path: options.Json = None,
    model: options.Model = "lite",
    limit: options.Limit = None,
    device: options.Device = "cpu",
) -> None:
    """Make a model's scores probabilities, by photos that it was not trained on.

    Finds the temperature under which the annotated names are most likely, and the score below
    which an object is none of the vocabulary's classes, for each vocabulary: a model's scores over
    80 names and over 22,000 need their own. Masks and the order of names stay.

    Example: `ovsam calibrate val.json --images photos -o mine.safetensors`
    """
    from ovsam.files import check_output, write_atomically
    from ovsam.formats.layouts import read_annotated
    from ovsam.formats.prediction import to_json_bytes
    from ovsam.vocabulary.load import load_vocabulary

    check_output(output, (".safetensors",), [annotations, Path(model)])
    check_outputs(json_path, [annotations, *map(Path, vocabulary)])
    content, images_dir = read_annotated(annotations, images, crowds)
    names = [options.narrowed(load_vocabulary(one), None, prior=prior) for one in vocabulary]
    _check_sizes(names)

    import ovsam
    from ovsam.config import CalibrationConfig
    from ovsam.evaluate.objects import objects_by_vocabulary
    from ovsam.evaluate.photos import chosen_photos
    from ovsam.evaluate.scores import collect_scores
    from ovsam.evaluate.temperature import fit
    from ovsam.hub import fetch_model
    from ovsam.model.checkpoint import save_with_config

    photos = chosen_photos(content, images_dir, limit)
    objects_by_vocabulary(content, photos, names)
    predictor = ovsam.load(model, vocabulary=names[0], device=device)
    if not predictor.names_objects:
        raise OvsamError(
            f"'{model}' makes masks and has no names: there is no score that could be calibrated."
        )
    checkpoint = fetch_model(model)
    if checkpoint.baseline:
        raise OvsamError(
            f"'{model}' has no checkpoint of its own that could be calibrated. Give the file of a "
            f"trained baseline, or the model '{checkpoint.name}' itself."
        )
    names = embed_names(predictor, names)
    _check_sizes(names)  # of what the text model reads
    with bar("photos") as progress:
        scores = collect_scores(
            predictor, content, images_dir, names, photos=photos, progress=progress
        )
    found = [fit(one) for one in scores]
    # What was fitted to these weights with other numbers of classes stays.
    fits = {one.classes: one for one in predictor.config.calibration.fits}
    fits |= {one.calibration.classes: one.calibration for one in found}
    calibration = CalibrationConfig(fits=tuple(fits[classes] for classes in sorted(fits)))
    save_with_config(checkpoint.path, output, replace(predictor.config, calibration=calibration))
    if json_path is not None:
        reports = {
            name: _as_dict(one, predictor.model_name, read.name)
            for name, one, read in zip(vocabulary, found, names, strict=True)
        }
        report = dict(next(iter(reports.values())))
        if len(reports) > 1:
            report["by_vocabulary"] = reports
        write_atomically(json_path, to_json_bytes(report))
    for name, one in zip(names, found, strict=True):
        if len(names) > 1:
            typer.echo(f"vocabulary {name.name}:")
        _print_fit(one)
    print_written(output, json_path)


def _check_sizes(vocabularies: Sequence[Vocabulary]) -> None:
    """Refuse two vocabularies of one size: a model has one calibration for each.

    Raises:
        UsageError: says which.
    """
    by_size: dict[int, str] = {}
    for one in vocabularies:
        size = sum(one.answerable)
        if size in by_size:
            raise UsageError(
                f"--vocabulary {quoted(by_size[size])} and {quoted(one.name)} both have {size:,} "
                "classes, and a model has one calibration for each size. Give one of them."
            )
        by_size[size] = one.name


def _as_dict(found: Fit, model: str, vocabulary: str) -> dict[str, object]:
    return {
        "model": model,
        "vocabulary": vocabulary,
        "instances": found.instances,
        "temperature": found.calibration.temperature,
        "threshold": found.calibration.threshold,
        "classes": found.calibration.classes,
        "halves": [half.as_dict() for half in found.halves],
        "not_counted": found.not_counted.as_dict(),
    }


def _print_fit(found: Fit) -> None:
    from rich import box as boxes
    from rich.console import Console
    from rich.table import Table

    from ovsam.evaluate.scores import NEEDED

    table = Table("", box=boxes.SIMPLE_HEAD)
    for name in ("fitted on half 1", "fitted on half 2", "fitted on all"):
        table.add_column(name, justify="right")
    fitted = [*(half.fitted for half in found.halves), found.calibration]

    def add(name: str, *values: float | None) -> None:
        shown = ("-" if value is None else f"{value:.3f}" for value in values)
        table.add_row(name, *shown, *[""] * (3 - len(values)))

    add("temperature", *(one.temperature for one in fitted))
    add("threshold", *(one.threshold for one in fitted))
    table.add_section()
    table.add_row(
        "evaluated on the other half", *(str(half.instances) for half in found.halves), ""
    )
    add("ECE before", *(half.error_before for half in found.halves))
    add("ECE", *(half.error for half in found.halves))
    add("right names kept", *(half.kept for half in found.halves))
    add("wrong names refused", *(half.refused_wrong for half in found.halves))
    add("unlisted objects refused", *(half.refused_unlisted for half in found.halves))
    Console().print(table)
    typer.echo(
        f"{found.instances} instances, {found.calibration.classes} classes; the model gets what "
        "was fitted on all"
    )
    print_left_out(found.not_counted, found.instances)
    fewest = min(half.correct for half in found.halves)
    if fewest < NEEDED:
        typer.echo(
            f"warning: the model names only {fewest} objects of a half right, and the threshold "
            f"needs {NEEDED}: do not trust it. Calibrate with more photos.",
            err=True,
        )
