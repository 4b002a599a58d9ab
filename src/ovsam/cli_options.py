"""Options that several commands have."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

ModelOption = Annotated[
    str, typer.Option(help="A model's name, or the path of a converted checkpoint.")
]
VocabularyOption = Annotated[
    str,
    typer.Option(
        help="The names to choose from: a built-in vocabulary (`ovsam vocabulary list`), a text "
        "file with one class per line, a table (.csv), a list or an annotation file (.json), or "
        'names: "cat, dog/puppy, coffee mug".'
    ),
]
DeviceOption = Annotated[str, typer.Option(help='Where to compute: "cpu", "cuda", "mps".')]
MaxPixelsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Refuse photos with more pixels than this; raise it for photos you trust. "
        "Left out: 134,217,728.",
        show_default=False,
    ),
]
ZoomOption = Annotated[
    bool | None,
    typer.Option(
        "--zoom/--no-zoom",
        help="Look again at the square around each object: finer, slower. "
        "Left out: the model's own default.",
        show_default=False,
    ),
]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Only the classes of the vocabulary that are kinds of this, such as animal. "
        "Repeat for more.",
        metavar="KIND",
        show_default=False,
    ),
]
LimitOption = Annotated[
    int | None, typer.Option(min=1, help="Only the first photos.", show_default=False)
]


class CrowdsKind(StrEnum):
    """What crowd regions (`iscrowd` 1) are."""

    left_out = "left-out"
    objects = "objects"


CrowdsOption = Annotated[
    CrowdsKind,
    typer.Option(
        help="What annotations with 'iscrowd' 1 are: regions of many objects, which do not count, "
        "or objects, as CVAT marks masks drawn with a brush."
    ),
]
JsonOption = Annotated[
    Path | None,
    typer.Option("--json", help="The report as a .json file.", show_default=False),
]
JournalOption = Annotated[
    Path | None,
    typer.Option(
        help="Keep what became of each photo in this .jsonl file; a run that was stopped goes on "
        "from it.",
        show_default=False,
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Share the photos out over so many processes of one thread each, with a model each. "
        "Left out: this process alone, with all of its threads.",
        show_default=False,
    ),
]


def is_given(context: typer.Context, name: str) -> bool:
    """Whether an option stands on the command line, and does not just have its default."""
    return getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
