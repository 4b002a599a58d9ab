"""`ovsam data`: commands about data sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ovsam.cli import options
from ovsam.cli.progress import bar
from ovsam.cli.report import check_outputs, print_written
from ovsam.errors import and_more, first_few

if TYPE_CHECKING:
    from ovsam.data.check import Contents

app = typer.Typer(cls=options.Group, no_args_is_help=True, rich_markup_mode="markdown")

SHOWN = 20  # problems on screen; the JSON file has them all
CLASSES_SHOWN = 15


@app.callback()
def main() -> None:
    """Look at data sets.

    Example: `ovsam data check annotations.json --images photos`
    """


@app.command(cls=options.Command)
def check(
    path: Annotated[
        Path,
        options.argument(
            "DATA",
            "An annotation file in COCO's format (also LVIS, Objects365, V3Det), YOLO's "
            "data.yaml, or a folder: LabelMe, YOLO, SA-1B, `images/` and `masks/`, or a folder or "
            "tar file for each class.",
        ),
    ],
    images: options.ImagesBeside = None,
    sheet: Annotated[
        Path | None,
        options.option("FILE", "A picture of some photos with their masks, to be written."),
    ] = None,
    json_path: options.Json = None,
) -> None:
    """Say what a data set contains and what is wrong with it; exit code 1 if anything is.

    Example: `ovsam data check annotations.json --images photos --sheet sheet.png`
    """
    from ovsam.data.check import check as run
    from ovsam.data.contact_sheet import contact_sheet
    from ovsam.files import PICTURE_SUFFIXES, check_output, write_atomically, write_picture
    from ovsam.formats.prediction import to_json_bytes

    if sheet is not None:
        check_output(sheet, PICTURE_SUFFIXES, [path] if images is None else [path, images])
    check_outputs(json_path, [path])
    with bar("photos") as progress:
        found = run(path, images, progress=lambda done: progress(done, None))
    if json_path is not None:
        write_atomically(json_path, to_json_bytes(_as_dict(found)))
    if sheet is not None:
        write_picture(sheet, contact_sheet(found.samples))
    _print(found)
    print_written(sheet, json_path)
    if found.problems:
        raise typer.Exit(1)


def _print(found: Contents) -> None:
    from rich import box as boxes
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ovsam.formats.crowds import IN_FILE, many_crowds

    console = Console()
    objects = sum(found.instances.values())
    unnamed = not found.classes
    table = Table(box=boxes.SIMPLE, show_header=False)
    rows = [
        ("layout", found.layout),
        ("photos", f"{found.photos:,} ({found.unlabelled:,} with nothing marked)"),
        ("objects", f"{objects:,}" + ("" if unnamed else f" of {len(found.classes):,} classes")),
    ]
    if found.sizes:
        rows.append(("sizes", ", ".join(f"{found.sizes[k]:,} {k}" for k in found.sizes)))
    if found.without_mask:
        rows.append(("boxes without a mask", f"{found.without_mask:,}"))
    if found.crowds:
        rows.append(("crowd regions, left out", f"{found.crowds:,}"))
    if found.headings:
        rows.append(("headings, no classes", ", ".join(found.headings)))
    rows += [("ignored", f"{count:,} {what}") for what, count in found.ignored.items()]
    rows += [("note", f"{count:,} {what}") for what, count in found.notes.items()]
    for name, value in rows:
        table.add_row(name, Text(value))
    console.print(table)
    if not unnamed:
        common = found.instances.most_common(CLASSES_SHOWN)
        if common:
            console.print("most common: " + ", ".join(f"{name} {n:,}" for name, n in common))
        empty = [name for name in found.classes if not found.instances[name]]
        if empty:
            shown = first_few(empty, CLASSES_SHOWN)
            console.print(f"classes without an object ({len(empty):,}): {shown}")
    if not objects:
        console.print("There is no object: evaluation needs some.")
    if found.without_mask:
        console.print(
            f"Evaluation needs masks: {found.without_mask:,} of the objects have none.",
            highlight=False,
        )
    if (crowds := many_crowds(found.crowds, objects, IN_FILE)) is not None:
        console.print(f"note: {crowds}", markup=False, highlight=False, soft_wrap=True)
    if not found.problems:
        console.print("nothing wrong")
        return
    console.print(f"\n{len(found.problems):,} wrong:")
    for problem in found.problems[:SHOWN]:
        console.print(f"  {problem}", markup=False, highlight=False, soft_wrap=True)
    if len(found.problems) > SHOWN:
        console.print(f"  … {and_more(len(found.problems) - SHOWN)}; --json writes all of them")
    console.print(
        "Correct these or take them out: evaluation refuses what cannot be used and warns of the "
        "rest, training and compare leave out what they cannot use.",
        soft_wrap=True,
    )


def _as_dict(found: Contents) -> dict[str, object]:
    return {
        "layout": found.layout,
        "photos": found.photos,
        "photos_with_nothing_marked": found.unlabelled,
        "classes": list(found.classes),
        "objects": dict(found.instances.most_common()),
        "sizes": dict(found.sizes),
        "boxes_without_mask": found.without_mask,
        "crowd_regions": found.crowds,
        "headings": list(found.headings),
        "ignored": dict(found.ignored),
        "notes": dict(found.notes),
        "problems": found.problems,
    }
