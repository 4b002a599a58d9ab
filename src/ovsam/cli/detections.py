"""The commands about a detector's boxes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ovsam.cli import options
from ovsam.cli.progress import bar, embed_names, loader, photo_job
from ovsam.cli.report import check_outputs, print_left_out, print_written, write_report
from ovsam.errors import UsageError
from ovsam.evaluate.kinds import LabelSource

if TYPE_CHECKING:
    from ovsam.evaluate.detections import DetectionReport


def evaluate_detections(
    context: typer.Context,
    annotations: Annotated[
        Path, options.argument("ANNOTATIONS", "COCO or LVIS instance annotations (.json).")
    ],
    results: Annotated[
        Path,
        options.argument(
            "BOXES",
            "A detector's boxes in COCO's results format (.json), as Detectron2, MMDetection, "
            "Ultralytics and `ovsam detect` write them.",
        ),
    ],
    images: options.Images,
    labels: Annotated[
        LabelSource,
        typer.Option(
            help="Whose names count, detector or ours; the detector's scores rank in either case.",
            metavar="WHOSE",
        ),
    ],
    vocabulary: Annotated[
        str,
        typer.Option(
            help="With `--labels ours`, the names to choose from: a built-in vocabulary, a text "
            "file with one class per line, an annotation file (.json), or a list. Weights of its "
            "classes do not count here.",
            metavar="NAMES",
            autocompletion=options.complete_vocabularies,
        ),
    ] = "coco",
    crowds: options.Crowds = "left-out",
    json_path: options.Json = None,
    results_out: Annotated[
        Path | None, options.option("FILE", "The masks in COCO's results format, as a .json file.")
    ] = None,
    model: options.Model = "lite",
    zoom: options.Zoom = None,
    limit: options.Limit = None,
    journal: options.Journal = None,
    workers: options.Workers = None,
    device: options.Device = "cpu",
) -> None:
    """Measure masks for a detector's boxes: mask AP by COCO's rules, or by LVIS's.

    Example: `ovsam evaluate-detections val.json det.json --images val --labels ours`
    """
    from ovsam.evaluate.detection_plan import plan
    from ovsam.evaluate.detections import evaluate_detections as measure
    from ovsam.files import check_output, write_atomically
    from ovsam.formats.coco_results import read_detections, results_to_json
    from ovsam.formats.ground_truth import read_ground_truth
    from ovsam.vocabulary.load import load_vocabulary

    inputs = [annotations, results, Path(vocabulary)]
    check_outputs(json_path, inputs, journal)
    if results_out is not None:
        check_output(results_out, (".json",), inputs)
    if json_path is not None and json_path == results_out:
        raise UsageError("--json and --results-out name the same file. Give them two names.")
    if labels == "detector" and options.is_given(context, "vocabulary"):
        raise UsageError(
            "--vocabulary is for --labels ours: the detector's names are those of its file. Leave "
            "it out, or ask for our names."
        )
    ground_truth = read_ground_truth(annotations, crowds)
    detections = read_detections(results, ground_truth)
    for sentence in detections.warnings:
        typer.echo(f"warning: {sentence}", err=True)
    # A detector's boxes are labelled as the paper does it: by the names alone.
    names = load_vocabulary(vocabulary).unweighted() if labels == "ours" else None
    planned = plan(ground_truth, detections, images, names, limit=limit)

    load = loader(model, names, device=device, zoom=zoom)
    predictor = load()
    if names is not None and predictor.names_objects:
        embed_names(predictor)
    with photo_job(journal, workers, load) as job:
        report = measure(
            predictor,
            ground_truth,
            detections,
            images,
            labels=labels,
            planned=planned,
            job=job,
        )
    if json_path is not None:
        write_report(
            json_path,
            report.as_dict(),
            {"crowds": crowds},
            annotations=annotations,
            model=model,
            vocabulary=None if names is None else vocabulary,
            limit=limit,
            detections=results,
        )
    if results_out is not None:
        write_atomically(results_out, results_to_json(report.results))
    _print(report)
    objects = sum(
        len(ground_truth.annotations.by_photo.get(photo.id, ())) for photo in planned.photos
    )
    print_left_out(report.not_counted, objects)
    print_written(json_path, results_out)


def detect(
    photos: Annotated[Path, options.argument("FOLDER", "The folder of the photos.")],
    annotations: Annotated[
        Path,
        options.argument(
            "ANNOTATIONS",
            "The annotation file (.json) that gives the photos and classes their ids.",
        ),
    ],
    weights: Annotated[
        Path,
        options.option(
            "FILE",
            "Weights of torchvision's fasterrcnn_mobilenet_v3_large_320_fpn, .pth or "
            ".safetensors. Nothing is downloaded.",
        ),
    ],
    output: Annotated[
        Path,
        options.option(
            "FILE", "The .json file to write: the boxes in COCO's results format.", "--output", "-o"
        ),
    ],
    limit: options.Limit = None,
) -> None:
    """Find objects with a small detector from torchvision: boxes for `evaluate-detections`.

    Example: `ovsam detect photos val.json --weights detector.pth -o boxes.json`
    """
    from ovsam.extras import TORCH, check_installed
    from ovsam.files import check_output, write_atomically
    from ovsam.formats.coco_results import results_to_json
    from ovsam.formats.ground_truth import read_ground_truth

    check_installed("'ovsam detect'", TORCH, "ovsam[torch]")
    check_output(output, (".json",), [annotations, weights])
    ground_truth = read_ground_truth(annotations)

    from ovsam.evaluate.detector import detect as run
    from ovsam.evaluate.detector import load_detector

    detector = load_detector(weights)
    with bar("photos") as progress:
        found = run(detector, ground_truth, photos, limit=limit, progress=progress)
    write_atomically(output, results_to_json(found))
    typer.echo(f"wrote {output}: {len(found):,} boxes")


def _print(report: DetectionReport) -> None:
    from rich import box as boxes
    from rich.console import Console
    from rich.table import Table

    table = Table("mask AP", "", box=boxes.SIMPLE_HEAD)
    for name, value in report.precision.figures.items():
        table.add_row(name, "-" if value is None else f"{value:.3f}")
    Console().print(table)
    whose = "the detector" if report.vocabulary is None else f"vocabulary {report.vocabulary}"
    typer.echo(
        f"{report.model}, {report.precision.rules.upper()}'s rules, names by {whose}, zoom "
        f"{'on' if report.zoom else 'off'}: {report.boxes:,} boxes, {report.photos:,} photos in "
        f"{report.seconds:.1f} s"
    )
    if report.left_out:
        typer.echo(f"{len(report.left_out):,} classes that are never answered do not count")
