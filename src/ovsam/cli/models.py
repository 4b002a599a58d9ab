"""`ovsam models`: which models have a name, and what their weights may be used for."""

from __future__ import annotations

from dataclasses import dataclass

import typer

from ovsam.cli.streams import print_table


@dataclass(frozen=True)
class Named:
    """A model that has a name."""

    encoder: str
    parameters: str
    terms: str


_RELEASED = Named("CLIP RN50x16", "304 M", "non-commercial use only (S-Lab License 1.0)")
MODELS = {
    "lite": Named(
        "EfficientNet-Lite2 and MiniLM",
        "11.7 M",
        "research and other non-commercial use (THIRD_PARTY.md)",
    ),
    "rn50x16-coco": _RELEASED,
    "rn50x16-lvis": _RELEASED,
}


def models() -> None:
    """Say which models there are, whether they are here already, and their weights' terms.

    Example: `ovsam models`
    """
    from rich import box as boxes
    from rich.table import Table

    from ovsam.hub import find_model

    table = Table(
        "model", "encoder", "parameters", "here", "weights are for", box=boxes.SIMPLE_HEAD
    )
    for name, model in MODELS.items():
        here = "yes" if find_model(name).path.is_file() else "fetched at first use"
        table.add_row(name, model.encoder, model.parameters, here, model.terms)
    print_table(table)
    typer.echo("A checkpoint of your own is given by its path. The code of ovsam is Apache-2.0.")
