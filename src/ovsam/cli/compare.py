"""`ovsam compare`: hold a model's masks to another model's."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ovsam.cli import options
from ovsam.cli.progress import loader, photo_job
from ovsam.cli.report import check_outputs, print_written, write_report
from ovsam.evaluate.kinds import PromptKind

if TYPE_CHECKING:
    from ovsam.evaluate.agreement import AgreementReport


def compare(
    data: Annotated[
        Path,
        options.argument(
            "DATA",
            "Photos with objects: an annotation file in COCO's format, a folder of LabelMe's, "
            "YOLO's data.yaml or folder, a folder or a list of folders of SA-1B (val.txt), or a "
            "folder with `images/` and `masks/`.",
        ),
    ],
    teacher: Annotated[
        str,
        options.option(
            "MODEL",
            "The model to compare with: its name, or the path of a checkpoint.",
            autocompletion=options.complete_models,
        ),
    ],
    images: options.ImagesBeside = None,
    prompts: Annotated[
        PromptKind, typer.Option(help=f"{options.PROMPTS}.", metavar="KIND")
    ] = "box",
    clicks: Annotated[
        int | None,
        options.option(
            "N",
            "So many clicks on each object in place of a prompt, the first in its middle, each "
            "further one where the mask of --teacher is most wrong; needs annotated masks.",
            min=1,
            max=20,
        ),
    ] = None,
    vocabulary: Annotated[
        list[str] | None,
        options.option(
            "WORDS",
            "Compare first names and their scores out of these, too, as for 'ovsam segment'. "
            "Repeat for more lists. Left out: masks alone.",
        ),
    ] = None,
    json_path: options.Json = None,
    model: options.Model = "lite",
    zoom: options.Zoom = None,
    limit: options.Limit = None,
    objects: Annotated[
        int | None, options.option("N", "Only the largest objects of each photo.", min=1)
    ] = None,
    journal: options.Journal = None,
    workers: options.Workers = None,
    device: options.Device = "cpu",
) -> None:
    """Measure how alike two models are: IoU of their masks where both are given the same prompts.

    `lite@onnx` and `lite@torch` are one model on two engines.

    Example: `ovsam compare val.txt --model student.safetensors --teacher lite`
    """
    from ovsam.data.dataset import read_data_set
    from ovsam.evaluate.agreement import agreement, check_comparable
    from ovsam.evaluate.pair import load_pair
    from ovsam.vocabulary.load import load_vocabulary

    check_outputs(json_path, [data], journal)
    data_set = read_data_set(data, images, split="val")
    if data_set.many_crowds is not None:
        typer.echo(f"warning: {data_set.many_crowds}", err=True)
    if clicks is not None:
        prompts = "point"
    names = [load_vocabulary(one) for one in vocabulary or ()]
    check_comparable(data_set, prompts)

    load = partial(
        load_pair, *(loader(name, None, device=device, zoom=zoom) for name in (model, teacher))
    )
    pair = load()
    with photo_job(journal, workers, load) as job:
        report = agreement(
            pair.student,
            pair.teacher,
            data_set,
            prompts=prompts,
            clicks=clicks or 0,
            vocabularies=names,
            limit=limit,
            objects=objects,
            job=job,
        )
    if json_path is not None:
        more = {"objects": objects, "listed": data_set.fingerprint}
        write_report(
            json_path,
            report.as_dict(),
            more,
            annotations=data,
            model=model,
            teacher=teacher,
            limit=limit,
        )
    _print_agreement(report, model, teacher)
    print_written(json_path)


def _print_agreement(report: AgreementReport, model: str, teacher: str) -> None:
    from rich import box as boxes
    from rich.console import Console
    from rich.table import Table

    from ovsam.evaluate.agreement import GOALS

    table = Table("IoU of the two masks", "", box=boxes.SIMPLE_HEAD)
    table.add_row("mean", f"{report.mean:.3f}")
    table.add_row("median", f"{report.median:.3f}")
    table.add_row("least", f"{report.iou.min():.3f}")
    for goal in GOALS:
        table.add_row(f"share with {goal:g} or more", f"{report.share(goal):.3f}")
    for names in report.names:
        table.add_row(f"{names.vocabulary}: same first name", f"{names.same:.3f}")
        table.add_row("  scores differ by at most", f"{names.score_difference:.1g}")
    Console().print(table)
    asked = f"{report.clicks} clicks" if report.clicks else f"{report.prompts} prompts"
    zooms = " and ".join("on" if zoom else "off" for zoom in dict.fromkeys(report.zoom))
    typer.echo(
        f"{model} beside {teacher}, {asked}, zoom {zooms}: "
        f"{len(report.iou)} instances in {report.photos} photos in {report.seconds:.1f} s"
    )
    if report.skipped:
        typer.echo(f"skipped {report.skipped} that cannot be read, first: {report.problems[0]}")
    if report.not_counted.sentence:
        typer.echo(report.not_counted.sentence)
