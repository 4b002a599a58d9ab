"""Vocabularies in text files, tables, JSON and annotation files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fuzzing
from ovsam.errors import VocabularyError
from ovsam.vocabulary.builtin import (
    COCO_NOVEL,
    lvis_groups,
)
from ovsam.vocabulary.files import read_lines
from ovsam.vocabulary.load import load_vocabulary
from ovsam.vocabulary.names import typed_name
from ovsam.vocabulary.vocabulary import Vocabulary

WORDS = st.text("abcdefghijklmnopqrstuvwxyzäé -'", min_size=1, max_size=8).filter(
    lambda word: word == " ".join(word.split()) and word != ""
)


CLASSES = st.lists(
    st.tuples(st.lists(WORDS, min_size=1, max_size=4, unique=True), st.booleans()),
    min_size=1,
    max_size=8,
    unique_by=lambda entry: entry[0][0].lower(),
).filter(lambda entries: any(answer for _, answer in entries))


def test_category_names_of_a_file_are_whole(tmp_path: Path) -> None:
    written = ["cat/kitten", "bag, paper", "flag_or_banner", '"quoted"', "!mark"]
    categories: list[dict[str, object]] = [
        {"id": i, "name": name} for i, name in enumerate(written)
    ]
    categories[0]["synonyms"] = ["puss/kitty", "cat"]  # LVIS's
    (tmp_path / "a.json").write_text(json.dumps({"categories": categories}))
    entries = load_vocabulary(tmp_path / "a.json")
    assert entries.classes == ("cat/kitten", "bag, paper", "flag or banner", '"quoted"', "!mark")
    assert entries.synonyms[:2] == (("cat/kitten", "puss/kitty", "cat"), ("bag, paper",))
    assert all(entries.answerable)


@pytest.mark.fuzz
@settings(max_examples=fuzzing.examples(100), suppress_health_check=[HealthCheck.too_slow])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["categories", "id", "name", "synonyms", "seen", "frequency"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_is_a_vocabulary_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, content: object
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(content))
    try:
        assert len(load_vocabulary(path)) >= 1
    except VocabularyError as error:
        assert "\n" not in str(error)
        assert str(path) in str(error)


def test_templates_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("a sketch of a {}.\ncat\n{simple}\n{odd} name\n")
    entries = load_vocabulary(path)
    assert entries.templates == ("a sketch of a {}.", "{simple}")
    assert entries.classes == ("cat", "{odd} name")
    assert entries.only("cat").templates == entries.templates
    plain = dataclasses.replace(entries, templates=())
    assert entries.fingerprint != plain.fingerprint


@given(CLASSES)
def test_text_file_round_trip(entries: list[tuple[list[str], bool]]) -> None:
    lines = [
        ("" if answer else "! ") + ", ".join(map(typed_name, names)) for names, answer in entries
    ]
    read, templates = read_lines("\n".join(lines), "v")
    assert not templates
    parsed = Vocabulary("v", tuple(read))
    assert parsed.classes == tuple(names[0] for names, _ in entries)
    assert parsed.synonyms == tuple(tuple(names) for names, _ in entries)
    assert parsed.answerable == tuple(answer for _, answer in entries)


def test_text_file_with_comments_marks_and_windows_lines(tmp_path: Path) -> None:
    path = tmp_path / "shop.txt"
    path.write_bytes("\ufeff# my shop\r\nMug, cup\r\n\r\n  !shelf\r\nC#\r\n".encode())
    for spec in (path, str(path)):
        entries = load_vocabulary(spec)
        assert entries.name == "shop"
        assert entries.classes == ("Mug", "shelf", "C#")
        assert entries.synonyms == (("mug", "cup"), ("shelf",), ("c#",))
        assert entries.answerable == (True, False, True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"'names' is empty\. Give at least one class name"),
        (b"# only a comment\n\n", r"'names' is empty"),
        (b"cat\n, ,\n", r"Line 2 of vocabulary 'names' has no class name, got ', ,'"),
        (b"cat\ndog\n!CAT\n", r"'names' has the class 'CAT' twice"),
        (b"!cat\n", r"no class that may be the answer"),
        (b"\xff\xd8\xff\xe0", r"names\.txt' is not UTF-8 text\. Save it as UTF-8"),
        (b"x" * 1_000_001, r"Line 1 of vocabulary 'names' has 1,000,001 characters, the limit is"),
    ],
)
def test_bad_text_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(content)
    with pytest.raises(VocabularyError, match=message):
        load_vocabulary(path)


def test_a_directory_is_no_vocabulary(tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match=r"is a directory\. Give the path of one file"):
        load_vocabulary(tmp_path)


def test_annotation_file_gives_its_categories_in_order_of_id(tmp_path: Path) -> None:
    path = tmp_path / "lvis_val.json"
    categories = [
        {"id": 7, "name": "flag_or_banner", "frequency": "r"},
        {"id": 2, "name": "alarm_clock", "synonyms": ["alarm_clock", "Alarm"]},
    ]
    path.write_text(json.dumps({"images": [], "categories": categories}))
    entries = load_vocabulary(str(path))
    assert entries.name == "lvis_val"
    assert entries.classes == ("alarm clock", "flag or banner")
    assert entries.synonyms == (("alarm clock", "alarm"), ("flag or banner",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"is not valid JSON"),
        ("[" * 100_000, r"is not valid JSON"),
        ("[]", r"must have a list 'categories' of \{id, name\}"),
        ('{"categories": {}}', r"must have a list 'categories'"),
        ('{"categories": []}', r"is empty: it lists no categories"),
        ('{"categories": ["cat"]}', r"must have a list 'categories'"),
        ('{"categories": [{"id": 1}]}', r"must have a list 'categories'"),
        ('{"categories": [{"id": "1", "name": "cat"}]}', r"must have a list 'categories'"),
        ('{"categories": [{"id": 1, "name": "cat", "synonyms": "c"}]}', r"must have a list"),
        ('{"categories": [{"id": 1, "name": " "}]}', r"has an empty name"),
    ],
)
def test_bad_annotation_files(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "annotations.json"
    path.write_text(content)
    with pytest.raises(VocabularyError, match=message):
        load_vocabulary(path)


def test_a_table_has_a_class_in_each_row(tmp_path: Path) -> None:
    path = tmp_path / "things.csv"
    path.write_text('Name,Synonyms\n"mug, large",cup\n\n!Cat,kitty,\ndog\n', encoding="utf-8-sig")
    found = load_vocabulary(str(path))
    assert found.classes == ("mug, large", "Cat", "dog")
    assert found.synonyms == (("mug, large", "cup"), ("cat", "kitty"), ("dog",))
    assert found.answerable == (True, False, True)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_table_with_other_separators(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "things.csv"
    path.write_text(f'class{separator}synonyms\ncat{separator}"kitten, tabby"\n')
    assert load_vocabulary(path).synonyms == (("cat", "kitten, tabby"),)


def test_a_cell_of_synonyms_may_hold_several(tmp_path: Path) -> None:
    path = tmp_path / "things.csv"
    path.write_text("name,synonyms,seen\ncat,kitty; tabby,no,,\ndog,pup|hound,yes\n")
    found = load_vocabulary(path)
    assert found.synonyms == (("cat", "kitty", "tabby"), ("dog", "pup", "hound"))
    assert found.novel == ("cat",)
    path.write_text("name,seen,synonyms\ncat,no,kitty,tabby\n")  # what is seen can be told
    assert load_vocabulary(path).synonyms == (("cat", "kitty", "tabby"),)
    path.write_text("cat,kitty; tabby\n")  # no heading: a cell is a name
    assert load_vocabulary(path).synonyms == (("cat", "kitty; tabby"),)


def test_unseen_classes_of_files(tmp_path: Path) -> None:
    table = tmp_path / "things.csv"
    table.write_text("name,seen,synonyms\ncat,no,kitten\ndog,yes\n!cup,No,mug\nfox\n")
    entries = load_vocabulary(table)
    assert entries.novel == ("cat", "cup")
    assert entries.synonyms == (("cat", "kitten"), ("dog",), ("cup", "mug"), ("fox",))
    listed = tmp_path / "things.json"
    listed.write_text(json.dumps(["fox", {"name": "cat", "seen": False}, {"name": "dog"}]))
    assert load_vocabulary(listed).novel == ("cat",)
    assert load_vocabulary("coco-ov").novel == load_vocabulary("coco").with_unseen(COCO_NOVEL).novel
    assert set(load_vocabulary("lvis").novel) == set(lvis_groups()["rare"])
    assert load_vocabulary("coco").novel == ()


def test_unseen_classes_of_a_text_file(tmp_path: Path) -> None:
    path = tmp_path / "things.txt"
    path.write_text("~cat, kitten\ndog\n!~ cup\n~!fox\n")
    entries = load_vocabulary(path)
    assert entries.classes == ("cat", "dog", "cup", "fox")
    assert entries.novel == ("cat", "cup", "fox")
    assert entries.answerable == (True, True, False, False)


def test_a_json_list_of_names_with_or_without_synonyms(tmp_path: Path) -> None:
    path = tmp_path / "things.json"
    path.write_text('["salt/pepper", {"name": "Dog", "synonyms": ["puppy"]}, {"name": "tv"}]')
    found = load_vocabulary(path)
    assert found.classes == ("salt/pepper", "Dog", "tv")
    assert found.synonyms == (("salt/pepper",), ("dog", "puppy"), ("tv",))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("v.csv", '"cut', "is no CSV"),
        ("v.csv", "name,synonyms\n", "is empty"),
        ("v.csv", "name,synonyms,colour\ncat,kitten,red\n", "has a column 'colour'"),
        ("v.txt", "cat\n{opneai}\n", r"Line 2 of vocabulary 'v' is '\{opneai\}', no name"),
        (
            "v.json",
            '["cat", {"name": "dog", "seen": "no"}]',
            "Class 2 of .* must be a name, or like",
        ),
        ("v.csv", "name,seen\ncat,yes\ndog,pup,no\n", "Row 3 of .* has 3 cells, its heading 2"),
        ("v.csv", "name,seen\ncat,maybe\n", "says 'maybe' in the column 'seen' of 'cat'"),
        ("v.json", '[{"name": "cat", "seen": "no"}]', "Class 1 of .* must be a name, or like"),
        ("v.json", "[1]", "Class 1 of .* must be a name, or like"),
        ("v.json", "[]", "or be a list of names"),
        ("v.json", '["cat", ""]', "Class 2 of vocabulary 'v' has an empty name"),
        ("v.json", '[{"synonyms": ["cat"]}]', "Class 1 of .* must be a name, or like"),
        ("v.json", '["cat", {"name": "dog", "synonims": ["x"]}]', "Class 2 .* has 'synonims'"),
    ],
)
def test_tables_and_lists_that_are_none(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(VocabularyError, match=message) as caught:
        load_vocabulary(path)
    assert str(path) in str(caught.value)


def test_a_table_s_heading_is_no_class(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("Label,synonyms\ncat,kitty\n")
    assert load_vocabulary(path).classes == ("cat",)
    path.write_text("id,name\n1,cat\n")
    with pytest.raises(VocabularyError, match="has its names in column 2"):
        load_vocabulary(path)


def test_rare_classes_of_an_lvis_file_are_unseen(tmp_path: Path) -> None:
    categories = [
        {"id": 1, "name": "cat", "frequency": "f"},
        {"id": 2, "name": "yak", "frequency": "r"},
    ]
    (tmp_path / "lvis.json").write_text(json.dumps({"categories": categories}))
    assert load_vocabulary(tmp_path / "lvis.json").novel == ("yak",)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("v.txt", "*2.5 cat, kitty\n!*4 'mug'\ncup\n"),
        ("v.csv", "name,weight,synonyms,seen\ncat,2.5,kitty,\n!mug,4,,\ncup,,,\n"),
        ("v.csv", "name;synonym;weight\ncat;kitty;2.5\n!mug;;4\ncup\n"),
        (
            "v.json",
            '[{"name": "cat", "synonyms": ["kitty"], "weight": 2.5}, {"name": "!mug", "weight": 4},'
            ' "cup"]',
        ),
    ],
)
def test_weights_of_files(tmp_path: Path, file: str, content: str) -> None:
    (tmp_path / file).write_text(content)
    made = load_vocabulary(tmp_path / file)
    assert made.synonyms == (("cat", "kitty"), ("mug",), ("cup",))
    assert [entry.weight for entry in made.entries] == [2.5, 4, 1]
    assert made.answerable == (True, False, True)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("v.txt", "dog\n*ten cat\n", r"followed by the weight of the class.*got '\*ten cat'"),
        ("v.csv", "name,weight\ncat,ten\n", "says 'ten' in the column 'weight' of 'cat'"),
        ("v.csv", "name,weight\ncat,nan\n", "Class 'cat' has the weight nan"),
        ("v.csv", "name,weight\ncat,3,kitty\n", "which of them is 'weight' cannot be told"),
        ("v.json", '[{"name": "cat", "weight": "3"}]', "Class 'cat' has the weight '3'"),
        ("v.json", '[{"name": "cat", "weight": 1e9}]', "Class 'cat' has the weight 1000000000.0"),
    ],
)
def test_weights_of_files_that_are_none(
    tmp_path: Path, file: str, content: str, message: str
) -> None:
    (tmp_path / file).write_text(content)
    with pytest.raises(VocabularyError, match=message) as caught:
        load_vocabulary(tmp_path / file)
    assert str(tmp_path / file) in str(caught.value)
