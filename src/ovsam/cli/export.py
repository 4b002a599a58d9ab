"""`ovsam export`: a model as ONNX files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ovsam.cli import options


def export(
    model: Annotated[
        str,
        options.argument(
            "MODEL",
            "A model with an adapter and a region head, by name or by a checkpoint's path.",
            autocompletion=options.complete_models,
        ),
    ],
    output: Annotated[
        Path,
        options.option("FOLDER", "The folder to make; it must not be there.", "--output", "-o"),
    ],
    precision: Annotated[
        Literal["float32", "float16"],
        typer.Option(
            help="What the weights are stored as; all is computed in float32.",
            metavar="float32|float16",
        ),
    ] = "float32",
    vocabulary: Annotated[
        list[str] | None,
        options.option(
            "WORDS",
            "For a model whose text tower is CLIP's, which is not exported: the names that it will "
            "know, as for 'ovsam segment'. Repeat for more. Left out: coco.",
        ),
    ] = None,
) -> None:
    """Write a model as ONNX files, for this program without torch, and for any other.

    encoder.onnx, decoder.onnx, frozen.onnx and regions.onnx, whose tensors docs/export.md
    describes, and model.json. The folder is a model like any other: `ovsam segment --model FOLDER`.

    Example: `ovsam export lite -o lite-onnx --precision float16`
    """
    from ovsam.extras import EXPORT, check_installed

    check_installed("'ovsam export'", EXPORT, "ovsam[torch]")

    from ovsam.predictor.export import export_model

    export_model(
        model,
        output,
        precision,
        vocabulary or ["coco"],
        progress=lambda name: typer.echo(f"exporting the {name} ...", err=True),
    )
    size = sum(path.stat().st_size for path in output.iterdir())
    typer.echo(f"wrote {output}: {size / 1e6:,.1f} MB")
