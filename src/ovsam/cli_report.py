"""What commands say beside their figures: what is left out of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from ovsam.evaluate.left_out import LeftOut


def print_left_out(left_out: LeftOut, objects: int, remedy: str | None = None) -> None:
    """Say what does not count.

    Args:
        left_out: how much.
        objects: how many objects count: where crowd regions are many beside them, a warning.
        remedy: what to do if they are objects; None = an option of the command.
    """
    from ovsam.data.crowds import OPTION, many_crowds

    if left_out.sentence:
        typer.echo(left_out.sentence)
    crowds = many_crowds(left_out.crowd_regions, objects, remedy or OPTION)
    if crowds is not None:
        typer.echo(f"warning: {crowds}", err=True)
