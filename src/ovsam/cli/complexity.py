"""`ovsam complexity`: what models cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ovsam.cli import options

if TYPE_CHECKING:
    from ovsam.paper.complexity import Complexity


def complexity(
    models: Annotated[
        list[str] | None,
        options.argument(
            "MODEL",
            "Models by name, or checkpoints by path. Left out: all that have a name.",
            autocompletion=options.complete_models,
        ),
    ] = None,
) -> None:
    """Count parameters and multiply-adds, part by part, beside the paper's figures.

    Example: `ovsam complexity lite rn50x16-coco`
    """
    from ovsam.extras import TORCH, check_installed

    check_installed("'ovsam complexity'", TORCH, "ovsam[torch]")

    from ovsam.paper.complexity import PROMPTS, model_names
    from ovsam.paper.complexity import complexity as count

    for name in models or model_names():
        _print_complexity(count(name))
    typer.echo(
        "Counted: matrix products and convolutions of the model as built. The paper's figures "
        f"agree with one photo and {PROMPTS} prompts."
    )


def _print_complexity(counts: Complexity) -> None:
    from rich import box as boxes
    from rich.console import Console
    from rich.table import Table

    from ovsam.paper.complexity import PROMPTS

    table = Table(title=counts.model, title_justify="left", box=boxes.SIMPLE_HEAD)
    for heading in ("part", "runs", "parameters, M", "multiply-adds, G"):
        table.add_column(heading, justify="right" if "," in heading else "left")

    def add(name: str, runs: str, parameters: float | None, multiply_adds: float) -> None:
        shown = "" if parameters is None else f"{parameters / 1e6:,.2f}"
        table.add_row(name, runs, shown, f"{multiply_adds / 1e9:,.2f}")

    for part in counts.parts:
        add(part.name, f"per {part.per}", part.parameters or None, part.multiply_adds)
    table.add_section()
    add("one photo", "", None, counts.encode)
    add("one prompt", "", None, counts.prompt)
    add(f"one photo, {PROMPTS} prompts", "", counts.parameters, counts.total)
    if counts.paper:
        multiply_adds, parameters = counts.paper
        add("the paper", "", parameters, multiply_adds)
    Console().print(table)
