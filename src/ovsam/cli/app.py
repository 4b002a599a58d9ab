"""The command `ovsam`: one command, one function. Heavy imports stay inside the commands."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from typing import Annotated

import typer

from ovsam.cli import (
    benchmark,
    calibrate,
    compare,
    complexity,
    convert,
    data,
    detections,
    evaluate,
    export,
    models,
    options,
    paper,
    segment,
    serve,
    train,
    vocabulary,
)

app = typer.Typer(
    cls=options.Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ovsam {metadata.version('ovsam')}")
        typer.echo("code: Apache-2.0; weights have terms of their own, see 'ovsam models'")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Open-vocabulary SAM: click or box an object in a photo, get its mask and its name.

    Each command has an example in its own help, as in `ovsam segment -h`.
    """


def _add(panel: str, *commands: Callable[..., None]) -> None:
    """Add commands in this order; beside each other on one `Typer` groups would come last."""
    for command in commands:
        alone = typer.Typer()
        alone.command(cls=options.Command, rich_help_panel=panel)(command)
        app.add_typer(alone)


# In the order of the help, whose panels say who needs them.
_add(options.SEGMENT, segment.segment, serve.demo)
app.add_typer(models.app, name="models", rich_help_panel=options.SEGMENT)
app.add_typer(vocabulary.app, name="vocabulary", rich_help_panel=options.SEGMENT)
_add(options.MEASURE, evaluate.evaluate, compare.compare, detections.evaluate_detections)
_add(options.MEASURE, detections.detect, calibrate.calibrate, benchmark.benchmark)
app.add_typer(data.app, name="data", rich_help_panel=options.TRAIN)
_add(options.TRAIN, train.distill, train.train, train.cache_features)
_add(options.PAPER, paper.tables, paper.pictures, complexity.complexity, convert.convert)
_add(options.PAPER, export.export)
