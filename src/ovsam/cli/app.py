"""The command `ovsam`: one command, one function. Heavy imports stay inside the commands."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ovsam.cli import calibrate, data, detections, evaluate, models, paper, train
from ovsam.cli import vocabulary as vocabularies
from ovsam.cli.options import (
    LOOK,
    PAPER,
    TEACH,
    Command,
    DeviceOption,
    Group,
    MaxPixelsOption,
    ModelOption,
    OnlyOption,
    VocabularyOption,
    ZoomOption,
    complete_models,
    narrowed,
)
from ovsam.cli.progress import embed_names
from ovsam.cli.streams import print_table
from ovsam.errors import OvsamError, PromptError, UnreadableNamesError

if TYPE_CHECKING:
    from ovsam.paper.complexity import Complexity
    from ovsam.predictor.predictor import Predictor
    from ovsam.structures import Prediction, Prompt
    from ovsam.vocabulary.vocabulary import Vocabulary

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)
released = typer.Typer()  # commands that the help shows last


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


@app.command(cls=Command, rich_help_panel=LOOK)
def segment(
    photo: Annotated[Path, typer.Argument(help="The photo.", metavar="PHOTO", show_default=False)],
    box: Annotated[
        list[str] | None,
        typer.Option(
            help='An object in a box, "x0,y0,x1,y1"; points of the same object may follow: '
            '"10,20,200,180; 50,60; 70,80,0". Repeat for more objects.',
            metavar="X0,Y0,X1,Y1",
            show_default=False,
        ),
    ] = None,
    point: Annotated[
        list[str] | None,
        typer.Option(
            help='An object under a point, "x,y"; further points of the same object follow after a '
            'semicolon or blank, 0 marks one that is not on it: "120,80; 140,95,0". '
            "Repeat for more objects.",
            metavar="X,Y[,0]",
            show_default=False,
        ),
    ] = None,
    vocabulary: VocabularyOption = "coco",
    only: OnlyOption = None,
    top: Annotated[
        int, typer.Option(min=1, help="How many names for each object.", metavar="N")
    ] = 5,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="An object whose first name has a lower score is none of these. Left out: what "
            "the model was calibrated with.",
            metavar="P",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The picture to write: .png, .jpg or .webp; replaced if it is there. With "
            "neither this nor --json, PHOTO's name with _ovsam.png in the current folder, or "
            "_ovsam-2.png and so on: none is replaced.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    json_path: Annotated[
        Path | None,
        typer.Option(
            "--json",
            help="The results as a .json file, replaced if it is there.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    model: ModelOption = "lite",
    zoom: ZoomOption = None,
    max_pixels: MaxPixelsOption = None,
    device: DeviceOption = "cpu",
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
        write_beside_others,
        write_picture,
    )
    from ovsam.images.draw import draw_overlay
    from ovsam.images.read import DEFAULT_MAX_PIXELS, read_photo
    from ovsam.vocabulary.load import load_vocabulary

    prompts = parse_prompts(box or [], point or [])
    if not prompts:
        raise PromptError(
            "Nothing to segment: point at an object with --point x,y or draw a box around it with "
            "--box x0,y0,x1,y1."
        )
    unnamed = output is None and json_path is None
    if unnamed:
        output = Path(f"{photo.stem}_ovsam.png")
        free = next(path for path in numbered(output) if not os.path.lexists(path))
        check_output(free, PICTURE_SUFFIXES)
    elif output is not None:
        check_output(output, PICTURE_SUFFIXES, [photo])
    if json_path is not None:
        check_output(json_path, (".json",), [photo, Path(vocabulary)])
    names = narrowed(load_vocabulary(vocabulary), only)
    pixels = read_photo(photo, max_pixels=max_pixels or DEFAULT_MAX_PIXELS)
    size_hw = (pixels.shape[0], pixels.shape[1])
    for prompt in prompts:
        prompt.check_inside(size_hw)

    import ovsam

    unread: UnreadableNamesError | None = None
    try:
        predictor = ovsam.load(model, vocabulary=names, device=device, zoom=zoom)
    except UnreadableNamesError as error:  # the outlines need no names: they are not lost
        unread = error
        predictor = _without_names(model, names, device, zoom, error)
    embed_names(predictor)
    predictions = predictor.predict(predictor.encode(pixels), prompts, top=top, threshold=threshold)

    if json_path is not None:
        _write_json(json_path, predictor, photo, size_hw, prompts, predictions)
    if output is not None:
        write = write_beside_others if unnamed else write_picture
        output = write(output, draw_overlay(pixels, predictions, prompts))
    _print_objects(prompts, predictions)
    if not predictor.has_oracle and not all(prediction.calibrated for prediction in predictions):
        _say_not_calibrated(predictor, threshold)
    for path in (output, json_path):
        if path is not None:
            typer.echo(f"wrote {path}")
    if unread is not None:
        raise UnreadableNamesError(f"{unread} The outlines are written, without names.")


@app.command(cls=Command, rich_help_panel=LOOK)
def demo(
    photo: Annotated[
        Path | None,
        typer.Argument(help="A photo to begin with.", metavar="PHOTO", show_default=False),
    ] = None,
    host: Annotated[
        str, typer.Option(help="The address to serve on.", metavar="ADDRESS")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, help="The port; 0 = any free one.", metavar="N"),
    ] = 7860,
    model: ModelOption = "lite",
    vocabulary: VocabularyOption = "coco",
    token: Annotated[
        str | None,
        typer.Option(
            help="A secret that every request must carry. Left out: one is made up, unless only "
            "this machine can reach the page.",
            metavar="TEXT",
            show_default=False,
        ),
    ] = None,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the browser.")
    ] = True,
    max_pixels: MaxPixelsOption = None,
    device: DeviceOption = "cpu",
) -> None:
    """Open a local page: click objects in a photo, see their masks and names.

    Example: `ovsam demo photo.jpg --vocabulary "cat, dog/puppy, coffee mug"`
    """
    from ovsam.images.read import DEFAULT_MAX_PIXELS, read_photo
    from ovsam.vocabulary.load import load_vocabulary
    from ovsam.web.server import serve

    names = load_vocabulary(vocabulary)
    limit = max_pixels or DEFAULT_MAX_PIXELS
    if photo is not None:
        read_photo(photo, max_pixels=limit)  # refuse a bad one before the model loads

    import ovsam

    predictor = ovsam.load(model, vocabulary=names, device=device)
    embed_names(predictor)
    serve(predictor, photo, host, port, token, open_browser, max_pixels=limit)


@released.command(cls=Command, rich_help_panel=PAPER)
def complexity(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Models by name, or checkpoints by path. Left out: all that have a name.",
            metavar="MODEL",
            show_default=False,
            autocompletion=complete_models,
        ),
    ] = None,
) -> None:
    """Count parameters and multiply-adds, part by part, beside the paper's figures.

    Example: `ovsam complexity lite rn50x16-coco`
    """
    from ovsam.paper.complexity import PROMPTS, model_names
    from ovsam.paper.complexity import complexity as count

    for name in models or model_names():
        _print_complexity(count(name))
    typer.echo(
        "Counted: matrix products and convolutions of the model as built. The paper's figures "
        f"agree with one photo and {PROMPTS} prompts."
    )


@released.command(cls=Command, rich_help_panel=PAPER)
def convert(
    output: Annotated[
        Path,
        typer.Argument(
            help="The .safetensors file to write, replaced if it is there.",
            metavar="FILE",
            show_default=False,
        ),
    ],
    sam: Annotated[
        Path,
        typer.Option(help="SAM ViT-H, sam_vit_h_4b8939.pth.", metavar="FILE", show_default=False),
    ],
    clip: Annotated[
        Path | None,
        typer.Option(
            help="CLIP, open_clip_model.safetensors of timm/resnet50x16_clip.openai. Left out: SAM "
            "alone.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    sam2clip: Annotated[
        Path | None,
        typer.Option(
            help="The authors' adapter, sam2clip_vith_rn50x16.pth.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    clip2sam: Annotated[
        Path | None,
        typer.Option(
            help="Their region head and decoder: clip2sam_coco_rn50x16.pth, or the one for LVIS.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="The model that these files make up. SAM's and CLIP's alone make up a baseline, "
            "such as sam-vit-h+rn50x16-feature-crop, SAM's alone sam-vit-h-oracle.",
            metavar="MODEL",
        ),
    ] = "rn50x16",
    sam_decoder: Annotated[
        bool,
        typer.Option(
            "--sam-decoder",
            help="Take SAM's own decoder in place of the authors': it brings several masks for a "
            "prompt and their predicted quality.",
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

    Example: `ovsam convert sam.safetensors --sam sam.pth --model sam-vit-h-oracle`
    """
    from ovsam.files import check_output

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


def _without_names(
    model: str, names: Vocabulary, device: str, zoom: bool | None, error: UnreadableNamesError
) -> Predictor:
    """The model's masks alone.

    Raises:
        UnreadableNamesError: the one that is given, where they cannot be had alone.
    """
    import ovsam
    from ovsam.model.presets import split_baseline

    name = model if os.path.isfile(model) else split_baseline(model)[0]
    try:
        return ovsam.load(name, vocabulary=names, device=device, zoom=zoom)
    except OvsamError:
        raise error from None


def _print_objects(prompts: list[Prompt], predictions: list[Prediction]) -> None:
    from rich import box as boxes
    from rich.table import Table
    from rich.text import Text

    from ovsam.cli.prompts import format_prompt

    table = Table("object", "prompt", "box", "mask", "names", box=boxes.SIMPLE_HEAD)
    for number, (prompt, prediction) in enumerate(zip(prompts, predictions, strict=True), start=1):
        score = float(prediction.mask_scores[0])
        extent = ",".join(f"{value:g}" for value in prediction.boxes_xyxy[0])
        lines = [f"{label.name}  {label.score:.3f}" for label in prediction.labels[0]]
        if (kind := prediction.kinds[0]) is not None:
            lines.insert(0, f"a kind of {kind.name}  {kind.score:.3f}")
        if prediction.none_of_these[0]:
            lines = ["none of these; at best:", *lines] if lines else ["none of these"]
        table.add_row(
            str(number),
            Text(format_prompt(prompt).replace("; ", "\n")),
            extent if prediction.mask.any() else "no pixel",
            "-" if score != score else f"{score:.2f}",
            Text("\n".join(lines)),  # Text: a name in [brackets] is no markup
        )
    print_table(table)


def _say_not_calibrated(predictor: Predictor, threshold: float | None) -> None:
    known = predictor.config.calibration.classes
    asked = sum(predictor.vocabulary.answerable)
    why = "was never calibrated, see 'ovsam calibrate'"
    if known:
        why = f"was calibrated with {known:,} names, not with {asked:,}"
    refuses = (
        ""
        if asked <= known or threshold is not None
        else " None is refused unless --threshold says so."
    )
    typer.echo(f"The names' scores only rank them: the model {why}.{refuses}")


def _write_json(
    path: Path,
    predictor: Predictor,
    photo: Path,
    size_hw: tuple[int, int],
    prompts: list[Prompt],
    predictions: list[Prediction],
) -> None:
    from ovsam.files import write_atomically
    from ovsam.formats.prediction import photo_to_json, to_json_bytes

    document = photo_to_json(
        model=predictor.name,
        vocabulary=predictor.vocabulary,
        photo=str(photo),
        size_hw=size_hw,
        prompts=prompts,
        predictions=predictions,
    )
    write_atomically(path, to_json_bytes(document))


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


# In the order of the help.
app.add_typer(models.app)
app.add_typer(vocabularies.app, name="vocabulary", rich_help_panel=LOOK)
app.add_typer(evaluate.app)
app.add_typer(detections.app)
app.add_typer(calibrate.app)
app.add_typer(data.app, name="data", rich_help_panel=TEACH)
app.add_typer(train.app)
app.add_typer(paper.app)
app.add_typer(released)
