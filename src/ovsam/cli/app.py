"""The command `ovsam`: one command, one function. Heavy imports stay inside the commands."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated

import typer

from ovsam.cli import (
    calibrate,
    compare,
    complexity,
    convert,
    data,
    detections,
    evaluate,
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


# In the order of the help, whose panels say who needs them.
# Those who segment photos:
app.add_typer(segment.app)
app.add_typer(serve.app)
app.add_typer(models.app)
app.add_typer(vocabulary.app, name="vocabulary", rich_help_panel=options.SEGMENT)
# who measure models:
app.add_typer(evaluate.app)
app.add_typer(compare.app)
app.add_typer(detections.app)
app.add_typer(calibrate.app)
# who train models:
app.add_typer(data.app, name="data", rich_help_panel=options.TRAIN)
app.add_typer(train.app)
# who reproduce the paper:
app.add_typer(paper.app)
app.add_typer(complexity.app)
app.add_typer(convert.app)
