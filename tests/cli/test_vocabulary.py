"""`ovsam vocabulary` as a user types it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import ovsam
from cli.commands import DEVICES
from fakes import FakePredictor
from ovsam.cli import app as cli
from ovsam.cli import vocabulary as cli_vocabulary
from ovsam.vocabulary.builtin import builtin_vocabularies
from ovsam.vocabulary.load import load_vocabulary
from ovsam.vocabulary.vocabulary import Vocabulary


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, ["vocabulary", *arguments])


def output(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return str(result.stdout)


def rows(*arguments: str) -> list[list[str]]:
    """The rows of a table that is printed, without the headings."""
    lines = [line.split("  ") for line in output(*arguments).splitlines() if line.strip()]
    return [[cell.strip() for cell in cells if cell.strip()] for cells in lines][2:]


def test_list() -> None:
    listed = {name: (classes, names) for name, classes, names, _ in rows("list")}
    assert list(listed) == list(builtin_vocabularies())
    assert listed["coco"] == ("80", "254")
    assert listed["22k"][0] == "21,185"


@pytest.mark.parametrize("name", builtin_vocabularies())
def test_show_gives_a_file_of_the_same_vocabulary(name: str, tmp_path: Path) -> None:
    shown = output("show", name)
    path = tmp_path / "mine.txt"
    path.write_text(shown)
    original, again = load_vocabulary(name), load_vocabulary(path)
    assert again.fingerprint == original.fingerprint
    assert again.novel == original.novel
    assert shown.startswith(f"# {name}: {len(original):,} classes, ")
    assert "\n# " in shown.partition("\n# One class on each line")[0]


def test_show_a_list_of_ones_own() -> None:
    assert output("show", "cat/kitten, dog") == "# custom: 2 classes, 3 names\ncat, kitten\ndog\n"
    assert output("show", "cup") == "# custom: 1 class, 1 name\ncup\n"
    assert output("show", "~cup") == "# custom: 1 class, 1 name\n~cup\n"


def test_show_marks_what_only_competes() -> None:
    assert "\n!traffic light, " in output("show", "coco-ov")


def test_show_one_kind_only() -> None:
    shown = output("show", "coco", "--only", "carnivore", "--only", "bird")
    assert shown.startswith("# coco, only carnivore or bird: 4 classes, ")
    names = [line.split(", ")[0] for line in shown.splitlines() if not line.startswith("#")]
    assert names == ["bird", "cat", "dog", "bear"]


def test_show_gives_templates_back(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("a sketch of a {}.\n{simple}\ncat\n")
    shown = output("show", str(path))
    path.write_text(shown)
    assert load_vocabulary(path).templates == ("a sketch of a {}.", "{simple}")


def test_search_finds_whole_names_first() -> None:
    found = rows("search", "Cat", "--vocabulary", "cattle, tabby cat, bobcat, pet/cat,")
    assert found == [["custom", "pet", "cat"], ["custom", "cattle"], ["custom", "tabby cat"]]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("hot-dog", "hot dog"),
        ("Hotdog", "hot dog"),
        ("hot  dogs", "hot dog"),
        ("wine_glasses", "wine glass"),
        ("toothbrushes", "toothbrush"),
        ("ski", "skis"),
    ],
)
def test_search_is_not_strict_about_how_a_word_is_written(words: str, name: str) -> None:
    assert rows("search", words, "--vocabulary", "coco")[0][1] == name


def test_search_for_no_word() -> None:
    for word in ("-", "  "):
        assert_one_sentence(run("search", "--", word), "There is nothing to search for.", 2)


def test_search_everywhere() -> None:
    found = rows("search", "dalmatian")
    assert ["lvis", "dalmatian"] in found
    assert ["imagenet1k", "dalmatian", "coach dog, carriage dog"] in found
    assert {row[0] for row in found} == {"lvis", "imagenet1k", "imagenet21k", "22k"}


def test_search_says_how_many_it_leaves_out() -> None:
    short = output("search", "dog", "--vocabulary", "22k")
    assert "… and " in short and " more; --all lists them" in short
    everything = rows("search", "dog", "--vocabulary", "22k", "--all")
    assert len(everything) > cli_vocabulary.SHOWN
    assert everything[0][:2] == ["22k", "dog"]


def test_names_in_brackets_are_no_markup() -> None:
    assert rows("search", "red", "--vocabulary", "[red] cup, dog") == [["custom", "[red] cup"]]


def test_diff() -> None:
    assert output("diff", "cat/kitten, dog, cup", "puppy/Dog, CAT/tomcat, bed, lamp") == (
        "custom: 3 classes, 2 of them in the other\n"
        "custom: 4 classes, 2 of them in the other\n"
        "only in custom (1):\n"
        "  cup\n"
        "only in custom (2):\n"
        "  bed\n"
        "  lamp\n"
        "in both, shown by another name (1):\n"
        "  dog, puppy\n"
        "in both, with other names (2):\n"
        "  cat (-kitten, +tomcat)\n"
        "  dog (+puppy)\n"
    )


def test_diff_of_what_is_shown() -> None:
    """The same names in another order, and a synonym more."""
    shown = output("diff", "sofa/couch, cat/kitty", "couch/sofa, kitty/kitten/cat")
    assert "shown by another name (2):\n  sofa, couch\n  cat, kitty\n" in shown
    assert "with other names (1):\n  cat (+kitten)\n" in shown


def test_diff_knows_what_means_the_same() -> None:
    shown = output("diff", "sofa, bike, cup", "couch, velocipede, bicycle")
    assert "custom: 3 classes, 2 of them in the other" in shown
    assert "shown by another name (2):\n  sofa, couch\n  bike, bicycle\n" in shown


def test_diff_of_answers() -> None:
    shown = output("diff", "coco", "coco-ov")
    assert "\nthe answer in one of them only (15):\n  traffic light\n" in shown
    assert "only in coco" not in shown


def test_diff_of_what_is_unseen(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("~cat\ndog\n")
    shown = output("diff", "cat, dog", str(path))
    assert shown.endswith("\nunseen in one of them only (1):\n  cat\n")


def test_diff_of_the_same() -> None:
    assert output("diff", "coco", "coco").endswith("\nno difference\n")


def test_diff_is_cut_unless_all_is_asked_for() -> None:
    shown = output("diff", "coco", "lvis")
    assert "  … and 1,0" in shown
    assert "more;" not in output("diff", "coco", "lvis", "--all")


def test_build(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = FakePredictor()
    prepared: list[str] = []

    def load(name: str, *, vocabulary: Vocabulary, device: str) -> Any:
        assert (name, device) == ("lite", "cpu")
        predictor.model_name, predictor.vocabulary = name, vocabulary
        return predictor

    def prepare(_: None, progress: Callable[[int, int], None]) -> Vocabulary:
        progress(0, 2)
        progress(2, 2)
        prepared.append(predictor.vocabulary.name)
        return predictor.vocabulary

    monkeypatch.setattr(ovsam, "load", load, raising=False)
    monkeypatch.setattr(predictor, "prepare", prepare)
    result = run("build", "coco")
    assert result.exit_code == 0, result.output
    assert result.stdout == "lite has the embeddings of coco: 80 classes, 254 names\n"
    assert prepared == ["coco"]


def test_build_with_lite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New names are embedded once and kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    result = run("build", "blue wug, red blicket/dax")
    assert result.exit_code == 0, result.output
    assert result.stdout == "lite has the embeddings of custom: 2 classes, 3 names\n"
    assert [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "cocoo"], "There is no vocabulary 'cocoo': did you mean coco?"),
        (["show", "nowhere.txt"], "Vocabulary file 'nowhere.txt' does not exist"),
        (
            ["search", "wug", "--vocabulary", "coco", "--vocabulary", "lvis"],
            "No class of coco, lvis has 'wug' in a name. Give fewer letters or another vocabulary.",
        ),
        (["search", "cat", "--vocabulary", "cocoo"], "There is no vocabulary 'cocoo'"),
        (["diff", "coco", "cocoo"], "There is no vocabulary 'cocoo'"),
        (["build", "cat, !Cat"], "has the class 'Cat' twice"),
        (["build", "coco", "--model", "nothing.pth"], "nothing.pth"),
    ],
)
def test_errors_are_one_sentence(arguments: list[str], message: str) -> None:
    assert_one_sentence(run(*arguments), message, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["build", "coco", "--model", "nothing"], "Unknown model 'nothing'"),
        (["build", "coco", "--device", "tpu"], f"{DEVICES}, got 'tpu'."),
        (["show", "coco", "--only", "vehicel"], "Did you mean vehicle"),
    ],
)
def test_values_that_no_option_has(arguments: list[str], message: str) -> None:
    assert_one_sentence(run(*arguments), message, 2)


def assert_one_sentence(result: Any, message: str, code: int) -> None:
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    errors = result.stderr.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert message in errors[0]


def test_weights_are_shown_as_they_are_typed(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("!~*3 cat, kitty\n*0.125 dog\n'*2 cup'\n*1 bed\n*1e-6 '!x'\n")
    shown = output("show", str(path))
    assert shown.splitlines()[1:] == [
        "!~*3 cat, kitty", "*0.125 dog", '"*2 cup"', "bed", '*1e-06 "!x"'
    ]  # fmt: skip
    (tmp_path / "again.txt").write_text(shown)
    again = load_vocabulary(tmp_path / "again.txt")
    assert again.fingerprint == load_vocabulary(path).fingerprint


def test_diff_of_weights() -> None:
    shown = output("diff", "*3 cat, dog", "cat, dog")
    assert shown.endswith("\nin both, with other weights (1):\n  cat (3, 1)\n")
