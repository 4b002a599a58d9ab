"""Vocabularies made of the files of data sets: data.yaml, LabelMe's folders, COCO's categories."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from ovsam.errors import VocabularyError
from ovsam.vocabulary.class_lists import lists_classes
from ovsam.vocabulary.load import load_vocabulary


def labelme(path: Path, *labels: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shapes = [{"label": label, "points": [], "shape_type": "polygon"} for label in labels]
    path.write_text(json.dumps({"shapes": shapes, "imagePath": "a.jpg"}))


@pytest.mark.parametrize(
    ("content", "classes"),
    [
        ("names: {0: cat, 2: w/o helmet, 1: coffee_mug}\n", ("cat", "coffee mug", "w/o helmet")),
        ("names: ['bag, paper', no, 24/7 shop]\nnc: 3\n", ("bag, paper", "no", "24/7 shop")),
        ("names:\n- cat\n- dog\n- CAT\n- DOG\n", ("cat", "dog")),
    ],
)
def test_a_data_yaml_is_a_vocabulary(
    tmp_path: Path, content: str, classes: tuple[str, ...]
) -> None:
    file = tmp_path / "data.yaml"
    file.write_text(content)
    for spec in (file, str(file), str(tmp_path), f"{tmp_path}/", tmp_path):
        vocabulary = load_vocabulary(spec)
        assert vocabulary.classes == classes
        assert vocabulary.synonyms == tuple((name,) for name in classes), "whole"


def test_a_folder_of_labelmes_is_a_vocabulary(tmp_path: Path) -> None:
    labelme(tmp_path / "set/train/a.json", "dog", "N/A", "__ignore__")
    labelme(tmp_path / "set/val/b.json", "cat", "dog", "_background_", 7, "")
    labelme(tmp_path / "set/.trash/c.json", "ox")
    (tmp_path / "set/val/._b.json").write_bytes(b"\0\5\x16\7")
    assert load_vocabulary(str(tmp_path / "set")).classes == ("N/A", "cat", "dog")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data.yaml", "names: [\n", r"data\.yaml' is no YAML that ovsam reads"),
        ("data.yaml", 'names: ["a\\0b"]\n', "has a control character"),
        ("a.json", '{"shapes": []}', "has no LabelMe file with a label"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(VocabularyError, match=message) as caught:
        load_vocabulary(tmp_path)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_a_folder_of_label_studios_is_a_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("w/o helmet\n\nN/A\n", encoding="utf-8-sig")
    assert load_vocabulary(str(tmp_path)).classes == ("w/o helmet", "N/A")
    assert load_vocabulary(tmp_path / "classes.txt").classes[0] == "w/o helmet"
    (tmp_path / "classes.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(VocabularyError, match=r"classes\.txt' cannot be read.*Save them as UTF-8"):
        load_vocabulary(str(tmp_path))


def test_a_missing_data_yaml() -> None:
    with pytest.raises(VocabularyError, match=r"Cannot read 'none\.yaml': No such file"):
        load_vocabulary("none.yaml")


def test_a_folder_of_something_else_is_no_list(tmp_path: Path) -> None:
    (tmp_path / "notes.yaml").write_text("a: 1\n")
    (tmp_path / "a.json").write_text("{}")
    assert not lists_classes(str(tmp_path))
    assert not lists_classes("coco")


def test_a_heading_is_no_name_of_the_vocabulary(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content: dict[str, Any] = {
        "categories": [
            {"id": 0, "name": "pets", "supercategory": "none"},
            {"id": 2, "name": "dog", "supercategory": "pets"},
            {"id": 1, "name": "cat", "supercategory": "pets"},
        ],
        "annotations": [{"category_id": 1}],
    }
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    with caplog.at_level(logging.WARNING):
        assert load_vocabulary(path).classes == ("cat", "dog")
    assert "'pets' is no class: no object has it, it is a heading of others." in caplog.text
    content["categories"].append({"id": 3, "name": "_background_", "supercategory": None})
    path.write_text(json.dumps(content))  # as LabelMe's converter writes it
    assert load_vocabulary(path).classes == ("cat", "dog")
    content["annotations"] += [{"category_id": 0}, {"category_id": 3}]
    path.write_text(json.dumps(content))
    assert load_vocabulary(path).classes == ("pets", "cat", "dog", "background")
