"""What several commands have: their way to end, groups in the help, options."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from ovsam.cli.signals import end_interrupted
from ovsam.cli.streams import explain, give_up_on_streams, prepare_streams, say
from ovsam.errors import OvsamError, UsageError, VocabularyError, quoted
from ovsam.formats import crowds

if TYPE_CHECKING:
    from ovsam.vocabulary import vocabulary as vocabularies

# Groups of commands in the help, by who needs them; this is their order.
SEGMENT = "Segment photos"
MEASURE = "Measure models"
TRAIN = "Train models"
PAPER = "Reproduce the paper"

_FAILED, _WRONG_USE = 1, 2


class Command(TyperCommand):
    """A command whose help shows an option's type only where that says something."""

    def get_params(self, ctx: Any) -> list[Any]:  # Typer's click, vendored or not
        """Its parameters, the one for help among them."""
        return without_types(super().get_params(ctx))


class Group(TyperGroup):
    """Commands that end in one sentence on stderr and an exit code, whatever a user can cause."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its parameters, the one for help among them."""
        return without_types(super().get_params(ctx))

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run the command that the arguments name."""
        prepare_streams()
        try:
            return super().main(*arguments, **options)
        except OSError as error:
            say(f"error: {explain(error)}")
        except MemoryError:
            say("error: The memory does not suffice. Give a smaller photo, or fewer at a time.")
        finally:
            give_up_on_streams()
        raise SystemExit(_FAILED)

    def invoke(self, ctx: Any) -> Any:
        """Run it within its context."""
        try:
            return super().invoke(ctx)
        except OvsamError as error:
            say(f"error: {error}")
            raise typer.Exit(_WRONG_USE if isinstance(error, UsageError) else _FAILED) from error
        except KeyboardInterrupt as error:
            raise typer.Exit(end_interrupted(error)) from error


def without_types(parameters: list[Any]) -> list[Any]:
    """The same parameters; what Typer shows behind a flag or an argument is empty.

    A flag takes no value, and an argument is named for what it is.
    """
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
        elif parameter.param_type_name == "argument":  # `<list[Path]>` and the like
            parameter.display_type_rich = lambda **_: None
    return parameters


def complete_models() -> list[str]:
    """Names of models, for the shell."""
    from ovsam.hub import NAMES

    return list(NAMES)


def complete_vocabularies() -> list[tuple[str, str]]:
    """Names of built-in vocabularies with what they are, for the shell."""
    from ovsam.vocabulary.builtin import builtin_vocabularies

    return list(builtin_vocabularies().items())


def complete_kinds() -> list[str]:
    """Common kinds of objects, for the shell; there are more."""
    from ovsam.vocabulary.wordnet import answer_kinds

    return [word.partition(" = ")[0] for word in answer_kinds()]


def complete_devices() -> list[str]:
    """Where a model can compute, for the shell."""
    return ["cpu", "cuda", "mps", "openvino", "coreml", "tensorrt", "directml"]


def _check_device(device: str) -> str:
    if device.partition(":")[0] not in complete_devices():
        known = ", ".join(complete_devices())
        raise UsageError(f"--device must be one of {known}, got {quoted(device)}.")
    return device


def typed_names(text: str) -> str:
    """Names in UTF-8 that a terminal without it, as under `LANG=C`, handed over as bytes."""
    if os.path.exists(text):
        return text
    try:
        return os.fsencode(text).decode("utf-8")
    except UnicodeError:
        return text


def option(metavar: str, what: str, *names: str, **more: Any) -> Any:
    """An option without a default to show, which its help, `what`, tells where there is one."""
    return typer.Option(*names, help=what, metavar=metavar, show_default=False, **more)


def argument(metavar: str, what: str, **more: Any) -> Any:
    """An argument; the help tells what becomes of one that is left out."""
    return typer.Argument(help=what, metavar=metavar, show_default=False, **more)


Model = Annotated[
    str,
    typer.Option(
        help="A model's name (`ovsam models`), or the path of a checkpoint.",
        metavar="MODEL",
        autocompletion=complete_models,
    ),
]
Vocabulary = Annotated[
    str,
    typer.Option(
        help="The names to choose from: a built-in vocabulary (`ovsam vocabulary list`), a text "
        "file with one class per line, a table (.csv), a list or an annotation file (.json), "
        "YOLO's data.yaml, a folder of LabelMe's, or names: \"cat, dog/puppy, coffee mug\".",
        metavar="NAMES",
        callback=typed_names,
        autocompletion=complete_vocabularies,
    ),
]
Prior = Annotated[
    bool,
    typer.Option(
        "--prior/--no-prior",
        help="Whether the weights of the vocabulary's classes count, which say how ordinary each "
        "is; `22k`, `imagenet21k` and lists of your own may have some.",
    ),
]
Vocabularies = Annotated[
    list[str],
    typer.Option(
        "--vocabulary",
        help="The names to choose from, as for segment: a built-in vocabulary "
        "(`ovsam vocabulary list`), a file, or names. Repeat for more: a row for each.",
        metavar="NAMES",
        callback=lambda given: [typed_names(one) for one in given],
        autocompletion=complete_vocabularies,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        help="Where to compute: cpu, cuda or mps; with ONNX Runtime's packages for them also "
        "openvino, coreml, tensorrt or directml.",
        metavar="DEVICE",
        callback=_check_device,
        autocompletion=complete_devices,
    ),
]
MaxPixels = Annotated[
    int | None,
    option(
        "N",
        "Refuse photos with more pixels than this; raise it for photos you trust. "
        "Left out: 134,217,728.",
        min=1,
    ),
]
Zoom = Annotated[
    bool | None,
    typer.Option(
        "--zoom/--no-zoom",
        help="Segment each object once more in a square around it: finer, slower. "
        "Left out: the model's own default.",
        show_default=False,
    ),
]
Clean = Annotated[
    bool,
    typer.Option(
        "--clean/--no-clean",
        help="Take specks and small holes out of masks.",
    ),
]
Only = Annotated[
    list[str] | None,
    option(
        "KIND",
        "Only the classes of the vocabulary that are kinds of this, such as animal. "
        "Repeat for more.",
        autocompletion=complete_kinds,
    ),
]
Limit = Annotated[
    int | None,
    option("N", "Only the first photos.", min=1),
]
Images = Annotated[
    Path,
    option("FOLDER", "The folder of the photos.", "--images"),
]
ImagesBeside = Annotated[
    Path | None,
    option("FOLDER", "The folder of an annotation file's photos. Left out: beside it.", "--images"),
]


Crowds = Annotated[
    crowds.Crowds,
    typer.Option(
        help="What annotations with 'iscrowd' 1 are: regions of many objects, which do not count, "
        "or objects, as CVAT marks masks drawn with a brush.",
        metavar="left-out|objects",
    ),
]
Json = Annotated[
    Path | None,
    option("FILE", "The results as a .json file, replaced if it is there.", "--json"),
]
PROMPTS = (
    "Annotated boxes (box), the same with SAM's noise, a tenth of their sides (noisy-box), centre "
    "points of annotated masks (point), or any points of them (random-point)"
)
Journal = Annotated[
    Path | None,
    option(
        "FILE",
        "Keep what became of each photo in this .jsonl file; a run that was stopped goes on "
        "from it.",
    ),
]
Workers = Annotated[
    int | None,
    option(
        "N",
        "Share the photos out over so many processes of one thread each, with a model each. "
        "Left out: this process alone, with all of its threads.",
        min=1,
    ),
]


def narrowed(
    vocabulary: vocabularies.Vocabulary, kinds: list[str] | None, *, prior: bool = True
) -> vocabularies.Vocabulary:
    """The classes that `--only` leaves, with the weights that `--no-prior` leaves.

    Raises:
        UsageError: a kind is unknown, or no class is of these kinds.
    """
    try:
        kept = vocabulary.only(*kinds) if kinds else vocabulary
    except VocabularyError as error:
        raise UsageError(str(error)) from error
    return kept if prior else kept.unweighted()


def is_given(context: typer.Context, name: str) -> bool:
    """Whether an option stands on the command line, and does not just have its default."""
    return getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
