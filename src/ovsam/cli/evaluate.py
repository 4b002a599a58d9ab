"""`ovsam evaluate`: hold a model's masks and names to annotations."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ovsam.cli import options
from ovsam.cli.progress import embed_names, loader, photo_job
from ovsam.cli.report import check_outputs, print_left_out, print_written, write_report
from ovsam.errors import UsageError, VocabularyError, first_few
from ovsam.evaluate.kinds import EvaluationKind

if TYPE_CHECKING:
    from ovsam.evaluate.clicks import ClickReport
    from ovsam.evaluate.instances import Report
    from ovsam.evaluate.metrics import Summary
    from ovsam.vocabulary.vocabulary import Vocabulary


def evaluate(
    context: typer.Context,
    annotations: Annotated[
        Path,
        options.argument(
            "ANNOTATIONS",
            "Photos with named masks: an annotation file in COCO's format (.json), a folder "
            "of LabelMe's, or YOLO's data.yaml (of several parts, `val`) or folder.",
        ),
    ],
    images: options.ImagesBeside = None,
    prompts: Annotated[
        EvaluationKind,
        typer.Option(
            help=f"{options.PROMPTS}; or centre points where, as the authors measure, the name is "
            "that of the annotated box (point-true-box).",
            metavar="KIND",
        ),
    ] = "box",
    clicks: Annotated[
        int | None,
        options.option(
            "N",
            "Instead, click each object so often, each time where the mask is most wrong, "
            "and report the IoU after each click (NoC is usually counted with 20).",
            min=1,
        ),
    ] = None,
    vocabulary: options.Vocabulary = "coco",
    unseen: Annotated[
        str | None,
        options.option(
            "CLASSES",
            'Classes of the vocabulary that were held back in training, "cat, dog"; they are '
            "reported apart, as novel. Left out: those that the vocabulary marks.",
        ),
    ] = None,
    oracle_names: Annotated[
        bool,
        typer.Option(
            "--oracle-names",
            help="Measure masks alone and count each annotated name as given: for a model without "
            "names, such as SAM, or what a perfect namer would leave to gain.",
        ),
    ] = False,
    crowds: options.Crowds = "left-out",
    json_path: options.Json = None,
    by_class: Annotated[
        bool, typer.Option("--by-class", help="Print a row for each class, too.")
    ] = False,
    reliability: Annotated[
        Path | None,
        options.option(
            "FILE", "A plot of how far the names' scores can be trusted, as a .png file."
        ),
    ] = None,
    model: options.Model = "lite",
    zoom: options.Zoom = None,
    clean: options.Clean = True,
    limit: options.Limit = None,
    journal: options.Journal = None,
    workers: options.Workers = None,
    device: options.Device = "cpu",
) -> None:
    """Measure a model on annotated photos: mean IoU of its masks, share of right names.

    Example: `ovsam evaluate annotations.json --images photos --prompts point`
    """
    from ovsam.evaluate.calibration import check_plottable, draw_reliability
    from ovsam.evaluate.clicks import ClickReport, evaluate_clicks
    from ovsam.evaluate.instances import evaluate as evaluate_instances
    from ovsam.evaluate.objects import evaluated_objects
    from ovsam.evaluate.photos import chosen_photos
    from ovsam.files import check_output
    from ovsam.formats.layouts import read_annotated

    check_outputs(json_path, [annotations, Path(vocabulary)], journal)
    if reliability is not None:
        check_output(reliability, (".png",), [annotations, *filter(None, [images])])
        check_plottable()
    measure: Callable[..., Report | ClickReport]
    if clicks is None:
        names = _vocabulary(vocabulary, unseen)
        measure = partial(evaluate_instances, prompts=prompts, oracle_names=oracle_names)
    else:
        _refuse_beside_clicks(context)
        names = None  # masks alone are measured
        measure = partial(evaluate_clicks, clicks=clicks)
    content, photos_dir = read_annotated(annotations, images, crowds)
    photos = chosen_photos(content, photos_dir, limit)  # all checks come before the model
    if names is not None:
        evaluated_objects(content, photos, names)

    load = loader(model, names, device=device, zoom=zoom, clean=clean)
    predictor = load()
    if names is not None and not oracle_names and predictor.names_objects:
        embed_names(predictor)
    with photo_job(journal, workers, load) as job:
        report = measure(predictor, content, photos_dir, photos=photos, job=job)
    if json_path is not None:
        write_report(
            json_path,
            report.as_dict(),
            {"crowds": crowds},
            annotations=annotations,
            model=model,
            vocabulary=None if names is None else vocabulary,
            limit=limit,
        )
    if isinstance(report, ClickReport):
        _print_clicks(report)
    else:
        _print_report(report, by_class)
        if reliability is not None:
            title = f"{report.model}, {report.prompts} prompts, {report.vocabulary}"
            draw_reliability(report.calibration, title, reliability)
    print_written(json_path, reliability)


def _vocabulary(name: str, unseen: str | None) -> Vocabulary:
    """The vocabulary, with what `--unseen` names marked so, each as it is written."""
    from ovsam.vocabulary.load import load_vocabulary
    from ovsam.vocabulary.names import typed_names

    vocabulary = load_vocabulary(name)
    if unseen is None:
        return vocabulary
    names = typed_names(unseen)  # what means the same is not one class here
    if not names:
        raise UsageError(
            "--unseen must name classes of the vocabulary, separated by commas, got none. Give "
            "some, or leave it out."
        )
    try:
        return vocabulary.with_unseen(names)
    except VocabularyError as error:
        raise UsageError(str(error)) from error


def _refuse_beside_clicks(context: typer.Context) -> None:
    """Refuse options that would change nothing: clicks measure masks, and choose where to click."""
    unused = ("prompts", "by_class", "reliability", "unseen", "oracle_names")
    given = [f"--{name.replace('_', '-')}" for name in unused if options.is_given(context, name)]
    if given:
        raise UsageError(
            "--clicks begins in the middle of each object and measures masks alone: leave out "
            f"{' and '.join(given)}, or --clicks."
        )


def _print_clicks(report: ClickReport) -> None:
    from rich import box as boxes
    from rich.console import Console
    from rich.table import Table

    from ovsam.evaluate.clicks import GOALS

    table = Table("clicks", "IoU", box=boxes.SIMPLE_HEAD)
    for count, iou in enumerate(report.curve, start=1):
        table.add_row(str(count), f"{iou:.3f}")
    Console().print(table)
    goals = ", ".join(
        f"{report.clicks_to(goal):.2f} clicks to IoU {goal:g} (NoC@{goal * 100:g}; "
        f"{report.never(goal)} of {len(report.iou)} never reach it and count as {report.clicks})"
        for goal in GOALS
    )
    typer.echo(
        f"{report.model}, {len(report.iou)} instances, zoom {'on' if report.zoom else 'off'}: "
        f"{goals}; {report.photos} photos in {report.seconds:.1f} s"
    )
    print_left_out(report.not_counted, len(report.iou))
    if without := report.not_counted.objects_without_pixel:
        typer.echo(
            f"warning: {without:,} objects more have a mask that covers no pixel: there is nothing "
            "to click on, and they do not count.",
            err=True,
        )


def _print_report(report: Report, by_class: bool) -> None:
    from rich import box as boxes
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    headings = ("", "IoU", "boundary IoU", "top-1", "top-5", "instances")
    table = Table(*headings, box=boxes.SIMPLE_HEAD)

    def add(name: str, summary: Summary) -> None:
        values = (summary.iou, summary.boundary_iou, summary.accuracy, summary.accuracy_top5)
        shown = ("-" if value is None else f"{value:.3f}" for value in values)
        table.add_row(Text(name), *shown, str(summary.instances))

    add("all", report.summary)
    for group in report.groups.values():
        for name, summary in group.items():
            add(name, summary)
    if by_class:
        table.add_section()
        for name, summary in report.by_class.items():
            add(name, summary)
    Console().print(table)
    typer.echo(
        f"{report.model}, {report.prompts} prompts, vocabulary {report.vocabulary}, "
        f"{'names by an oracle, ' if report.oracle_names else ''}"
        f"zoom {'on' if report.zoom else 'off'}: {report.photos} photos in {report.seconds:.1f} s; "
        f"calibration (ECE) {report.calibration.error:.3f}"
    )
    if (oracle := report.summary.iou_best_of_sizes) is not None:
        typer.echo(
            f"IoU of the best of each click's sizes (small, medium, large), an oracle's choice: "
            f"{oracle:.3f}"
        )
    print_left_out(report.not_counted, len(report.outcomes))
    if report.merged:
        typer.echo(
            f"warning: {len(report.merged):,} classes of this vocabulary are several of the file's "
            f"and count as one: {first_few(report.merged, 3, '; ')}. Give the annotation file "
            "itself with --vocabulary to tell them apart.",
            err=True,
        )
    if report.problems:
        typer.echo(
            f"warning: {len(report.problems):,} of these objects are annotated wrong, and the "
            f"figures count them all the same; first: {report.problems[0]} 'ovsam data check' "
            "lists all that is wrong; correct them or take them out.",
            err=True,
        )
