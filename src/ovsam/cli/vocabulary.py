"""`ovsam vocabulary`: commands about the names to choose from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import typer

from ovsam.cli.options import (
    Command,
    DeviceOption,
    Group,
    ModelOption,
    OnlyOption,
    complete_vocabularies,
    narrowed,
    typed_names,
)
from ovsam.cli.streams import print_file, print_table
from ovsam.errors import UsageError, VocabularyError, and_more
from ovsam.vocabulary.builtin import builtin_notes, builtin_vocabularies
from ovsam.vocabulary.load import load_vocabulary
from ovsam.vocabulary.names import plain_name, shown_name, typed_name
from ovsam.vocabulary.vocabulary import Vocabulary

app = typer.Typer(cls=Group, no_args_is_help=True, rich_markup_mode="markdown")

SHOWN = 20  # classes on screen where there may be thousands

SpecArgument = Annotated[
    str,
    typer.Argument(
        help="A built-in vocabulary's name, a text file with one class per line, a table (.csv), a "
        'list or an annotation file (.json), or names: "cat, dog/puppy, coffee mug".',
        metavar="NAMES",
        show_default=False,
        callback=typed_names,
        autocompletion=complete_vocabularies,
    ),
]
AllOption = Annotated[bool, typer.Option("--all", help="List all, not only the first.")]


@dataclass(frozen=True)
class Difference:
    """How two vocabularies differ.

    Attributes:
        only_first: classes of the first that the second has neither by a name nor by meaning.
        only_second: the same the other way round.
        shown: for classes that both have, but show by another name: the second's.
        names: for classes that both have: names that only the first has, and that only the second
            has, where there are any.
        answers: classes that both have, which may be the answer in one of the two only.
        unseen: classes that both have, which are marked as unseen in one of the two only.
    """

    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    shown: dict[str, str]
    names: dict[str, tuple[tuple[str, ...], tuple[str, ...]]]
    answers: tuple[str, ...]
    unseen: tuple[str, ...]

    @classmethod
    def between(cls, first: Vocabulary, second: Vocabulary) -> Difference:
        """Compare two vocabularies, whatever the order and the case of their names."""
        shown: dict[str, str] = {}
        names: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
        answers: list[str] = []
        unseen: list[str] = []
        only_first: list[str] = []
        same = set()
        for here, there in enumerate(_same_classes(first, second)):
            name = first.classes[here]
            if there is None:
                only_first.append(name)
                continue
            same.add(there)
            mine = dict.fromkeys(_all_names(first, here))
            others = dict.fromkeys(_all_names(second, there))
            if plain_name(name) != plain_name(second.classes[there]):
                shown[name] = second.classes[there]
            if mine.keys() != others.keys():
                names[name] = _without(mine, others), _without(others, mine)
            if first.answerable[here] != second.answerable[there]:
                answers.append(name)
            if first.unseen[here] != second.unseen[there]:
                unseen.append(name)
        back = _same_classes(second, first)
        only_second = tuple(
            name for row, name in enumerate(second.classes) if back[row] is None and row not in same
        )
        return cls(tuple(only_first), only_second, shown, names, tuple(answers), tuple(unseen))

    def __bool__(self) -> bool:
        classes = (self.only_first, self.only_second, self.shown)
        return any((*classes, self.names, self.answers, self.unseen))


@app.callback()
def main() -> None:
    """Look at vocabularies: the names that an object's name is chosen from.

    Example: `ovsam vocabulary show coco`
    """


@app.command("list", cls=Command)
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


@app.command(cls=Command)
def show(
    vocabulary: SpecArgument,
    only: OnlyOption = None,
) -> None:
    """Print a vocabulary as a text file: its source and licence, then one class on each line.

    A `!` marks a class that is never the answer, a `~` one that was held back in training.

    Example: `ovsam vocabulary show lvis > mine.txt`
    """
    names = narrowed(load_vocabulary(vocabulary), only)
    notes = builtin_notes(vocabulary) if vocabulary in builtin_vocabularies() else ""
    counts = f"{names.name}: {_counts(names)}"
    lines = [f"# {line}" for line in (counts, *notes.splitlines())]
    lines += names.templates
    every = zip(names.classes, names.synonyms, names.answerable, names.unseen, strict=True)
    for name, texts, may, unseen in every:
        marks = ("" if may else "!") + ("~" if unseen else "")
        lines.append(marks + ", ".join(map(typed_name, (name, *_others(name, texts)))))
    print_file("\n".join([*lines, ""]))


@app.command(cls=Command)
def search(
    words: Annotated[
        str,
        typer.Argument(
            help="What a name begins with or holds.", metavar="WORDS", show_default=False
        ),
    ],
    vocabulary: Annotated[
        list[str] | None,
        typer.Option(
            help="Where to look: as for `ovsam segment`. Repeat for more. Left out: in all that "
            "are built in.",
            metavar="NAMES",
            show_default=False,
            autocompletion=complete_vocabularies,
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
    if not _plain(wanted):
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


@app.command(cls=Command)
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


@app.command(cls=Command)
def build(
    vocabulary: SpecArgument,
    model: ModelOption = "lite",
    device: DeviceOption = "cpu",
) -> None:
    """Compute the embeddings of a vocabulary ahead of its first use; they are kept on disk.

    Example: `ovsam vocabulary build 22k`
    """
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    names = load_vocabulary(vocabulary)

    import ovsam

    predictor = ovsam.load(model, vocabulary=names, device=device)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("embedding names", total=None, visible=False)
        predictor.prepare(
            progress=lambda done, total: bar.update(task, completed=done, total=total, visible=True)
        )
    typer.echo(f"{predictor.name} has the embeddings of {names.name}: {_counts(names)}")


def find(vocabulary: Vocabulary, words: str) -> list[int]:
    """Rows of the classes with a word in a name that begins with `words`.

    Case, hyphens, blanks and plurals make no difference.

    >>> find(Vocabulary.from_names(["cattle", "sofa", "tabby/cat", "vacation"]), "Cats")
    [2, 0]
    >>> find(Vocabulary.from_names(["hot dog", "hotdogs stand", "dog"]), "hot-dog")
    [0, 1]
    """
    wanted = _plain(words)
    joined = wanted.replace(" ", "")
    pattern = re.compile(rf"(?<!\w){re.escape(wanted)}")
    ranks: dict[int, bool] = {}  # False = called so, which comes first
    for row in range(len(vocabulary)):
        names = list(map(_plain, _all_names(vocabulary, row)))
        whole = [name.replace(" ", "") for name in names]
        if joined in whole:
            ranks[row] = False
        elif any(map(pattern.search, names)) or any(name.startswith(joined) for name in whole):
            ranks[row] = True
    return sorted(ranks, key=ranks.__getitem__)


def _plain(text: str) -> str:
    """Its words in lower case and the singular: `Hot-Dogs` -> `hot dog`."""
    return " ".join(map(_singular, re.findall(r"\w+", plain_name(text.replace("_", " ")))))


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def _all_names(vocabulary: Vocabulary, row: int) -> tuple[str, ...]:
    return plain_name(vocabulary.classes[row]), *vocabulary.synonyms[row]


def _same_classes(vocabulary: Vocabulary, other: Vocabulary) -> list[int | None]:
    """For each class the row of the same one in the other vocabulary: by name, else by meaning."""
    every = [(text, row) for row in range(len(other)) for text in _all_names(other, row)]
    rows = dict(reversed(every))  # of several the first
    rows |= {plain_name(name): row for row, name in enumerate(other.classes)}
    meanings = {synset: row for row, synset in enumerate(other.synsets) if synset is not None}
    found = []
    for row, synset in enumerate(vocabulary.synsets):
        named = (rows[text] for text in _all_names(vocabulary, row) if text in rows)
        found.append(next(named, None if synset is None else meanings.get(synset)))
    return found


def _without(texts: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    left_out = set(others)
    return tuple(text for text in texts if text not in left_out)


def _others(name: str, texts: Iterable[str]) -> tuple[str, ...]:
    """A class's names without the one that is shown."""
    return _without(texts, [plain_name(name)])


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
