"""What a user may give as a vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fuzzing
from ovsam.errors import VocabularyError
from ovsam.vocabulary.load import is_builtin, load_vocabulary, typed_vocabulary
from ovsam.vocabulary.names import typed_name
from ovsam.vocabulary.vocabulary import Vocabulary


@pytest.mark.fuzz
@settings(max_examples=fuzzing.examples(200))
@given(st.text("ab0 ,/_or'\"“”!~#{}\n.cocolvis猫é\u0301\u200b", max_size=20))
def test_any_typed_text_is_a_vocabulary_or_one_sentence(text: str) -> None:
    try:
        entries = typed_vocabulary(text)
    except VocabularyError as error:
        assert "\n" not in str(error)
        return
    if not is_builtin(entries):
        again = load_vocabulary([typed_name(name) for name in entries.classes])
        assert len(again) <= len(entries)


@pytest.mark.parametrize("name", ["dog", "coffee mug", "cocoa", "cat/kitten", "猫"])
def test_a_single_name_is_a_vocabulary(name: str) -> None:
    assert load_vocabulary(name).classes == load_vocabulary(f"{name},").classes
    assert len(load_vocabulary(name)) == 1


@pytest.mark.parametrize(
    ("name", "meant"),
    [("cocoo", "coco"), ("COCO", "coco"), ("imagenet", "imagenet1k"), ("lvsi", "lvis"),
     ("object365", "objects365"), ("22K", "22k"), ("coco_ov", "coco-ov")],
)  # fmt: skip
def test_a_slip_in_a_built_in_name_is_no_class(name: str, meant: str) -> None:
    with pytest.raises(VocabularyError, match=rf"did you mean {meant}\? A class .* '{name},'\.$"):
        load_vocabulary(name)
    assert load_vocabulary(f"{name},").classes == (name.replace("_", " "),)


@pytest.mark.parametrize(
    ("spec", "classes"),
    [
        ("cat, dog, coffee mug", ("cat", "dog", "coffee mug")),
        ("cat,", ("cat",)),
        ("cat\ndog\r\n", ("cat", "dog")),
        ("cat， dog、cup", ("cat", "dog", "cup")),
        ("cat/kitten, dog", ("cat", "dog")),
        (["cat, kitten", "dog"], ("cat", "dog")),
        (("cat",), ("cat",)),
    ],
)
def test_lists_of_names(spec: Any, classes: tuple[str, ...]) -> None:
    assert load_vocabulary(spec).classes == classes


def test_a_vocabulary_passes_through() -> None:
    entries = Vocabulary.from_names(["cat"])
    assert load_vocabulary(entries) is entries


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", r"vocabulary is empty.*coco, coco-ov, lvis"),
        (" , ,", r"vocabulary is empty\. Give one of"),
        ([], r"'custom' is empty"),
        (["cat", ""], r"Class 2 of vocabulary 'custom' has an empty name, got ''"),
        (["cat", "_/,"], r"Class 2 of vocabulary 'custom' has an empty name, got '_/,'"),
        (["cat", 3], r"Class 2 of vocabulary 'custom' must be a text, got 3"),
        ("cat, dog, !Cat", r"has the class 'Cat' twice\. Remove one or rename it"),
        (["~cat", "cat/kitten"], r"'cat' and 'cat', which mean the same, one seen and one not"),
        (["x" * 1001], r"Class 1 of vocabulary 'custom' has a name of 1,001 characters"),
        (["a\x00b"], r"Class 1 of vocabulary 'custom' has a control character in 'a\\x00b'"),
        ("cocoo", r"no vocabulary 'cocoo': did you mean coco\? A class .* comma, 'cocoo,'\."),
        ("COCO", r"no vocabulary 'COCO': did you mean coco\?"),
        ("nowhere.txt", r"file 'nowhere\.txt' does not exist"),
        ("nowhere.JSON", r"does not exist"),
        ("a\x00.txt", r"cannot be read"),
    ],
)
def test_bad_specs(spec: Any, message: str) -> None:
    with pytest.raises(VocabularyError, match=message) as caught:
        load_vocabulary(spec)
    assert "\n" not in str(caught.value)


def test_marks_count_in_words_and_tables_as_in_a_text_file(tmp_path: Path) -> None:
    made = load_vocabulary("!cat, ~dog, cup")
    assert made.classes == ("cat", "dog", "cup")
    assert made.answerable == (False, True, True)
    assert made.unseen == (False, True, False)
    (tmp_path / "mine.csv").write_text("!cat,kitty\n~dog\ncup\n")
    table = load_vocabulary(tmp_path / "mine.csv")
    assert (table.classes, table.answerable, table.unseen) == (
        made.classes,
        made.answerable,
        made.unseen,
    )


def test_a_list_of_built_in_names_is_no_list_of_classes() -> None:
    with pytest.raises(VocabularyError, match="'coco' is a built-in vocabulary and stands alone"):
        load_vocabulary("coco, lvis")


def test_a_file_of_another_kind_is_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    for name in ("labels.list", "data/labels", "cat"):
        Path(name).write_text("dog\n")
    for name in ("labels.list", "data/labels", "./cat"):
        with pytest.raises(VocabularyError, match="is a file of another kind"):
            load_vocabulary(name)
    assert load_vocabulary("cat").classes == ("cat",)
    assert load_vocabulary("data/cup").classes == ("data",)  # no file, but two names
