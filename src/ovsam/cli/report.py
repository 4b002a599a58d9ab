"""What commands have in common that write reports: their files, what is left out of figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from ovsam.evaluate.left_out import LeftOut


def check_outputs(
    json_path: Path | None, inputs: Sequence[Path], journal: Path | None = None
) -> None:
    """Refuse to begin where the report or the journal could not be written.

    Raises:
        OutputError: says why.
        UsageError: a suffix is another than the file's.
    """
    from ovsam.files import check_output

    if json_path is not None:
        check_output(json_path, (".json",), inputs)
    if journal is not None:
        check_output(journal, (".jsonl",))


def write_report(
    path: Path, report: Mapping[str, object], more: Mapping[str, object], **made_from: Any
) -> None:
    """Write what was measured, and what from, as JSON.

    Args:
        path: the file.
        report: what was measured.
        more: what else of the provenance is to be kept.
        made_from: see `provenance`.

    Raises:
        OutputError: it cannot be written.
    """
    from ovsam.evaluate.provenance import provenance
    from ovsam.files import write_atomically
    from ovsam.formats.prediction import to_json_bytes
    from ovsam.hub import checkpoint_sha256

    known = provenance(**made_from, model_sha256=checkpoint_sha256)
    write_atomically(path, to_json_bytes({**report, "provenance": {**known, **more}}))


def print_written(*paths: Path | None) -> None:
    """Say which files there are now; None was not asked for."""
    for path in paths:
        if path is not None:
            typer.echo(f"wrote {path}")


def print_left_out(left_out: LeftOut, objects: int) -> None:
    """Say what does not count; a warning where crowd regions are many beside so many objects."""
    from ovsam.formats.crowds import OPTION, many_crowds

    if left_out.sentence:
        typer.echo(left_out.sentence)
    crowds = many_crowds(left_out.crowd_regions, objects, OPTION)
    if crowds is not None:
        typer.echo(f"warning: {crowds}", err=True)
