"""`ovsam convert`: a checkpoint of the authors' weights, or of SAM's and CLIP's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ovsam.cli import options


def convert(
    output: Annotated[
        Path, options.argument("FILE", "The .safetensors file to write, replaced if it is there.")
    ],
    sam: Annotated[Path, options.option("FILE", "SAM ViT-H, sam_vit_h_4b8939.pth.")],
    clip: Annotated[
        Path | None,
        options.option(
            "FILE",
            "CLIP, open_clip_model.safetensors of timm/resnet50x16_clip.openai. Left out: SAM "
            "alone.",
        ),
    ] = None,
    sam2clip: Annotated[
        Path | None, options.option("FILE", "The authors' adapter, sam2clip_vith_rn50x16.pth.")
    ] = None,
    clip2sam: Annotated[
        Path | None,
        options.option(
            "FILE", "Their region head and decoder: clip2sam_coco_rn50x16.pth, or the one for LVIS."
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="The model that these files make up. SAM's and CLIP's alone make up a baseline, "
            "such as sam-h+rn50x16-feature-crop, SAM's alone sam-h.",
            metavar="MODEL",
        ),
    ] = "rn50x16",
    sam_decoder: Annotated[
        bool,
        typer.Option(
            "--sam-decoder",
            help="Take SAM's own decoder in place of the authors': it brings several masks for a "
            "prompt and their predicted IoU.",
        ),
    ] = False,
    seen: Annotated[
        str,
        typer.Option(
            help="The classes that the region head was trained on: those of a release, "
            "rn50x16-coco or rn50x16-lvis; a text file, one a line; or LVIS's annotations "
            "(.json), rare classes left out.",
            metavar="CLASSES",
        ),
    ] = "rn50x16-coco",
) -> None:
    """Make one checkpoint of the authors' weights (non-commercial use only), or of SAM and CLIP.

    Example: `ovsam convert sam.safetensors --sam sam.pth --model sam-h`
    """
    from ovsam.extras import TORCH, check_installed
    from ovsam.files import check_output

    check_installed("'ovsam convert'", TORCH, "ovsam[torch]")

    given = [path for path in (sam2clip, clip2sam, sam, clip) if path is not None]
    check_output(output, (".safetensors",), given)

    from ovsam.hub import RELEASES, seen_classes
    from ovsam.model.checkpoint import lacks
    from ovsam.model.convert import convert as run
    from ovsam.model.convert import seen_classes_of

    config = run(
        output,
        sam2clip=sam2clip,
        clip2sam=clip2sam,
        sam=sam,
        clip=clip,
        model=model,
        sam_decoder=sam_decoder,
        seen_classes=seen_classes(seen) if seen in RELEASES else seen_classes_of(seen),
    )
    missing = lacks(config)
    note = f"; without {' and '.join(missing)} (see --sam-decoder)" if missing else ""
    typer.echo(f"wrote {output}{note}")
