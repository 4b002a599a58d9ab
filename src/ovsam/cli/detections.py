"""The commands about a detector's boxes."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ovsam.cli.options import (
    MEASURE,
    Command,
    CrowdsKind,
    CrowdsOption,
    DeviceOption,
    ImagesOption,
    JournalOption,
    JsonOption,
    LimitOption,
    ModelOption,
    WorkersOption,
    ZoomOption,
    complete_vocabularies,
    is_given,
)
from ovsam.cli.progress import bar, embed_names
from ovsam.cli.report import print_left_out
from ovsam.errors import UsageError

if TYPE_CHECKING:
    from ovsam.evaluate.detections import DetectionReport

app = typer.Typer()


class LabelSource(StrEnum):
    """Who names what is in a box."""

    detector = "detector"
    ours = "ours"


@app.command("evaluate-detections", cls=Command, rich_help_panel=MEASURE)
def evaluate_detections(
    context: typer.Context,
    annotations: Annotated[
        Path,
        typer.Argument(
            help="COCO or LVIS instance annotations (.json).",
            metavar="ANNOTATIONS",
            show_default=False,
        ),
    ],
    results: Annotated[
        Path,
        typer.Argument(
            help="A detector's boxes in COCO's results format (.json), as Detectron2, MMDetection, "
            "Ultralytics and `ovsam detect` write them.",
            metavar="BOXES",
            show_default=False,
        ),
    ],
    images: ImagesOption,
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
            "file with one class per line, an annotation file (.json), or a list.",
            metavar="NAMES",
            autocompletion=complete_vocabularies,
        ),
    ] = "coco",
    crowds: CrowdsOption = CrowdsKind.left_out,
    json_path: JsonOption = None,
    results_out: Annotated[
        Path | None,
        typer.Option(
            help="The masks in COCO's results format, as a .json file.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    model: ModelOption = "lite",
    zoom: ZoomOption = None,
    limit: LimitOption = None,
    journal: JournalOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = "cpu",
) -> None:
    """Measure masks for a detector's boxes: mask AP by COCO's rules, or by LVIS's.

    Example: `ovsam evaluate-detections val.json det.json --images val --labels ours`
    """
    from ovsam.evaluate.detections import evaluate_detections as run
    from ovsam.evaluate.detections import plan
    from ovsam.evaluate.provenance import asked
    from ovsam.files import check_output, write_atomically
    from ovsam.formats.coco_results import read_detections, results_to_json
    from ovsam.formats.ground_truth import read_truth
    from ovsam.formats.prediction import to_json_bytes
    from ovsam.jobs.processes import Workers
    from ovsam.vocabulary.load import load_vocabulary

    for path in (json_path, results_out):
        if path is not None:
            check_output(path, (".json",), [annotations, results, Path(vocabulary)])
    if journal is not None:
        check_output(journal, (".jsonl",))
    if json_path is not None and json_path == results_out:
        raise UsageError("--json and --results-out name the same file. Give them two names.")
    if labels is LabelSource.detector and is_given(context, "vocabulary"):
        raise UsageError(
            "--vocabulary is for --labels ours: the detector's names are those of its file. Leave "
            "it out, or ask for our names."
        )
    truth = read_truth(annotations, crowds.value)
    detections = read_detections(results, truth)
    for sentence in detections.warnings:
        typer.echo(f"warning: {sentence}", err=True)
    # With the detector's names ours play no part, but a predictor has some.
    names = load_vocabulary(vocabulary if labels is LabelSource.ours else ["object"])
    planned = plan(truth, detections, images, names, labels=labels.value, limit=limit)

    import ovsam

    load = partial(ovsam.load, model, vocabulary=names, device=device, zoom=zoom)
    predictor = load()
    embed_names(predictor)
    with bar("photos") as progress:
        report = run(
            predictor,
            truth,
            detections,
            images,
            labels=labels.value,
            zoom=zoom,
            planned=planned,
            journal=journal,
            workers=None if workers is None else Workers(load, workers),
            progress=progress,
        )
    if json_path is not None:
        made_from = asked(
            annotations=annotations,
            model=model,
            vocabulary=vocabulary,
            limit=limit,
            detections=results,
        )
        made_from |= {"crowds": crowds.value}
        write_atomically(json_path, to_json_bytes({**report.as_dict(), "asked": made_from}))
    if results_out is not None:
        write_atomically(results_out, results_to_json(report.results))
    _print(report)
    objects = sum(len(truth.annotations.by_photo.get(photo.id, ())) for photo in planned.photos)
    print_left_out(report.not_counted, objects)
    for path in (json_path, results_out):
        if path is not None:
            typer.echo(f"wrote {path}")


@app.command(cls=Command, rich_help_panel=MEASURE)
def detect(
    photos: Annotated[
        Path,
        typer.Argument(help="The folder of the photos.", metavar="FOLDER", show_default=False),
    ],
    annotations: Annotated[
        Path,
        typer.Argument(
            help="The annotation file (.json) that gives the photos and classes their ids.",
            metavar="ANNOTATIONS",
            show_default=False,
        ),
    ],
    weights: Annotated[
        Path,
        typer.Option(
            help="Weights of torchvision's fasterrcnn_mobilenet_v3_large_320_fpn, .pth or "
            ".safetensors. Nothing is downloaded.",
            metavar="FILE",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="The .json file to write: the boxes in COCO's results format.",
            metavar="FILE",
            show_default=False,
        ),
    ],
    limit: LimitOption = None,
) -> None:
    """Find objects with a small detector from torchvision: boxes for `evaluate-detections`.

    Example: `ovsam detect photos val.json --weights detector.pth -o boxes.json`
    """
    from ovsam.files import check_output, write_atomically
    from ovsam.formats.coco_results import results_to_json
    from ovsam.formats.ground_truth import read_truth

    check_output(output, (".json",), [annotations, weights])
    truth = read_truth(annotations)

    from ovsam.evaluate.detector import detect as run
    from ovsam.evaluate.detector import load_detector

    detector = load_detector(weights)
    with bar("photos") as progress:
        found = run(detector, truth, photos, limit=limit, progress=progress)
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
