"""The page of a set of tables, as Markdown and as one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
import html
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ovsam.paper.order import CLEAR, Pair
from ovsam.paper.results import Cell, FilledTable
from ovsam.paper.table_set import Column

GAP = "–"
_LEGEND = (
    "A cell has what was measured or counted and, in brackets, the paper's figure. IoU, top-1 and "
    f"AP are in per cent. {GAP} is a gap; the reason is below the table."
)
_STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1f; --dim: #6b6b73; --line: #d9d9de; --gap: #b45309;
  --ground: #ffffff; --code: #f4f4f6; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8ec; --dim: #9c9ca6; --line: #3a3a42;
  --gap: #f0a048; --ground: #17171a; --code: #232328; } }
body { margin: 2rem auto; max-width: 76rem; padding: 0 1.25rem; color: var(--ink);
  background: var(--ground); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 3rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: top; white-space: nowrap; }
th { font-weight: 600; font-size: .85rem; vertical-align: bottom; }
th:nth-child(2), td:nth-child(2) { text-align: left; white-space: normal; min-width: 13rem; }
td small { display: block; color: var(--dim); }
td b { font-weight: 600; } .gap, td .gap { color: var(--gap); }
p.dim, li.dim { color: var(--dim); } summary { cursor: pointer; margin: .8rem 0 .3rem; }
pre { background: var(--code); padding: .6rem .8rem; font-size: 12.5px; white-space: pre-wrap;
  overflow-wrap: anywhere; border-radius: 6px; margin: .3rem 0 .8rem; }
img { max-width: 100%; height: auto; background: #fff; border-radius: 6px; }
"""


@dataclass(frozen=True)
class Section:
    """A table of the page.

    Attributes:
        filled: its figures.
        order: for each heading that the paper orders rows by, the pairs that could be told.
        plot: the name of the plot's file and its content, if there is one.
    """

    filled: FilledTable
    order: dict[str, list[Pair]]
    plot: tuple[str, bytes] | None


@dataclass(frozen=True)
class Pictures:
    """Models side by side.

    Attributes:
        title: which models, on what.
        name: the picture's path as the page gives it.
        content: the picture (PNG); None for a gap.
        gap: why there is none.
        command: what makes it.
    """

    title: str
    name: str
    content: bytes | None
    gap: str
    command: str


@dataclass(frozen=True)
class Page:
    """All that the page says."""

    title: str
    about: str
    sections: tuple[Section, ...]
    pictures: tuple[Pictures, ...]


def to_markdown(page: Page) -> str:
    """The page as Markdown, with its plots and pictures in files beside it."""
    parts = [f"# {page.title}", page.about, _LEGEND]
    for section in page.sections:
        parts += _markdown_section(section)
    if page.pictures:
        parts.append("## Side by side")
    for picture in page.pictures:
        parts.append(f"### {picture.title}")
        if picture.content is None:
            parts += [f"Not drawn: {picture.gap}.", _fenced([picture.command])]
        else:
            parts.append(f"![{picture.title}]({picture.name})")
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_section(section: Section) -> list[str]:
    table = section.filled.table
    parts = [f"## {table.name}: {table.title}", table.note]
    lines = [
        _bar(["", "method", *(column.heading for column in table.columns)]),
        _bar(["---:", "---", *["---:"] * len(table.columns)]),
    ]
    for number, row in enumerate(section.filled.rows, start=1):
        shown = [_cell(column, cell) for column, cell in zip(table.columns, row.cells, strict=True)]
        lines.append(_bar([str(number), row.method, *shown]))
    parts.append("\n".join(lines))
    parts += [f"- {sentence}" for sentence in _order_sentences(section.order)]
    if section.plot is not None:
        parts.append(f"![Accuracy against cost, {table.name}]({section.plot[0]})")
    parts.append(
        "\n".join(
            f"- {number}: {'; '.join([*row.sources, *row.gaps])}"
            for number, row in enumerate(section.filled.rows, start=1)
        )
    )
    parts.append("<details><summary>Commands</summary>")
    for number, row in enumerate(section.filled.rows, start=1):
        if row.commands:
            parts += [f"{number}: {row.method}", _fenced(row.commands)]
    parts.append("</details>")
    return parts


def to_html(page: Page) -> str:
    """The page as one HTML file; plots and pictures are inside."""
    body = [f"<h1>{html.escape(page.title)}</h1>", _paragraph(page.about), _paragraph(_LEGEND)]
    for section in page.sections:
        body += _html_section(section)
    if page.pictures:
        body.append("<h2>Side by side</h2>")
    for picture in page.pictures:
        body.append(f"<h3>{html.escape(picture.title)}</h3>")
        if picture.content is None:
            body.append(f'<p class="gap">Not drawn: {html.escape(picture.gap)}.</p>')
            body.append(f"<pre>{html.escape(picture.command)}</pre>")
        else:
            body.append(_image(picture.content, picture.title))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(page.title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _html_section(section: Section) -> list[str]:
    table = section.filled.table
    heads = "".join(f"<th>{html.escape(column.heading)}</th>" for column in table.columns)
    lines = [f'<div class="wide"><table><thead><tr><th></th><th>method</th>{heads}</tr></thead>']
    for number, row in enumerate(section.filled.rows, start=1):
        cells = "".join(
            _html_cell(column, cell) for column, cell in zip(table.columns, row.cells, strict=True)
        )
        lines.append(f"<tr><td>{number}</td><td>{html.escape(row.method)}</td>{cells}</tr>")
    lines.append("</table></div>")
    parts = [f"<h2>{html.escape(f'{table.name}: {table.title}')}</h2>"]
    parts += [_paragraph(table.note)] if table.note else []
    parts.append("\n".join(lines))
    if sentences := _order_sentences(section.order):
        parts.append(
            "<ul>" + "".join(f"<li>{html.escape(text)}</li>" for text in sentences) + "</ul>"
        )
    said = [
        f'<li class="{kind}">{number}: {html.escape(text)}</li>'
        for number, row in enumerate(section.filled.rows, start=1)
        for kind, texts in (("dim", row.sources), ("gap", row.gaps))
        for text in texts
    ]
    parts.append(
        _folded("Where the figures are from, and why some are missing", f"<ul>{''.join(said)}</ul>")
    )
    commands = [
        f"<p>{number}: {html.escape(row.method)}</p>"
        f"<pre>{html.escape(chr(10).join(row.commands))}</pre>"
        for number, row in enumerate(section.filled.rows, start=1)
        if row.commands
    ]
    parts.append(_folded("Commands", "".join(commands)))
    if section.plot is not None:
        parts.append(_image(section.plot[1], f"Accuracy against cost, {table.name}"))
    return parts


def _order_sentences(order: dict[str, list[Pair]]) -> list[str]:
    """How far the paper's order comes out, and each pair that comes out the other way round."""
    sentences = []
    for heading, pairs in order.items():
        if not pairs:
            continue
        counts = Counter(pair.verdict for pair in pairs)
        parts = [
            f"{counts['same']} come out so",
            f"{counts['opposite']} the other way round",
            f"{counts['open']} differ by no more than {CLEAR:g} standard errors",
        ]
        if counts["none"]:
            parts.append(f"{counts['none']} are not compared, the same object by object")
        sentences.append(
            f"{heading}: of {len(pairs)} pairs that the paper orders, {', '.join(parts)}."
        )
        sentences += [
            f"{heading}, against the paper: {pair.worse} is better than {pair.better} by "
            f"{-100 * pair.difference:.1f} ± {100 * pair.error:.1f}."
            for pair in pairs
            if pair.verdict == "opposite"
        ]
    return sentences


def _measured(column: Column, value: float) -> str:
    if column.cost is None:
        return f"{100 * value:.1f}"
    value /= 1e9 if column.cost == "multiply_adds" else 1e6
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _paper(column: Column, value: float) -> str:
    return f"{value:,.0f}" if column.cost is not None else f"{value:.1f}"


def _cell(column: Column, cell: Cell) -> str:
    shown = []
    if cell.value is not None:
        shown.append(_measured(column, cell.value))
    elif cell.gap is not None:
        shown.append(GAP)
    if cell.paper is not None:
        shown.append(f"({_paper(column, cell.paper)})")
    return " ".join(shown)


def _html_cell(column: Column, cell: Cell) -> str:
    shown = ""
    if cell.value is not None:
        shown = f"<b>{_measured(column, cell.value)}</b>"
    elif cell.gap is not None:
        shown = f'<span class="gap" title="{html.escape(cell.gap)}">{GAP}</span>'
    paper = "" if cell.paper is None else f"<small>({_paper(column, cell.paper)})</small>"
    return f"<td>{shown}{paper}</td>"


def _image(content: bytes, said: str) -> str:
    data = base64.b64encode(content).decode()
    return f'<p><img alt="{html.escape(said)}" src="data:image/png;base64,{data}"></p>'


def _folded(summary: str, content: str) -> str:
    return f"<details><summary>{html.escape(summary)}</summary>{content}</details>"


def _paragraph(text: str) -> str:
    code = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))
    return f"<p>{code}</p>"


def _bar(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _fenced(lines: Sequence[str]) -> str:
    return "\n".join(["```", *lines, "```"])
