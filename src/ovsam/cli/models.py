"""`ovsam models`: which models have a name, and what their weights may be used for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

from ovsam.cli import options
from ovsam.cli.streams import print_file, print_table

if TYPE_CHECKING:
    from ovsam.config import ModelConfig

app = typer.Typer(
    cls=options.Group, invoke_without_command=True, rich_markup_mode="markdown"
)  # plain `ovsam models` lists them


class Listed(TypedDict):
    """A model as `--json` has it."""

    name: str
    what: str
    megabytes: int
    """To download for it; 0 for one that ships."""
    terms: str
    """The licences of its weights."""
    can: list[str]
    """The prompts that it takes, and `multimask`, `names`, `zoom` where it has them."""
    here: str
    """`shipped`, `cached` or `to fetch`."""
    path: str
    """Where its checkpoint lies, or will lie."""


@app.callback()
def models(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
) -> None:
    """Say which models there are, what they can do, their weights' terms, and which are here.

    Example: `ovsam models`
    """
    if context.invoked_subcommand is not None:
        return
    found = listed()
    if as_json:
        print_file(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
        return
    from rich import box as boxes
    from rich.table import Table

    table = Table("model", "what it is", box=boxes.SIMPLE_HEAD)
    table.add_column("download", justify="right")
    for heading in ("here", "can", "terms of its weights"):
        table.add_column(heading)
    for model in found:
        table.add_row(
            model["name"],
            model["what"],
            f"{model['megabytes']:,} MB" if model["megabytes"] else "",
            model["here"],
            ", ".join(model["can"]),
            model["terms"],
        )
    print_table(table)
    typer.echo(
        "Any of them zooms with --zoom, lite by itself. A SAM and a CLIP name in another "
        "way with -image-crop behind them (docs/baselines.md). 'to fetch': at first use, or by "
        "'ovsam models fetch'. A checkpoint of your own is given by its path."
    )


@app.command(cls=options.Command)
def fetch(
    names: Annotated[
        list[str],
        options.argument("MODEL", "Their names.", autocompletion=options.complete_models),
    ],
) -> None:
    """Download models and convert them, so that their first use needs no network.

    Example: `ovsam models fetch sam-b+rn50x16`
    """
    from ovsam.hub import fetch_model

    for name in names:
        typer.echo(f"{name}: {fetch_model(name).path}")


def listed() -> list[Listed]:
    """All models that have a name."""
    from ovsam.hub import FETCHED, NAMES, config_of, find_model

    found = []
    for name in NAMES:
        config, path = config_of(name), find_model(name).path
        files = tuple(FETCHED.get(name, {}).values())
        licences = dict.fromkeys(file.licence for file in files)
        here = "cached" if path.is_file() else "to fetch"
        model = Listed(
            name=name,
            what=_what(name),
            megabytes=sum(file.megabytes for file in files),
            terms="; ".join(licences) or "research, non-commercial (THIRD_PARTY.md)",
            can=_abilities(config),
            here=here if files else "shipped",
            path=str(path),
        )
        found.append(model)
    return found


def _what(name: str) -> str:
    """A model in a few words."""
    from ovsam.hub import FETCHED, RELEASES

    if name == "lite":
        return "this project's own: EfficientNet-Lite2 and MiniLM"
    if name in RELEASES:
        data = name.rpartition("-")[2].upper()
        return f"Open-Vocabulary SAM, the authors', learnt on {data}"
    return ", names by ".join(file.what for file in FETCHED[name].values())


def _abilities(config: ModelConfig) -> list[str]:
    """What a model takes and gives."""
    multimask = ["multimask"] if config.decoder.mask_tokens > 1 else []
    names = ["names"] if config.names_objects else []
    return ["points", "boxes", "masks", *multimask, *names, "zoom"]
