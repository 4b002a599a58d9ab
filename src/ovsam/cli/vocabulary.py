"""`ovsam vocabulary`: commands about the names to choose from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from ovsam.cli import options
from ovsam.cli.progress import embed_names
from ovsam.cli.streams import print_file, print_table
from ovsam.errors import UsageError, VocabularyError, and_more
from ovsam.vocabulary.builtin import builtin_notes, builtin_vocabularies
from ovsam.vocabulary.difference import Difference, without
from ovsam.vocabulary.load import load_vocabulary
from ovsam.vocabulary.names import plain_name, shown_name, typed_name
from ovsam.vocabulary.search import find, plain_words
from ovsam.vocabulary.vocabulary import Vocabulary

app = typer.Typer(cls=options.Group, no_args_is_help=True, rich_markup_mode="markdown")

SHOWN = 20  # classes on screen where there may be thousands

SpecArgument = Annotated[
    str,
    options.argument(
        "NAMES",
        "A built-in vocabulary's name, a text file with one class per line, a table (.csv), a "
        'list or an annotation file (.json), or names: "cat, dog/puppy, coffee mug".',
        callback=options.typed_names,
        autocompletion=options.complete_vocabularies,
    ),
]
AllOption = Annotated[bool, typer.Option("--all", help="List all, not only the first.")]


@app.callback()
def main() -> None:
    """Look at vocabularies: the names that an object's name is chosen from.

    Example: `ovsam vocabulary show coco`
    """


@app.command("list", cls=options.Command)
def list_() -> None:
    """Say which vocabularies are built in.

    Example: `ovsam vocabulary list`
    """
    from rich import box as boxes
    from rich.table import Table

    table = Table("vocabulary", box=boxes.SIMPLE_HEAD)
    table.add_column("classes", justify="right")
    table.add_column("names", justify="right")
    table.add_column("what it is")
    for name, description in builtin_vocabularies().items():
        vocabulary = load_vocabulary(name)
        table.add_row(name, f"{len(vocabulary):,}", f"{_count_names(vocabulary):,}", description)
    print_table(table)


@app.command(cls=options.Command)
def show(
    vocabulary: SpecArgument,
    only: options.Only = None,
) -> None:
    """Print a vocabulary as a text file: its source and licence, then one class on each line.

    A `!` marks a class that is never the answer, a `~` one that was held back in training, `*3`
    one that is met three times as often as a class without.

    Example: `ovsam vocabulary show lvis > mine.txt`
    """
    names = options.narrowed(load_vocabulary(vocabulary), only)
    notes = builtin_notes(vocabulary) if vocabulary in builtin_vocabularies() else ""
    counts = f"{names.name}: {_counts(names)}"
    lines = [f"# {line}" for line in (counts, *notes.splitlines())]
    lines += names.templates
    for entry in names.entries:
        marks = ("" if entry.answerable else "!") + ("~" if entry.unseen else "")
        marks += "" if entry.weight == 1 else f"*{str(entry.weight).removesuffix('.0')} "
        every = entry.name, *_others(entry.name, entry.synonyms)
        lines.append(marks + ", ".join(map(typed_name, every)))
    print_file("\n".join([*lines, ""]))


@app.command(cls=options.Command)
def search(
    words: Annotated[str, options.argument("WORDS", "What a name begins with or holds.")],
    vocabulary: Annotated[
        list[str] | None,
        options.option(
            "NAMES",
            "Where to look: as for `ovsam segment`. Repeat for more. Left out: in all that "
            "are built in.",
            autocompletion=options.complete_vocabularies,
        ),
    ] = None,
    everything: AllOption = False,
) -> None:
    """Find classes by a name: those called so, then those with the words in a longer name.

    Example: `ovsam vocabulary search "coffee cup" --vocabulary 22k`
    """
    from rich import box as boxes
    from rich.table import Table
    from rich.text import Text

    wanted = shown_name(words)
    if not plain_words(wanted):
        raise UsageError("There is nothing to search for. Give a name or its beginning.")
    specs = vocabulary or [name for name in builtin_vocabularies() if name != "coco-ov"]
    table = Table("vocabulary", "class", "other names", box=boxes.SIMPLE_HEAD)
    hidden = 0
    for names in map(load_vocabulary, specs):
        rows = find(names, wanted)
        shown = rows if everything else rows[:SHOWN]
        hidden += len(rows) - len(shown)
        for row in shown:
            name = names.classes[row]
            others = ", ".join(_others(name, names.synonyms[row]))
            table.add_row(*map(Text, (names.name, name, others)))
    if not table.row_count:
        raise VocabularyError(
            f"No class of {', '.join(specs)} has '{wanted[:60]}' in a name. Give fewer letters or "
            "another vocabulary."
        )
    print_table(table)
    if hidden:
        typer.echo(f"… {and_more(hidden)}; --all lists them")


@app.command(cls=options.Command)
def diff(
    first: SpecArgument,
    second: SpecArgument,
    everything: AllOption = False,
) -> None:
    """Compare two vocabularies: classes that only one has, and classes with other names.

    Classes are the same if they have a name in common, whatever its case, or else a meaning.

    Example: `ovsam vocabulary diff coco lvis`
    """
    ours, theirs = load_vocabulary(first), load_vocabulary(second)
    found = Difference.between(ours, theirs)
    for vocabulary, alone in ((ours, found.only_first), (theirs, found.only_second)):
        typer.echo(
            f"{vocabulary.name}: {_counted(len(vocabulary), 'class', 'classes')}, "
            f"{len(vocabulary) - len(alone):,} of them in the other"
        )
    if not found:
        typer.echo("no difference")
        return
    for vocabulary, alone in ((ours, found.only_first), (theirs, found.only_second)):
        _print_list(f"only in {vocabulary.name}", alone, everything)
    changes = [
        f"{name} ({', '.join([*(f'-{text}' for text in less), *(f'+{text}' for text in more)])})"
        for name, (less, more) in found.names.items()
    ]
    renamed = [f"{name}, {other}" for name, other in found.shown.items()]
    _print_list("in both, shown by another name", renamed, everything)
    _print_list("in both, with other names", changes, everything)
    _print_list("the answer in one of them only", found.answers, everything)
    _print_list("unseen in one of them only", found.unseen, everything)
    weights = [f"{name} ({one:g}, {other:g})" for name, (one, other) in found.weights.items()]
    _print_list("in both, with other weights", weights, everything)


@app.command(cls=options.Command)
def build(
    vocabulary: SpecArgument,
    model: options.Model = "lite",
    device: options.Device = "cpu",
) -> None:
    """Compute the embeddings of a vocabulary ahead of its first use; they are kept on disk.

    Example: `ovsam vocabulary build 22k`
    """
    names = load_vocabulary(vocabulary)

    import ovsam

    predictor = ovsam.load(model, vocabulary=names, device=device)
    embed_names(predictor)
    typer.echo(f"{predictor.model_name} has the embeddings of {names.name}: {_counts(names)}")


def _others(name: str, texts: Iterable[str]) -> tuple[str, ...]:
    """A class's names without the one that is shown."""
    return without(texts, [plain_name(name)])


def _count_names(vocabulary: Vocabulary) -> int:
    return sum(map(len, vocabulary.synonyms))


def _counts(vocabulary: Vocabulary) -> str:
    classes = _counted(len(vocabulary), "class", "classes")
    return f"{classes}, {_counted(_count_names(vocabulary), 'name', 'names')}"


def _counted(count: int, one: str, several: str) -> str:
    return f"{count:,} {one if count == 1 else several}"


def _print_list(title: str, names: Iterable[str], everything: bool) -> None:
    names = list(names)
    if not names:
        return
    typer.echo(f"{title} ({len(names):,}):")
    for name in names if everything else names[:SHOWN]:
        typer.echo(f"  {name}")
    if len(names) > SHOWN and not everything:
        typer.echo(f"  … {and_more(len(names) - SHOWN)}; --all lists them")
