"""The commands that hold a model to annotations, or to another model."""

from __future__ import annotations

from collections.abc import Callable
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
    ImagesBesideOption,
    JournalOption,
    JsonOption,
    LimitOption,
    ModelOption,
    VocabularyOption,
    WorkersOption,
    ZoomOption,
    complete_models,
    is_given,
)
from ovsam.cli.progress import bar, embed_names
from ovsam.cli.report import print_left_out
from ovsam.errors import UsageError, VocabularyError, first_few

if TYPE_CHECKING:
    from ovsam.evaluate.agreement import AgreementReport
    from ovsam.evaluate.clicks import ClickReport
    from ovsam.evaluate.instances import Report
    from ovsam.evaluate.metrics import Summary
    from ovsam.vocabulary.vocabulary import Vocabulary

app = typer.Typer()


class PromptKind(StrEnum):
    """How `compare` points at an object."""

    box = "box"
    noisy_box = "noisy-box"
    point = "point"
    random_point = "random-point"


class EvaluationKind(StrEnum):
    """How `evaluate` points at an object."""

    box = "box"
    noisy_box = "noisy-box"
    point = "point"
    random_point = "random-point"
    point_true_box = "point-true-box"


_PROMPTS = (
    "Annotated boxes (box), the same with SAM's noise, a tenth of their sides (noisy-box), centre "
    "points of annotated masks (point), or any points of them (random-point)"
)


@app.command(cls=Command, rich_help_panel=MEASURE)
def evaluate(
    context: typer.Context,
    annotations: Annotated[
        Path,
        typer.Argument(
            help="Photos with named masks: an annotation file in COCO's format (.json), a folder "
            "of LabelMe's, or YOLO's data.yaml (of several parts, `val`) or folder.",
            metavar="ANNOTATIONS",
            show_default=False,
        ),
    ],
    images: ImagesBesideOption = None,
    prompts: Annotated[
        EvaluationKind,
        typer.Option(
            help=f"{_PROMPTS}; or centre points where, as the authors measure, the name is that of "
            "the annotated box (point-true-box).",
            metavar="KIND",
        ),
    ] = EvaluationKind.box,
    clicks: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Instead, click each object so often, each time where the mask is most wrong, "
            "and report the IoU after each click (NoC is usually counted with 20).",
            metavar="N",
            show_default=False,
        ),
    ] = None,
    vocabulary: VocabularyOption = "coco",
    unseen: Annotated[
        str | None,
        typer.Option(
            help='Classes of the vocabulary that were held back in training, "cat, dog"; they are '
            "reported apart, as novel. Left out: those that the vocabulary marks.",
            metavar="CLASSES",
            show_default=False,
        ),
    ] = None,
    crowds: CrowdsOption = CrowdsKind.left_out,
    json_path: JsonOption = None,
    by_class: Annotated[
        bool, typer.Option("--by-class", help="Print a row for each class, too.")
    ] = False,
    reliability: Annotated[
        Path | None,
        typer.Option(
            help="A plot of how far the names' scores can be trusted, as a .png file.",
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
    """Measure a model on annotated photos: mean IoU of its masks, share of right names.

    Example: `ovsam evaluate annotations.json --images photos --prompts point`
    """
    from ovsam.evaluate.clicks import ClickReport, evaluate_clicks
    from ovsam.evaluate.instances import chosen_photos, counted
    from ovsam.evaluate.instances import evaluate as run
    from ovsam.evaluate.provenance import asked
    from ovsam.files import check_output, write_atomically
    from ovsam.formats.layouts import read_annotated
    from ovsam.formats.prediction import to_json_bytes
    from ovsam.jobs.processes import Workers
    from ovsam.vocabulary.load import load_vocabulary

    if json_path is not None:
        check_output(json_path, (".json",), [annotations, Path(vocabulary)])
    if journal is not None:
        check_output(journal, (".jsonl",))
    if clicks is not None:
        _refuse_beside_clicks(context)
    if reliability is not None:
        check_output(reliability, (".png",), [annotations, *filter(None, [images])])

        from ovsam.evaluate.reliability import draw_reliability
    content, photos_dir = read_annotated(annotations, images, crowds.value)
    names = load_vocabulary(vocabulary)
    if unseen is not None:
        names = _marked(names, unseen)
    photos = chosen_photos(content, photos_dir, limit)  # all checks come before the model
    if clicks is None:
        counted(content, photos, names)

    import ovsam

    load = partial(ovsam.load, model, vocabulary=names, device=device, zoom=zoom)
    predictor = load()
    embed_names(predictor)
    shared = None if workers is None else Workers(load, workers)
    ask: Callable[..., Report | ClickReport]
    if clicks is None:
        ask = partial(run, prompts=prompts.value)
    else:
        ask = partial(evaluate_clicks, clicks=clicks)
    with bar("photos") as progress:
        report = ask(
            predictor,
            content,
            photos_dir,
            zoom=zoom,
            photos=photos,
            journal=journal,
            workers=shared,
            progress=progress,
        )
    if json_path is not None:
        made_from = asked(annotations=annotations, model=model, vocabulary=vocabulary, limit=limit)
        made_from |= {"crowds": crowds.value}
        write_atomically(json_path, to_json_bytes({**report.as_dict(), "asked": made_from}))
    if reliability is not None and not isinstance(report, ClickReport):
        title = f"{report.model}, {report.prompts} prompts, {report.vocabulary}"
        draw_reliability(report.calibration, title, reliability)
    if isinstance(report, ClickReport):
        _print_clicks(report)
    else:
        _print_report(report, by_class)
    for path in (json_path, reliability):
        if path is not None:
            typer.echo(f"wrote {path}")


@app.command(cls=Command, rich_help_panel=MEASURE)
def compare(
    data: Annotated[
        Path,
        typer.Argument(
            help="Photos with objects: an annotation file in COCO's format, a folder of LabelMe's, "
            "YOLO's data.yaml or folder, a folder or a list of folders of SA-1B (val.txt), or a "
            "folder with `images/` and `masks/`.",
            metavar="DATA",
            show_default=False,
        ),
    ],
    teacher: Annotated[
        str,
        typer.Option(
            help="The model to compare with: its name, or the path of a checkpoint.",
            metavar="MODEL",
            show_default=False,
            autocompletion=complete_models,
        ),
    ],
    images: ImagesBesideOption = None,
    prompts: Annotated[
        PromptKind, typer.Option(help=f"{_PROMPTS}.", metavar="KIND")
    ] = PromptKind.box,
    json_path: JsonOption = None,
    model: ModelOption = "lite",
    zoom: ZoomOption = None,
    limit: LimitOption = None,
    objects: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Only the largest objects of each photo.",
            metavar="N",
            show_default=False,
        ),
    ] = None,
    journal: JournalOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = "cpu",
) -> None:
    """Measure how alike two models' masks are: mean IoU where both are asked the same.

    Example: `ovsam compare val.txt --model student.safetensors --teacher lite`
    """
    from ovsam.data.dataset import read_data_set
    from ovsam.evaluate.agreement import agreement, check_comparable, load_pair
    from ovsam.evaluate.provenance import asked
    from ovsam.files import check_output, write_atomically
    from ovsam.formats.prediction import to_json_bytes
    from ovsam.jobs.processes import Workers
    from ovsam.vocabulary.load import load_vocabulary

    if json_path is not None:
        check_output(json_path, (".json",), [data])
    if journal is not None:
        check_output(journal, (".jsonl",))
    data_set = read_data_set(data, images, split="val")
    if data_set.many_crowds is not None:
        typer.echo(f"warning: {data_set.many_crowds}", err=True)
    check_comparable(data_set, prompts.value)
    names = load_vocabulary(["object"])  # names play no part, but a predictor has some

    import ovsam

    load = partial(
        load_pair,
        *(
            partial(ovsam.load, name, vocabulary=names, device=device, zoom=zoom)
            for name in (model, teacher)
        ),
    )
    pair = load()
    embed_names(pair.student)
    embed_names(pair.teacher)
    with bar("photos") as progress:
        report = agreement(
            pair.student,
            pair.teacher,
            data_set,
            prompts=prompts.value,
            zoom=zoom,
            limit=limit,
            objects=objects,
            journal=journal,
            workers=None if workers is None else Workers(load, workers),
            progress=progress,
        )
    if json_path is not None:
        made_from = asked(annotations=data, model=model, teacher=teacher, limit=limit)
        made_from |= {"objects": objects, "listed": data_set.fingerprint}
        write_atomically(json_path, to_json_bytes({**report.as_dict(), "asked": made_from}))
    _print_agreement(report, model, teacher)
    if json_path is not None:
        typer.echo(f"wrote {json_path}")


def _marked(vocabulary: Vocabulary, unseen: str) -> Vocabulary:
    """The vocabulary with what `--unseen` names marked so, each as it is written."""
    from ovsam.vocabulary.names import typed_names

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
    unused = ("prompts", "by_class", "reliability", "unseen")
    given = [f"--{name.replace('_', '-')}" for name in unused if is_given(context, name)]
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


def _print_agreement(report: AgreementReport, model: str, teacher: str) -> None:
    from rich import box as boxes
    from rich.console import Console
    from rich.table import Table

    from ovsam.evaluate.agreement import GOALS

    table = Table("IoU of the two masks", "", box=boxes.SIMPLE_HEAD)
    table.add_row("mean", f"{report.mean:.3f}")
    table.add_row("median", f"{report.median:.3f}")
    for goal in GOALS:
        table.add_row(f"share with {goal:g} or more", f"{report.share(goal):.3f}")
    Console().print(table)
    zooms = " and ".join("on" if zoom else "off" for zoom in dict.fromkeys(report.zoom))
    typer.echo(
        f"{model} beside {teacher}, {report.prompts} prompts, zoom {zooms}: "
        f"{len(report.iou)} instances in {report.photos} photos in {report.seconds:.1f} s"
    )
    if report.skipped:
        typer.echo(f"skipped {report.skipped} that cannot be read, first: {report.problems[0]}")
    if report.not_counted.sentence:
        typer.echo(report.not_counted.sentence)


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
        f"zoom {'on' if report.zoom else 'off'}: {report.photos} photos in {report.seconds:.1f} s; "
        f"calibration (ECE) {report.calibration.error:.3f}"
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
