"""The page of a set of tables, as Markdown and as one HTML file that needs nothing beside it.

Both are templates in `templates/`; what is written into the HTML is escaped.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from ovsam.paper.order import CLEAR, Pair
from ovsam.paper.results import Cell, FilledTable
from ovsam.paper.table_set import Column

GAP = "–"
_LEGEND = (
    "A cell has what was measured here or counted and, in brackets, the published figure: the "
    "paper's, unless another source is named below the table. IoU, top-1 and AP are in per cent. "
    f"{GAP} is a gap; the reason is below the table."
)


@dataclass(frozen=True)
class Section:
    """A table of the page.

    Attributes:
        filled: its figures.
        order: for each heading that the paper orders rows by, the pairs that could be compared.
        plot: the name of the plot's file and its content, if there is one.
    """

    filled: FilledTable
    order: dict[str, list[Pair]]
    plot: tuple[str, bytes] | None

    @property
    def order_sentences(self) -> list[str]:
        """How far the paper's order comes out, and each pair that is the other way round."""
        return _order_sentences(self.order)


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
    return _rendered("tables.md", page)


def to_html(page: Page) -> str:
    """The page as one HTML file; plots and pictures are inside."""
    return _rendered("tables.html", page)


def _rendered(template: str, page: Page) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates", encoding="utf-8"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(base64=_base64, with_code=_with_code, in_table=_in_table)
    return environment.get_template(template).render(
        page=page, legend=_LEGEND, gap=GAP, zip=zip, measured=_measured, paper=_paper, shown=_shown
    )


def _order_sentences(order: dict[str, list[Pair]]) -> list[str]:
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
            f"{heading}: of {len(pairs)} pairs that are published in an order, {', '.join(parts)}."
        )
        sentences += [
            f"{heading}, against what is published: {pair.worse} is better than {pair.better} by "
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


def _shown(column: Column, cell: Cell) -> str:
    """A cell of the Markdown table."""
    parts = []
    if cell.value is not None:
        parts.append(_measured(column, cell.value))
    elif cell.gap is not None:
        parts.append(GAP)
    if cell.paper is not None:
        parts.append(f"({_paper(column, cell.paper)})")
    return " ".join(parts)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _with_code(text: str) -> Markup:
    """What stands in backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _in_table(text: str) -> str:
    """A cell of a Markdown table, in which a bar would begin the next one."""
    return text.replace("|", "\\|")
