"""What commands say beside their figures: what is left out of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from ovsam.evaluate.left_out import LeftOut


def print_left_out(left_out: LeftOut, objects: int) -> None:
    """Say what does not count; a warning where crowd regions are many beside so many objects."""
    from ovsam.formats.crowds import OPTION, many_crowds

    if left_out.sentence:
        typer.echo(left_out.sentence)
    crowds = many_crowds(left_out.crowd_regions, objects, OPTION)
    if crowds is not None:
        typer.echo(f"warning: {crowds}", err=True)
