"""`ovsam demo`: a local page to click objects on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ovsam.cli import options
from ovsam.cli.progress import load_predictor


def demo(
    photo: Annotated[Path | None, options.argument("PHOTO", "A photo to begin with.")] = None,
    host: Annotated[
        str, typer.Option(help="The address to serve on.", metavar="ADDRESS")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, help="The port; 0 = any free one.", metavar="N"),
    ] = 7860,
    model: options.Model = "lite",
    vocabulary: options.Vocabulary = "coco",
    prior: options.Prior = True,
    token: Annotated[
        str | None,
        options.option(
            "TEXT",
            "A secret that every request must carry. Left out: one is made up, unless only "
            "this machine can reach the page.",
        ),
    ] = None,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the browser.")
    ] = True,
    max_pixels: options.MaxPixels = None,
    device: options.Device = "cpu",
) -> None:
    """Open a local page: click objects in a photo, see their masks and names.

    Example: `ovsam demo photo.jpg --vocabulary "cat, dog/puppy, coffee mug"`
    """
    from ovsam.images.read import DEFAULT_MAX_PIXELS, read_photo
    from ovsam.vocabulary.load import load_vocabulary
    from ovsam.web.server import serve

    names = options.narrowed(load_vocabulary(vocabulary), None, prior=prior)
    limit = max_pixels or DEFAULT_MAX_PIXELS
    if photo is not None:
        read_photo(photo, max_pixels=limit)  # refuse a bad one before the model loads
    predictor = load_predictor(model, names, device=device)
    serve(predictor, photo, host, port, token, open_browser, max_pixels=limit)
