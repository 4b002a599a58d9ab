"""What the page says."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from made_run import SET, folders, outcome, write_report
from ovsam.paper.order import Pair
from ovsam.paper.page import Page, Pictures, Section, to_html, to_markdown
from ovsam.paper.reports import Reports
from ovsam.paper.results import Results
from ovsam.paper.table_set import read_table_set

PNG = b"\x89PNG made up"


@pytest.fixture
def page(tmp_path: Path) -> Page:
    where = folders(tmp_path)
    (tmp_path / "set.toml").write_text(SET)
    tables = read_table_set(str(tmp_path / "set.toml"))
    write_report(where, "plain/box", [outcome(1, "person", 0.5, 0), outcome(2, "person", 0.7, 3)])
    order = {
        "IoU": [Pair("Trained", "Plain", -0.1, 0.01), Pair("Trained", "Other", 0.1, 0.2)],
        "top-1": [],
        "top-5": [Pair("Trained", "Plain", 0.0, 0.0)],
    }
    filled = Results(Reports(tables, where)).fill(tables.tables[0])
    pictures = (
        Pictures("Both", "both.png", PNG, "", "ovsam pictures x"),
        Pictures("None", "none.png", None, "it is missing", "ovsam pictures <y>"),
    )
    section = Section(filled, order, ("costs.png", PNG))
    return Page(tables.title, tables.about, (section,), pictures)


def test_markdown(page: Page, tmp_path: Path) -> None:
    text = to_markdown(page)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
    assert len({len(row) for row in cells}) == 1
    assert cells[2][:4] == ["1", "Plain", "60.0 (50.0)", "50.0 (40.0)"]
    assert re.fullmatch(r"\d+\.\d \(3,000\)", cells[2][4])
    assert cells[3][2:4] == ["– (60.0)", "– (70.5)"]
    assert f"- 2: not measured: {tmp_path}/run/reports/trained/box.json is missing" in text
    assert "- 3: not ours" in text
    assert "\novsam train clip2sam-lite" in text
    assert (
        "- IoU: of 2 pairs that are published in an order, 0 come out so, 1 the other way "
        "round, 1 differ by no more than 2 standard errors." in text
    )
    assert "- IoU, against what is published: Plain is better than Trained by 10.0 ± 1.0." in text
    assert "top-1:" not in text
    assert (
        "- top-5: of 1 pairs that are published in an order, 0 come out so, 0 the other way "
        "round, 0 differ by no more than 2 standard errors, 1 are not compared, the "
        "same object by object." in text
    )
    for shown in ("(costs.png)", "(both.png)", "Not drawn: it is missing.", "ovsam pictures <y>"):
        assert shown in text


def test_html_stands_alone(page: Page) -> None:
    text = to_html(page)
    found: list[tuple[str, dict[str, str | None]]] = []
    depth: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append((tag, dict(attrs)))
            if tag not in ("meta", "img"):
                depth.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert depth.pop() == tag

    Parser().feed(text)
    assert depth == []
    sources = [attributes["src"] for tag, attributes in found if tag == "img"]
    assert len(sources) == 2
    assert all(source and source.startswith("data:image/png;base64,") for source in sources)
    assert not {"script", "link", "iframe"} & {tag for tag, _ in found}
    assert "http" not in text
    assert "<td>&lt;Others&gt;</td>" in text
    assert "ovsam pictures &lt;y&gt;" in text
    assert "<p>Made up <code>of &lt;it&gt;</code>.</p>" in text
    assert "<b>60.0</b><small>(50.0)</small>" in text
    titles = [attributes.get("title") for tag, attributes in found if tag == "span"]
    assert "not ours" in titles
