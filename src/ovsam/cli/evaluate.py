"""`ovsam evaluate`: hold a model's masks and names to annotations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ovsam.cli import options
from ovsam.cli.progress import embed_names, loader, photo_job
from ovsam.cli.report import check_outputs, print_left_out, print_written, write_report
from ovsam.errors import UsageError, VocabularyError, first_few, quoted
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
    vocabulary: options.Vocabularies = ["coco"],  # noqa: B006  # which Typer copies
    prior: options.Prior = True,
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

    A name is right by meaning if it is the annotated class or a kind of it, as of 22,000 names
    "tiger cat" for a cat.

    Example: `ovsam evaluate val.json --images photos --vocabulary 22k`
    """
    from ovsam.evaluate.calibration import check_plottable, draw_reliability
    from ovsam.evaluate.clicks import ClickReport, evaluate_clicks
    from ovsam.evaluate.instances import evaluate_vocabularies
    from ovsam.evaluate.objects import objects_by_vocabulary
    from ovsam.evaluate.photos import chosen_photos
    from ovsam.files import check_output
    from ovsam.formats.layouts import read_annotated

    check_outputs(json_path, [annotations, *map(Path, vocabulary)], journal)
    if reliability is not None:
        check_output(reliability, (".png",), [annotations, *filter(None, [images])])
        check_plottable()
    if clicks is None:
        _check_alone(vocabulary, unseen, oracle_names, reliability)
        read = [_vocabulary(one, unseen) for one in vocabulary]
        names = [options.narrowed(one, None, prior=prior) for one in read]
    else:
        _refuse_beside_clicks(context)
        names = []  # masks alone are measured
    content, photos_dir = read_annotated(annotations, images, crowds)
    photos = chosen_photos(content, photos_dir, limit)  # all checks come before the model
    if names:
        objects_by_vocabulary(content, photos, names)

    load = loader(model, names[0] if names else None, device=device, zoom=zoom, clean=clean)
    predictor = load()
    if names and not oracle_names and predictor.names_objects:
        names = embed_names(predictor, names)
    elif names:
        names = [predictor.vocabulary]
    report: dict[str, object]
    found: Sequence[Report] | ClickReport
    with photo_job(journal, workers, load) as job:
        if clicks is not None:
            found = evaluate_clicks(
                predictor, content, photos_dir, clicks=clicks, photos=photos, job=job
            )
            report = found.as_dict()
        else:
            found = evaluate_vocabularies(
                predictor,
                content,
                photos_dir,
                names,
                prompts=prompts,
                oracle_names=oracle_names,
                photos=photos,
                job=job,
            )
            report = _as_dict(dict(zip(vocabulary, found, strict=True)))
    if json_path is not None:
        write_report(
            json_path,
            report,
            {"crowds": crowds, "prior": prior, "clean": clean},
            annotations=annotations,
            model=model,
            vocabulary=vocabulary[0] if names else None,
            more_vocabularies=vocabulary[1:] if names else (),
            limit=limit,
        )
    if isinstance(found, ClickReport):
        _print_clicks(found)
    else:
        _print_reports(found, by_class)
        if reliability is not None:
            title = f"{found[0].model}, {found[0].prompts} prompts, {found[0].vocabulary}"
            draw_reliability(found[0].calibration_by_meaning, title, reliability)
    print_written(json_path, reliability)


def _as_dict(reports: Mapping[str, Report]) -> dict[str, object]:
    """The report of the first vocabulary; of several all, too, by what was typed for each."""
    content = next(iter(reports.values())).as_dict()
    if len(reports) > 1:
        content["by_vocabulary"] = {name: report.as_dict() for name, report in reports.items()}
    return content


def _check_alone(
    vocabularies: Sequence[str], unseen: str | None, oracle_names: bool, reliability: Path | None
) -> None:
    """Refuse several vocabularies where there can be one only, or that are the same."""
    twice = next((one for one in vocabularies if vocabularies.count(one) > 1), None)
    if twice is not None:
        raise UsageError(f"--vocabulary {quoted(twice)} is given twice. Give each once.")
    given = {"--unseen": unseen, "--oracle-names": oracle_names, "--reliability": reliability}
    alone = [name for name, value in given.items() if value]
    if alone and len(vocabularies) > 1:
        raise UsageError(
            f"{' and '.join(alone)} {'go' if len(alone) > 1 else 'goes'} with one vocabulary, got "
            f"{len(vocabularies)}. Give --vocabulary once."
        )


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
    unused = ("prompts", "prior", "by_class", "reliability", "unseen", "oracle_names")
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


def _print_reports(reports: Sequence[Report], by_class: bool) -> None:
    from rich import box as boxes
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("", *_COLUMNS, box=boxes.SIMPLE_HEAD, padding=0)

    def add(name: str, summary: Summary) -> None:
        values = (getattr(summary, field) for field in _COLUMNS.values())
        shown = ("-" if value is None else _shown(value) for value in values)
        table.add_row(Text(name), *shown)

    for report in reports:
        table.add_section()
        add("all" if len(reports) == 1 else report.vocabulary, report.summary)
        for group in report.groups.values():
            for name, summary in group.items():
                add(name, summary)
        if by_class:
            table.add_section()
            for name, summary in report.by_class.items():
                add(name, summary)
    Console().print(table)
    first = reports[0]
    typer.echo(
        f"{first.model}, {first.prompts} prompts, "
        f"{'names by an oracle, ' if first.oracle_names else ''}"
        f"zoom {'on' if first.zoom else 'off'}: {first.photos} photos in {first.seconds:.1f} s"
    )
    if (oracle := first.summary.iou_best_of_sizes) is not None:
        typer.echo(
            f"IoU of the best of each click's sizes (small, medium, large), an oracle's choice: "
            f"{oracle:.3f}"
        )
    for report in reports:
        _print_names(report)
    if first.problems:
        typer.echo(
            f"warning: {len(first.problems):,} of these objects are annotated wrong, and the "
            f"figures count them all the same; first: {first.problems[0]} 'ovsam data check' "
            "lists all that is wrong; correct them or take them out.",
            err=True,
        )


_COLUMNS = {
    "IoU": "iou",
    "boundary\nIoU": "boundary_iou",
    "IoU\n<0.2": "share_below20",
    "IoU\n<0.5": "share_below50",
    "top-1": "accuracy",
    "top-5": "accuracy_top5",
    "top-1 by\nmeaning": "accuracy_by_meaning",
    "top-5 by\nmeaning": "accuracy_by_meaning_top5",
    "instances": "instances",
}


def _shown(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _print_names(report: Report) -> None:
    """What there is to say of one vocabulary's names."""
    line = f"vocabulary {report.vocabulary}: calibration (ECE) {report.calibration.error:.3f}"
    line += f", by meaning {report.calibration_by_meaning.error:.3f}"
    summary = report.summary
    if summary.right_itself is not None:
        line += (
            f"; of the first names that are right by meaning {summary.right_itself:.1%} are the "
            f"annotated class itself, all are {summary.right_levels_below:.2f} levels below it on "
            "average"
        )
    typer.echo(line)
    print_left_out(report.not_counted, len(report.outcomes))
    if report.merged:
        typer.echo(
            f"warning: {len(report.merged):,} classes of this vocabulary are several of the file's "
            f"and count as one: {first_few(report.merged, 3, '; ')}. Give the annotation file "
            "itself with --vocabulary to tell them apart.",
            err=True,
        )
    if report.kinds_alone:
        typer.echo(
            f"warning: vocabulary {report.vocabulary} has kinds of "
            f"{first_few(list(map(quoted, report.kinds_alone)), 3)} but not the class itself: "
            "there a name can be right by meaning alone.",
            err=True,
        )
