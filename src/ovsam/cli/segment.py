"""`ovsam segment`: outlines and names of the objects that are pointed at in a photo."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ovsam.cli import options
from ovsam.cli.progress import load_predictor
from ovsam.cli.report import check_outputs, print_written
from ovsam.cli.streams import print_table
from ovsam.errors import PromptError, UnreadableNamesError

if TYPE_CHECKING:
    from ovsam.predictor.predictor import Predictor
    from ovsam.structures import Prediction, Prompt


def segment(
    photo: Annotated[Path, options.argument("PHOTO", "The photo.")],
    box: Annotated[
        list[str] | None,
        options.option(
            "X0,Y0,X1,Y1",
            'An object in a box, "x0,y0,x1,y1"; points of the same object may follow: '
            '"10,20,200,180; 50,60; 70,80,0". Repeat for more objects.',
        ),
    ] = None,
    point: Annotated[
        list[str] | None,
        options.option(
            "X,Y[,0]",
            'An object under a point, "x,y"; further points of the same object follow after a '
            'semicolon or blank, 0 marks one that is not on it: "120,80; 140,95,0". '
            "Repeat for more objects.",
        ),
    ] = None,
    vocabulary: options.Vocabulary = "coco",
    prior: options.Prior = True,
    only: options.Only = None,
    top: Annotated[
        int, typer.Option(min=1, help="How many names for each object.", metavar="N")
    ] = 5,
    threshold: Annotated[
        float | None,
        options.option(
            "P",
            "An object whose first name has a lower score is none of these. Left out: what "
            "the model was calibrated with.",
            min=0,
            max=1,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        options.option(
            "FILE",
            "The picture to write: .png, .jpg or .webp; replaced if it is there. With "
            "neither this nor --json, PHOTO's name with _ovsam.png in the current folder, or "
            "_ovsam-2.png and so on: none is replaced.",
            "--output",
            "-o",
        ),
    ] = None,
    json_path: options.Json = None,
    model: options.Model = "lite",
    size: Annotated[
        str | None,
        options.option(
            "SIZE",
            "Which of the things under a point is meant: small (a part), medium or large (the "
            "whole). Left out: the likeliest.",
        ),
    ] = None,
    zoom: options.Zoom = None,
    clean: options.Clean = True,
    max_pixels: options.MaxPixels = None,
    device: options.Device = "cpu",
) -> None:
    """Outline and name the objects you point at in a photo.

    Coordinates are pixels of the photo as you see it (turned upright), from its top left corner.
    Each --box and each --point is one object; boxes are numbered first.

    Example: `ovsam segment photo.jpg --box 10,20,200,180 --point "120,80; 5,9,0"`
    """
    from ovsam.cli.prompts import parse_prompts
    from ovsam.files import (
        PICTURE_SUFFIXES,
        check_output,
        numbered,
        write_atomically,
        write_beside_others,
        write_picture,
    )
    from ovsam.formats.prediction import photo_to_json, to_json_bytes
    from ovsam.images.draw import draw_predictions
    from ovsam.images.read import DEFAULT_MAX_PIXELS, read_photo
    from ovsam.predictor.checks import check_clicks, checked_size
    from ovsam.vocabulary.load import load_vocabulary

    prompts = parse_prompts(box or [], point or [])
    wanted = None if size is None else checked_size(size)
    if wanted is not None:
        check_clicks(prompts)
    if not prompts:
        raise PromptError(
            "Nothing to segment: point at an object with --point x,y or draw a box around it with "
            "--box x0,y0,x1,y1."
        )
    is_default_name = output is None and json_path is None
    if is_default_name:
        output = Path(f"{photo.stem}_ovsam.png")
        free = next(path for path in numbered(output) if not os.path.lexists(path))
        check_output(free, PICTURE_SUFFIXES)
    elif output is not None:
        check_output(output, PICTURE_SUFFIXES, [photo])
    check_outputs(json_path, [photo, Path(vocabulary)])
    names = options.narrowed(load_vocabulary(vocabulary), only, prior=prior)
    pixels = read_photo(photo, max_pixels=max_pixels or DEFAULT_MAX_PIXELS)
    pixels.setflags(write=False)  # then `encode` keeps it instead of a copy
    size_hw = (pixels.shape[0], pixels.shape[1])
    for prompt in prompts:
        prompt.check_inside(size_hw)

    unread: UnreadableNamesError | None = None
    try:
        predictor = load_predictor(model, names, device=device, zoom=zoom, clean=clean)
    except UnreadableNamesError as error:  # outlines need no names: they are not lost
        import ovsam

        predictor, unread = ovsam.load(model, device=device, zoom=zoom, clean=clean), error
    has_names = predictor.names_objects and unread is None
    encoded = predictor.encode(pixels)
    if has_names:
        predictions = predictor.predict(encoded, prompts, size=wanted, top=top, threshold=threshold)
    else:
        predictions = [
            found.painted() for found in predictor.segment(encoded, prompts, size=wanted)
        ]

    if json_path is not None:
        document = photo_to_json(
            model=predictor.model_name,
            vocabulary=names if unread is not None else predictor.vocabulary,
            photo=str(photo),
            size_hw=size_hw,
            prompts=prompts,
            predictions=predictions,
        )
        write_atomically(json_path, to_json_bytes(document))
    remarks = []
    if not predictor.names_objects:
        remarks.append(f"{predictor.model_name} has masks alone, so no object has a name.")
    if has_names and not all(prediction.calibrated for prediction in predictions):
        remarks.append(_not_calibrated(predictor, threshold))
    del predictor, encoded  # a large photo's picture needs their memory
    if output is not None:
        write = write_beside_others if is_default_name else write_picture
        pixels.setflags(write=True)  # nobody needs them any more as they were
        draw_predictions(pixels, predictions, prompts)
        output = write(output, pixels)
    _print_objects(prompts, predictions, has_names)
    for remark in remarks:
        typer.echo(remark)
    print_written(output, json_path)
    if unread is not None:
        raise UnreadableNamesError(f"{unread} The outlines are written, without names.")


def _print_objects(prompts: list[Prompt], predictions: list[Prediction], has_names: bool) -> None:
    from rich import box as boxes
    from rich.table import Table
    from rich.text import Text

    from ovsam.cli.prompts import format_prompt

    columns = ("object", "prompt", "box", "mask", *(["names"] if has_names else []))
    table = Table(*columns, box=boxes.SIMPLE_HEAD)
    for number, (prompt, prediction) in enumerate(zip(prompts, predictions, strict=True), start=1):
        score = float(prediction.predicted_iou[0])
        extent = ",".join(f"{value:g}" for value in prediction.boxes_xyxy[0])
        cells: list[str | Text] = [
            str(number),
            Text(format_prompt(prompt).replace("; ", "\n")),
            extent if prediction.mask.any() else "no pixel",
            "-" if score != score else f"{score:.2f}",
        ]
        if has_names:
            cells.append(Text("\n".join(_names(prediction))))  # Text: [brackets] are no markup
        table.add_row(*cells)
    print_table(table)


def _names(prediction: Prediction) -> list[str]:
    """What is said of the name of the best mask, line by line."""
    lines = [f"{label.name}  {label.score:.3f}" for label in prediction.labels[0]]
    if (kind := prediction.kinds[0]) is not None:
        lines.insert(0, f"a kind of {kind.name}  {kind.score:.3f}")
    if prediction.none_of_these[0]:
        lines = ["none of these; at best:", *lines] if lines else ["none of these"]
    return lines


def _not_calibrated(predictor: Predictor, threshold: float | None) -> str:
    """That scores are no probabilities, and why."""
    calibrated = [fit.classes for fit in predictor.config.calibration.fits]
    classes = sum(predictor.vocabulary.answerable)
    why = "was never calibrated, see 'ovsam calibrate'"
    if calibrated:
        numbers = " and with ".join(f"{number:,}" for number in calibrated)
        why = f"was calibrated with {numbers} names, not with {classes:,}"
    line = f"The names' scores only rank them: the model {why}."
    if classes > max(calibrated, default=0) and threshold is None:
        line += " None is refused unless --threshold says so."
    return line
