"""The command `ovsam`: one command, one function. Heavy imports stay inside the commands."""

from __future__ import annotations

from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from ovsam import cli_calibrate, cli_data, cli_detections, cli_train, cli_vocabulary
from ovsam.errors import OvsamError, PromptError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ovsam.evaluate.agreement import AgreementReport
    from ovsam.evaluate.clicks import ClickReport
    from ovsam.evaluate.metrics import Summary
    from ovsam.evaluate.run import Report
    from ovsam.model.complexity import Complexity
    from ovsam.predictor import Predictor
    from ovsam.structures import Prediction, Prompt

_INTERRUPTED = 130


class _Group(TyperGroup):
    """Turns what a user can cause into one sentence on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:  # Typer's click, vendored or not
        try:
            return super().invoke(ctx)
        except OvsamError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from error
        except KeyboardInterrupt as error:
            typer.echo("interrupted", err=True)
            raise typer.Exit(_INTERRUPTED) from error


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)

app.add_typer(cli_data.app, name="data")
app.add_typer(cli_train.app)
app.add_typer(cli_detections.app)
app.add_typer(cli_calibrate.app)
app.add_typer(cli_vocabulary.app, name="vocabulary")

ModelOption = Annotated[
    str, typer.Option(help="A model's name, or the path of a converted checkpoint.")
]
VocabularyOption = Annotated[
    str,
    typer.Option(
        help="The names to choose from: a built-in vocabulary (`ovsam vocabulary list`), a text "
        'file with one class per line, an annotation file (.json), or a list: "cat, dog/puppy, '
        'coffee mug".'
    ),
]
DeviceOption = Annotated[str, typer.Option(help='Where to compute: "cpu", "cuda", "mps".')]
MaxPixelsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Refuse photos with more pixels than this; raise it for photos you trust. "
        "Left out: 134,217,728.",
        show_default=False,
    ),
]
ZoomOption = Annotated[
    bool | None,
    typer.Option(
        "--zoom/--no-zoom",
        help="Look again at the square around each object: finer, slower. "
        "Left out: the model's own default.",
        show_default=False,
    ),
]


class PromptKind(StrEnum):
    """How `compare` points at an object."""

    box = "box"
    noisy_box = "noisy-box"
    point = "point"
    random_point = "random-point"


class EvaluationKind(StrEnum):
    """How `evaluate` points at an object."""

    box = "box"
    noisy_box = "noisy-box"
    point = "point"
    random_point = "random-point"
    point_true_box = "point-true-box"


_PROMPTS = (
    "Annotated boxes, the same with SAM's noise (a tenth of their sides), centre points of "
    "annotated masks, or any points of them"
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ovsam {metadata.version('ovsam')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Open-vocabulary SAM: click or box an object in a photo, get its mask and its name."""


@app.command()
def segment(
    photo: Annotated[Path, typer.Argument(help="The photo.", show_default=False)],
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
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Only the classes of the vocabulary that are kinds of this, such as animal. "
            "Repeat for more.",
            metavar="KIND",
            show_default=False,
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many names for each object.")] = 5,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="An object whose first name has a lower score is none of these. Left out: what "
            "the model was calibrated with.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The picture to write: .png, .jpg or .webp. With neither this nor --json, "
            "PHOTO's name with _ovsam.png in the current folder.",
            show_default=False,
        ),
    ] = None,
    json_path: Annotated[
        Path | None,
        typer.Option("--json", help="The results as a .json file.", show_default=False),
    ] = None,
    model: ModelOption = "lite",
    zoom: ZoomOption = None,
    max_pixels: MaxPixelsOption = None,
    device: DeviceOption = "cpu",
) -> None:
    """Outline and name the objects you point at in a photo.

    Coordinates are pixels of the photo as you see it (turned upright), from its top left corner.
    Each --box and each --point is one object; boxes are numbered first.

    Example: ovsam segment photo.jpg --box 10,20,200,180 --point "120,80; 140,95,0"
    """
    from ovsam.output import PICTURE_SUFFIXES, check_output
    from ovsam.photo import DEFAULT_MAX_PIXELS, read_photo
    from ovsam.prompt_text import parse_prompts
    from ovsam.vocabulary import load_vocabulary

    prompts = parse_prompts(box or [], point or [])
    if not prompts:
        raise PromptError(
            "Nothing to segment: point at an object with --point x,y or draw a box around it with "
            "--box x0,y0,x1,y1."
        )
    if output is None and json_path is None:
        output = Path(f"{photo.stem}_ovsam.png")
    if output is not None:
        check_output(output, PICTURE_SUFFIXES, [photo])
    if json_path is not None:
        check_output(json_path, (".json",), [photo, Path(vocabulary)])
    names = load_vocabulary(vocabulary)
    if only:
        names = names.only(*only)
    pixels = read_photo(photo, max_pixels=max_pixels or DEFAULT_MAX_PIXELS)
    size_hw = (pixels.shape[0], pixels.shape[1])
    for prompt in prompts:
        prompt.check_inside(size_hw)

    import ovsam

    predictor = ovsam.load(model, vocabulary=names, device=device, zoom=zoom)
    _embed_names(predictor)
    predictions = predictor.predict(predictor.encode(pixels), prompts, top=top, threshold=threshold)

    _print_objects(prompts, predictions)
    if output is not None:
        _write_overlay(output, pixels, prompts, predictions)
    if json_path is not None:
        _write_json(json_path, predictor, photo, size_hw, prompts, predictions)


@app.command()
def evaluate(
    annotations: Annotated[
        Path, typer.Argument(help="COCO instance annotations (.json).", show_default=False)
    ],
    images: Annotated[Path, typer.Option(help="The folder of the photos.", show_default=False)],
    prompts: Annotated[
        EvaluationKind,
        typer.Option(
            help=f"{_PROMPTS}; or centre points where, as the authors measure, the name is that of "
            "the annotated box."
        ),
    ] = EvaluationKind.box,
    clicks: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Instead, click each object so often, each time where the mask is most wrong, "
            "and report the IoU after each click.",
            show_default=False,
        ),
    ] = None,
    vocabulary: VocabularyOption = "coco",
    json_path: Annotated[
        Path | None,
        typer.Option("--json", help="The report as a .json file.", show_default=False),
    ] = None,
    by_class: Annotated[
        bool, typer.Option("--by-class", help="Print a row for each class, too.")
    ] = False,
    reliability: Annotated[
        Path | None,
        typer.Option(
            help="A plot of how far the names' scores can be trusted, as a .png file.",
            show_default=False,
        ),
    ] = None,
    model: ModelOption = "lite",
    zoom: ZoomOption = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first photos.", show_default=False)
    ] = None,
    device: DeviceOption = "cpu",
) -> None:
    """Measure a model on annotated photos: mean IoU of its masks, share of right names.

    Example: ovsam evaluate instances_val2017.json --images val2017 --prompts point --by-class
    """
    from rich.console import Console
    from rich.progress import Progress

    from ovsam.data.coco import read_annotations
    from ovsam.evaluate.clicks import ClickReport, evaluate_clicks
    from ovsam.evaluate.run import evaluate as run
    from ovsam.export import to_json_bytes
    from ovsam.output import check_output, write_atomically
    from ovsam.vocabulary import load_vocabulary

    if json_path is not None:
        check_output(json_path, (".json",), [annotations, Path(vocabulary)])
    if clicks is not None and (by_class or reliability is not None):
        raise OvsamError(
            "--clicks measures masks alone: leave out --by-class and --reliability, or --clicks."
        )
    if reliability is not None:
        check_output(reliability, (".png",))

        from ovsam.evaluate.reliability import draw_reliability
    content = read_annotations(annotations)
    names = load_vocabulary(vocabulary)

    import ovsam

    predictor = ovsam.load(model, vocabulary=names, device=device, zoom=zoom)
    _embed_names(predictor)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("photos", total=None)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        report: Report | ClickReport
        if clicks is None:
            report = run(
                predictor,
                content,
                images,
                prompts=prompts.value,
                zoom=zoom,
                limit=limit,
                progress=advance,
            )
        else:
            report = evaluate_clicks(
                predictor,
                content,
                images,
                clicks=clicks,
                zoom=zoom,
                limit=limit,
                progress=advance,
            )
    if isinstance(report, ClickReport):
        _print_clicks(report)
    else:
        _print_report(report, by_class)
    if json_path is not None:
        write_atomically(json_path, to_json_bytes(report.as_dict()))
        typer.echo(f"wrote {json_path}")
    if reliability is not None and not isinstance(report, ClickReport):
        title = f"{report.model}, {report.prompts} prompts, {report.vocabulary}"
        draw_reliability(report.calibration, title, reliability)
        typer.echo(f"wrote {reliability}")


@app.command()
def compare(
    data: Annotated[
        Path,
        typer.Argument(
            help="Photos with objects: an annotation file in COCO's format, a folder or a list of "
            "folders of SA-1B (val.txt), or a folder with `images/` and `masks/`.",
            show_default=False,
        ),
    ],
    teacher: Annotated[
        str,
        typer.Option(
            help="The model to compare with: its name, or the path of a converted checkpoint.",
            show_default=False,
        ),
    ],
    images: Annotated[
        Path | None,
        typer.Option(
            help="The photos of an annotation file. Left out: beside it.", show_default=False
        ),
    ] = None,
    prompts: Annotated[PromptKind, typer.Option(help=f"{_PROMPTS}.")] = PromptKind.box,
    json_path: Annotated[
        Path | None,
        typer.Option("--json", help="The report as a .json file.", show_default=False),
    ] = None,
    model: ModelOption = "lite",
    zoom: ZoomOption = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first photos.", show_default=False)
    ] = None,
    objects: Annotated[
        int | None,
        typer.Option(min=1, help="Only the largest objects of each photo.", show_default=False),
    ] = None,
    device: DeviceOption = "cpu",
) -> None:
    """Measure how alike two models' masks are: mean IoU where both are asked the same.

    Example: ovsam compare bsds500/val.txt --model student.safetensors --teacher lite
    """
    from rich.console import Console
    from rich.progress import Progress

    from ovsam.data.dataset import read_data_set
    from ovsam.evaluate.agreement import agreement
    from ovsam.export import to_json_bytes
    from ovsam.output import check_output, write_atomically
    from ovsam.vocabulary import load_vocabulary

    if json_path is not None:
        check_output(json_path, (".json",), [data])
    data_set = read_data_set(data, images)
    names = load_vocabulary(["object"])  # names play no part, but a predictor has some

    import ovsam

    student_predictor, teacher_predictor = (
        ovsam.load(name, vocabulary=names, device=device, zoom=zoom) for name in (model, teacher)
    )
    _embed_names(student_predictor)
    _embed_names(teacher_predictor)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("photos", total=None)
        report = agreement(
            student_predictor,
            teacher_predictor,
            data_set,
            prompts=prompts.value,
            zoom=zoom,
            limit=limit,
            objects=objects,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    _print_agreement(report)
    if json_path is not None:
        write_atomically(json_path, to_json_bytes(report.as_dict()))
        typer.echo(f"wrote {json_path}")


@app.command()
def demo(
    photo: Annotated[
        Path | None, typer.Argument(help="A photo to begin with.", show_default=False)
    ] = None,
    host: Annotated[str, typer.Option(help="The address to serve on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 = any free one.")] = 7860,
    model: ModelOption = "lite",
    vocabulary: VocabularyOption = "coco",
    token: Annotated[
        str | None,
        typer.Option(
            help="A secret that every request must carry. Left out: one is made up, unless only "
            "this machine can reach the page.",
            show_default=False,
        ),
    ] = None,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the browser.")
    ] = True,
    max_pixels: MaxPixelsOption = None,
    device: DeviceOption = "cpu",
) -> None:
    """Open a local page: click objects in a photo, see their masks and names."""
    from ovsam.photo import DEFAULT_MAX_PIXELS, read_photo
    from ovsam.vocabulary import load_vocabulary
    from ovsam.web.server import serve

    names = load_vocabulary(vocabulary)
    limit = max_pixels or DEFAULT_MAX_PIXELS
    if photo is not None:
        read_photo(photo, max_pixels=limit)  # refuse a bad one before the model loads

    import ovsam

    predictor = ovsam.load(model, vocabulary=names, device=device)
    _embed_names(predictor)
    serve(predictor, photo, host, port, token, open_browser, max_pixels=limit)


@app.command()
def complexity(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Models by name, or checkpoints by path. Left out: all that have a name.",
            metavar="[MODEL]...",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Count parameters and multiply-adds, part by part, beside the paper's figures."""
    from ovsam.model.complexity import PROMPTS, model_names
    from ovsam.model.complexity import complexity as count

    for name in models or model_names():
        _print_complexity(count(name))
    typer.echo(
        "Counted: matrix products and convolutions of the model as built. The paper's figures "
        f"agree with one photo and {PROMPTS} prompts."
    )


@app.command()
def convert(
    output: Annotated[
        Path, typer.Argument(help="The .safetensors file to write.", show_default=False)
    ],
    sam2clip: Annotated[
        Path,
        typer.Option(help="The authors' adapter, sam2clip_vith_rn50x16.pth.", show_default=False),
    ],
    clip2sam: Annotated[
        Path,
        typer.Option(
            help="Their region head and decoder: clip2sam_coco_rn50x16.pth, or the one for LVIS.",
            show_default=False,
        ),
    ],
    sam: Annotated[Path, typer.Option(help="SAM ViT-H, sam_vit_h_4b8939.pth.", show_default=False)],
    clip: Annotated[
        Path,
        typer.Option(
            help="CLIP, open_clip_model.safetensors of timm/resnet50x16_clip.openai.",
            show_default=False,
        ),
    ],
    model: Annotated[str, typer.Option(help="The model that these files make up.")] = "rn50x16",
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
            "(.json), rare classes left out."
        ),
    ] = "rn50x16-coco",
) -> None:
    """Turn the authors' released weights (non-commercial use only) into one checkpoint."""
    from ovsam.output import check_output

    check_output(output, (".safetensors",), [sam2clip, clip2sam, sam, clip])

    from ovsam.hub import RELEASES, seen_classes
    from ovsam.model.convert import convert as run
    from ovsam.model.convert import seen_classes_of
    from ovsam.model.weights import lacks

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


def _embed_names(predictor: Predictor) -> None:
    """Compute the embeddings of names that are new, with a bar where it takes a while."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("embedding new names", total=None, visible=False)
        predictor.prepare(
            progress=lambda done, total: bar.update(task, completed=done, total=total, visible=True)
        )


def _print_objects(prompts: list[Prompt], predictions: list[Prediction]) -> None:
    from rich import box as boxes
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ovsam.prompt_text import format_prompt

    table = Table("object", "prompt", "box", "mask", "names", box=boxes.SIMPLE_HEAD)
    for number, (prompt, prediction) in enumerate(zip(prompts, predictions, strict=True), start=1):
        score = float(prediction.mask_scores[0])
        extent = ",".join(f"{value:g}" for value in prediction.boxes_xyxy[0])
        lines = [f"{label.name}  {label.score:.3f}" for label in prediction.labels[0]]
        if (kind := prediction.kinds[0]) is not None:
            lines.insert(0, f"a kind of {kind.name}  {kind.score:.3f}")
        if prediction.none_of_these[0]:
            lines = ["none of these; at best:", *lines]
        table.add_row(
            str(number),
            Text(format_prompt(prompt).replace("; ", "\n")),
            extent if prediction.mask.any() else "no pixel",
            "-" if score != score else f"{score:.2f}",
            Text("\n".join(lines)),  # Text: a name in [brackets] is no markup
        )
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)


def _write_overlay(
    path: Path, pixels: NDArray[np.uint8], prompts: list[Prompt], predictions: list[Prediction]
) -> None:
    from ovsam.output import write_picture
    from ovsam.overlay import draw_overlay

    write_picture(path, draw_overlay(pixels, predictions, prompts))
    typer.echo(f"wrote {path}")


def _write_json(
    path: Path,
    predictor: Predictor,
    photo: Path,
    size_hw: tuple[int, int],
    prompts: list[Prompt],
    predictions: list[Prediction],
) -> None:
    from ovsam.export import photo_to_json, to_json_bytes
    from ovsam.output import write_atomically

    document = photo_to_json(
        model=predictor.name,
        vocabulary_name=predictor.vocabulary.name,
        vocabulary_classes=len(predictor.vocabulary),
        photo=str(photo),
        size_hw=size_hw,
        prompts=prompts,
        predictions=predictions,
    )
    write_atomically(path, to_json_bytes(document))
    typer.echo(f"wrote {path}")


def _print_clicks(report: ClickReport) -> None:
    from rich import box as boxes
    from rich.console import Console
    from rich.table import Table

    from ovsam.evaluate.clicks import GOALS

    table = Table("clicks", "IoU", box=boxes.SIMPLE_HEAD)
    for count, iou in enumerate(report.curve, start=1):
        table.add_row(str(count), f"{iou:.3f}")
    Console().print(table)
    goals = ", ".join(f"{report.clicks_to(goal):.2f} clicks to IoU {goal:g}" for goal in GOALS)
    typer.echo(
        f"{report.model}, {len(report.iou)} instances, zoom {'on' if report.zoom else 'off'}: "
        f"{goals}; {report.photos} photos in {report.seconds:.1f} s"
    )


def _print_agreement(report: AgreementReport) -> None:
    from rich import box as boxes
    from rich.console import Console
    from rich.table import Table

    from ovsam.evaluate.agreement import GOALS

    table = Table("IoU of the two masks", "", box=boxes.SIMPLE_HEAD)
    table.add_row("mean", f"{report.mean:.3f}")
    table.add_row("median", f"{report.median:.3f}")
    for goal in GOALS:
        table.add_row(f"share with {goal:g} or more", f"{report.share(goal):.3f}")
    Console().print(table)
    zooms = " and ".join("on" if zoom else "off" for zoom in dict.fromkeys(report.zoom))
    typer.echo(
        f"{report.student} beside {report.teacher}, {report.prompts} prompts, zoom {zooms}: "
        f"{len(report.iou)} instances in {report.photos} photos in {report.seconds:.1f} s"
    )
    if report.skipped:
        typer.echo(f"skipped {report.skipped} that cannot be read, first: {report.problems[0]}")


def _print_report(report: Report, by_class: bool) -> None:
    from rich import box as boxes
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    headings = ("", "IoU", "boundary IoU", "top-1", "top-5", "instances")
    table = Table(*headings, box=boxes.SIMPLE_HEAD)

    def add(name: str, summary: Summary) -> None:
        values = (summary.iou, summary.boundary_iou, summary.accuracy, summary.accuracy_top5)
        shown = ("-" if value is None else f"{value:.3f}" for value in values)
        table.add_row(Text(name), *shown, str(summary.instances))

    add("all", report.summary)
    for group in report.groups.values():
        for name, summary in group.items():
            add(name, summary)
    if by_class:
        table.add_section()
        for name, summary in report.by_class.items():
            add(name, summary)
    Console().print(table)
    typer.echo(
        f"{report.model}, {report.prompts} prompts, vocabulary {report.vocabulary}, "
        f"zoom {'on' if report.zoom else 'off'}: {report.photos} photos in {report.seconds:.1f} s; "
        f"calibration error (ECE) {report.calibration.error:.3f}"
    )


def _print_complexity(counts: Complexity) -> None:
    from rich import box as boxes
    from rich.console import Console
    from rich.table import Table

    from ovsam.model.complexity import PROMPTS

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
