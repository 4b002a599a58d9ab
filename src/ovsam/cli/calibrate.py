"""`ovsam calibrate`: make the scores of a model's names probabilities."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ovsam.cli import options
from ovsam.cli.progress import bar, embed_names
from ovsam.cli.report import check_outputs, print_left_out, print_written
from ovsam.errors import OvsamError

if TYPE_CHECKING:
    from ovsam.evaluate.temperature import Fit


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
    vocabulary: options.Vocabulary = "coco",
    prior: options.Prior = True,
    crowds: options.Crowds = "left-out",
    json_path: options.Json = None,
    model: options.Model = "lite",
    limit: options.Limit = None,
    device: options.Device = "cpu",
) -> None:
    """Make a model's scores probabilities, by photos that it was not trained on.

    Finds the temperature under which the annotated names are most likely, and the score below
    which an object is none of the vocabulary's classes. Masks and the order of names stay.

    Example: `ovsam calibrate val.json --images photos -o mine.safetensors`
    """
    from ovsam.files import check_output, write_atomically
    from ovsam.formats.layouts import read_annotated
    from ovsam.formats.prediction import to_json_bytes
    from ovsam.vocabulary.load import load_vocabulary

    check_output(output, (".safetensors",), [annotations, Path(model)])
    check_outputs(json_path, [annotations, Path(vocabulary)])
    content, images_dir = read_annotated(annotations, images, crowds)
    names = options.narrowed(load_vocabulary(vocabulary), None, prior=prior)

    import ovsam
    from ovsam.evaluate.objects import evaluated_objects
    from ovsam.evaluate.photos import chosen_photos
    from ovsam.evaluate.scores import collect_scores
    from ovsam.evaluate.temperature import fit
    from ovsam.hub import fetch_model
    from ovsam.model.checkpoint import save_with_config

    photos = chosen_photos(content, images_dir, limit)
    evaluated_objects(content, photos, names)
    predictor = ovsam.load(model, vocabulary=names, device=device)
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
    embed_names(predictor)
    with bar("photos") as progress:
        scores = collect_scores(predictor, content, images_dir, photos=photos, progress=progress)
    found = fit(scores)
    save_with_config(
        checkpoint.path, output, replace(predictor.config, calibration=found.calibration)
    )
    if json_path is not None:
        write_atomically(
            json_path, to_json_bytes(_as_dict(found, predictor.model_name, names.name))
        )
    _print_fit(found)
    print_written(output, json_path)


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
