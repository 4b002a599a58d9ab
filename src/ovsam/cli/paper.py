"""`ovsam tables` and `ovsam pictures`: the paper's tables, and models side by side."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ovsam.cli import options
from ovsam.cli.progress import bar
from ovsam.cli.streams import print_file
from ovsam.errors import OutputError, OvsamError, UsageError

if TYPE_CHECKING:
    from ovsam.formats.crowds import Crowds
    from ovsam.paper.page import Pictures, Section
    from ovsam.paper.reports import Reports
    from ovsam.paper.results import Results
    from ovsam.paper.table_set import Folders, PictureEntry, Table, TableSet


def tables(
    run: Annotated[
        Path,
        options.argument(
            "RUN", "The run folder: checkpoints, and the reports that the figures are read from."
        ),
    ],
    data: Annotated[
        Path, options.option("FOLDER", "The folder that the data sets lie in.", "--data", "-d")
    ],
    output: Annotated[
        Path | None,
        options.option(
            "FOLDER",
            "The folder for tables.md, tables.html and the plots. Left out: the run folder.",
            "--output",
            "-o",
        ),
    ] = None,
    table_set: Annotated[
        str,
        typer.Option(
            "--set",
            help="Which tables: paper, the paper's own; lite, the same in small; or a TOML file of "
            "your own (docs/tables.md).",
            metavar="SET",
        ),
    ] = "lite",
    commands: Annotated[
        bool,
        typer.Option(
            "--commands",
            help="Print a shell script that makes what is missing in the run folder, and stop.",
        ),
    ] = False,
) -> None:
    """Make the paper's tables: figures from a run folder, the paper's beside them.

    What was not measured is a gap with its reason.

    Example: `ovsam tables my-run --data photos -o my-tables`
    """
    from ovsam.paper.commands import script
    from ovsam.paper.reports import Reports
    from ovsam.paper.table_set import Folders, read_table_set

    wanted = read_table_set(table_set)
    folders = Folders(run, data)
    if not data.is_dir():
        raise OvsamError(
            f"There is no data folder '{data}'. Give the one that the data sets lie in as --data "
            "(docs/tables.md)."
        )
    reports = Reports(wanted, folders)
    if commands:
        print_file(script(wanted, folders, reports.unusable()))
        return
    if not run.is_dir():
        raise OvsamError(
            f"There is no run folder '{run}'. Make it with the script that --commands prints."
        )
    _write(reports, output or run)


def _write(reports: Reports, output: Path) -> None:
    from ovsam.files import write_atomically
    from ovsam.paper.page import Page, to_html, to_markdown
    from ovsam.paper.results import Results

    wanted, folders = reports.tables, reports.folders
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"Cannot make the folder '{output}': {error.strerror}.") from error
    results = Results(reports)
    sections = []
    with bar("tables") as progress:
        for done, table in enumerate(wanted.tables, start=1):
            sections.append(_section(results, table))
            progress(done, len(wanted.tables))
    page = Page(
        title=wanted.title,
        about=wanted.about.strip(),
        sections=tuple(sections),
        pictures=tuple(_pictures(wanted, entry, folders) for entry in wanted.pictures),
    )
    beside = [section.plot for section in sections if section.plot is not None]
    beside += [(shown.name, shown.content) for shown in page.pictures if shown.content is not None]
    for name, content in beside:
        write_atomically(output / name, content)
    write_atomically(output / "tables.md", to_markdown(page).encode(errors="replace"))
    write_atomically(output / "tables.html", to_html(page).encode(errors="replace"))
    gaps = [gap for section in sections for row in section.filled.rows for gap in row.gaps]
    typer.echo(f"wrote {output / 'tables.md'} and {output / 'tables.html'}")
    if gaps:
        typer.echo(f"{len(set(gaps)):,} gaps; --commands prints what fills them")


def _section(results: Results, table: Table) -> Section:
    from ovsam.paper.order import pairs
    from ovsam.paper.page import Section
    from ovsam.paper.plot import draw_costs

    filled = results.fill(table)
    plot = None
    if table.plot:
        plot = (f"{table.name.lower().replace(' ', '-')}-costs.png", draw_costs(filled))
    order = {column.heading: pairs(results, table, column) for column in table.columns}
    return Section(filled, order, plot)


def _pictures(wanted: TableSet, entry: PictureEntry, folders: Folders) -> Pictures:
    from ovsam.paper.commands import picture_command
    from ovsam.paper.page import Pictures
    from ovsam.paper.pictures import read_picture

    path = folders.picture(entry.name)
    content, gap = read_picture(path, [folders.report(name) for name in entry.reports])
    command = picture_command(wanted, entry, folders)
    return Pictures(entry.title, path.name, content, gap, command)


def pictures(
    annotations: Annotated[
        Path,
        options.argument(
            "ANNOTATIONS",
            "The photos with named masks that the reports are about, as for evaluate.",
        ),
    ],
    reports: Annotated[
        list[Path],
        options.argument(
            "REPORT",
            "Two or more reports of `ovsam evaluate --json`. The last one tells which objects "
            "are best and worst.",
        ),
    ],
    output: Annotated[Path, options.option("FILE", "The .png file to write.", "--output", "-o")],
    images: options.ImagesBeside = None,
    each: Annotated[
        int,
        typer.Option(
            min=1, help="How many objects of each kind, from as many photos.", metavar="N"
        ),
    ] = 3,
    device: options.Device = "cpu",
) -> None:
    """Draw models side by side: best, worst and random objects, and where they disagree.

    Each report's model answers the objects that are drawn again.

    Example: `ovsam pictures val.json a.json b.json --images photos -o both.png`
    """
    from ovsam.files import check_output
    from ovsam.formats.layouts import read_annotated
    from ovsam.paper.cases import check_sources, choose, read_answers
    from ovsam.paper.pictures import (
        answer_again,
        check_shown,
        draw_side_by_side,
        write_picture,
    )

    check_output(output, (".png",), [annotations, *filter(None, [images]), *reports])
    if len(reports) < 2:
        raise UsageError("Give two reports or more, one for each model to show.")
    answers = [read_answers(path) for path in reports]
    crowds: Crowds = "objects" if any(one.crowds == "objects" for one in answers) else "left-out"
    content, images_dir = read_annotated(annotations, images, crowds)
    for one in answers:
        check_sources(one, annotations)
    photos = {instance.id: instance.photo_id for instance in content.instances}
    cases = choose(answers, photos, each)
    chosen = list(dict.fromkeys(key for case in cases for key in case.annotation_ids))
    check_shown(content, chosen, images_dir)
    every = set().union(*(one.outcomes for one in answers))
    if apart := sum(any(key not in one.outcomes for one in answers) for key in every):
        typer.echo(f"{apart:,} objects are not in all reports and are not shown", err=True)

    import ovsam
    from ovsam.vocabulary.load import load_vocabulary

    drawn = []
    shown = {photos[key] for key in chosen}
    counter, total = count(1), len(answers) * len(shown)
    with bar("photos") as progress:
        for one in answers:
            provenance = one.content["provenance"]
            names = load_vocabulary(provenance["vocabulary"]["name"])
            predictor = ovsam.load(
                provenance["model"]["name"],
                vocabulary=options.narrowed(names, None, prior=one.prior),
                device=device,
                zoom=one.content["zoom"],
                clean=one.clean,
            )
            found = answer_again(
                predictor,
                one,
                content,
                chosen,
                images_dir,
                progress=lambda *_: progress(next(counter), total),
            )
            drawn.append((one.label, found))
    annotated = {key: answers[0].outcomes[key]["category"] for key in chosen}
    write_picture(output, draw_side_by_side(cases, content, images_dir, drawn, annotated), reports)
    typer.echo(f"wrote {output}: {len(chosen)} objects")
