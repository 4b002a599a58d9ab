"""The commands that train."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ovsam.cli import options
from ovsam.cli.progress import bar
from ovsam.errors import TrainingError, UsageError, and_more
from ovsam.extras import TORCH, check_installed

if TYPE_CHECKING:
    from ovsam.train.cache_writer import Estimate

_SHOWN = 10  # warnings on screen


def complete_recipes() -> list[str]:
    """Names of the recipes that ship, for the shell."""
    from ovsam.shipped import shipped
    from ovsam.train.recipe_file import RECIPES

    return list(shipped(RECIPES))


RecipeArgument = Annotated[
    str,
    options.argument(
        "RECIPE",
        "A recipe that ships with ovsam, or a TOML file of your own (docs/train.md).",
        autocompletion=complete_recipes,
    ),
]
DataOption = Annotated[
    Path, options.option("FOLDER", "The folder that the recipe's paths lie in.", "--data", "-d")
]
OutputOption = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        help="The folder for checkpoints, record, report and the finished weights. "
        "A run that was stopped goes on where it was.",
        metavar="FOLDER",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="Change a field of the recipe: engine.steps=100."
    ),
]


def distill(
    recipe: RecipeArgument,
    data: DataOption,
    output: OutputOption = Path("distill-run"),
    changes: SetOption = None,
) -> None:
    """Stage 1, SAM2CLIP: teach an adapter the embedding of SAM.

    Example: `ovsam distill sam2clip-lite --data photos -o my-run`
    """
    _carry_out(recipe, data, output, changes or [], {"distill"})


def train(
    recipe: RecipeArgument,
    data: DataOption,
    output: OutputOption = Path("train-run"),
    changes: SetOption = None,
) -> None:
    """Stage 2, CLIP2SAM, or all learned parts at once: teach masks and names.

    Example: `ovsam train finetune --data my-photos -o my-run`
    """
    _carry_out(recipe, data, output, changes or [], {"label", "joint"})


def _carry_out(name: str, data: Path, output: Path, changes: list[str], stages: set[str]) -> None:
    import logging

    check_installed("Training")

    from ovsam.train.recipe_file import read_recipe

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    recipe = read_recipe(name, changes)
    if recipe.stage not in stages:
        other = "distill" if recipe.stage == "distill" else "train"
        raise UsageError(
            f"'{name}' is a recipe of stage {recipe.stage}: use 'ovsam {other} {name}'."
        )
    if not data.is_dir():
        raise TrainingError(f"There is no data folder '{data}'. Check --data.")
    if output.exists() and not output.is_dir():
        raise TrainingError(f"'{output}' is a file. Give a folder for the run with -o.")
    from ovsam.train.run import run_recipe

    own, threading.excepthook = threading.excepthook, _log_thread_error
    try:
        path = run_recipe(recipe, data, output)
    except KeyboardInterrupt:
        typer.echo("The same command goes on from the last checkpoint, if there is one.", err=True)
        raise
    except OSError as error:  # no space, no permission
        raise TrainingError(
            f"The run in '{output}' stopped: {error}. Mend that; the same command then goes on "
            "from the last checkpoint."
        ) from error
    finally:
        threading.excepthook = own
    typer.echo(f"wrote {path}")


def _log_thread_error(stopped: threading.ExceptHookArgs) -> None:
    """One line in place of a traceback: TensorBoard writes in a thread of its own."""
    import logging

    logging.getLogger(__name__).warning("The record is not written: %s", stopped.exc_value)


def cache_features(
    data: Annotated[
        Path,
        options.argument(
            "DATA", "The photos: an annotation file or a folder, as in `ovsam data check`."
        ),
    ],
    output: Annotated[
        Path,
        options.option(
            "FOLDER",
            "The folder of the cache. A run that was stopped goes on where it was.",
            "--output",
            "-o",
        ),
    ],
    teacher: Annotated[
        str,
        typer.Option(
            help='"sam-h", "sam-l", "sam-b" (fetched from the hub), SAM\'s official '
            '.pth, "lite", or an ovsam checkpoint.',
            metavar="MODEL",
        ),
    ] = "sam-h",
    images: options.ImagesBeside = None,
    size: Annotated[
        int | None,
        options.option(
            "N",
            "A photo's longest side as the teacher sees it, in pixels. Left out: the "
            "teacher's own; SAM has no other (1024).",
            min=32,
        ),
    ] = None,
    shard: Annotated[
        int,
        typer.Option(
            min=1,
            help="Photos in a file; a run that is stopped loses the work on one file.",
            metavar="N",
        ),
    ] = 256,
    part: Annotated[
        str,
        typer.Option(
            help="Make the I-th of N parts, to share the work among N processes or machines.",
            metavar="I/N",
        ),
    ] = "1/1",
    device: options.Device = "cpu",
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="First read all that is there, compare checksums, and make again what is corrupt "
            "or lacks photos that can be read by now.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Begin without asking.")] = False,
) -> None:
    """Compute a teacher's embeddings of photos once and keep them on disk, for `ovsam distill`.

    Example: `ovsam cache-features sa1b/train.txt --teacher lite -o features`
    """
    check_installed("'ovsam cache-features'", TORCH, "ovsam[torch]")

    from ovsam.train.cache_writer import FeatureCacher
    from ovsam.train.feature_cache import named_photos
    from ovsam.train.teacher import load_teacher

    share = _part(part)
    problems: list[str] = []
    photos = named_photos(data, images, lambda error: problems.append(str(error)))
    _warn(problems, f"thing(s) wrong with '{data}', see 'ovsam data check'")
    if not photos:
        raise TrainingError(f"There are no photos in '{data}'. Check the path.")
    cacher = FeatureCacher(output, load_teacher(teacher, size, device), photos, shard, share)
    faults: list[str] = []
    with bar("shards checked") as progress:
        shards = cacher.pending(verify=verify, corrupt=faults.append, progress=progress)
    _warn(faults, "shard(s) to be made again")
    if shards:
        _confirm(cacher.estimate(shards), yes)
    with bar("photos") as progress:
        skipped = cacher.run(shards, progress)
    _warn([f"'{name}': {reason}" for name, reason in skipped.items()], "photo(s) skipped")
    typer.echo(f"{len(shards):,} shard(s) made; part {part} of the cache in {output} is complete")


def _part(text: str) -> tuple[int, int]:
    numbers = text.split("/")
    if len(numbers) == 2 and all(number.isdecimal() for number in numbers):
        index, count = map(int, numbers)
        if 1 <= index <= count:
            return index, count
    raise UsageError(f"--part must be i/n with i from 1 to n, for example 2/4, got '{text}'.")


def _warn(sentences: list[str], what: str) -> None:
    """Say how many there are and show the first few."""
    if sentences:
        typer.echo(f"{len(sentences):,} {what}:", err=True)
        for sentence in sentences[:_SHOWN]:
            typer.echo(f"  {sentence}", err=True)
        if len(sentences) > _SHOWN:
            typer.echo(f"  … {and_more(len(sentences) - _SHOWN)}", err=True)


def _confirm(estimate: Estimate, yes: bool) -> None:
    from datetime import timedelta

    from ovsam.train.cache_writer import in_bytes

    typer.echo(
        f"{estimate.photos:,} photos to do: {in_bytes(estimate.bytes)} on disk, about "
        f"{timedelta(seconds=round(estimate.seconds))} at the pace of the first"
    )
    if yes:
        return
    if not _has_terminal():
        raise TrainingError("There is no terminal to ask whether to begin. Add --yes to begin.")
    typer.confirm("Begin?", abort=True)


def _has_terminal() -> bool:
    return sys.stdin.isatty()
