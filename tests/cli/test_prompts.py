"""Prompts as typed on the command line."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzzing import examples
from ovsam.cli.prompts import format_prompt, parse_prompts
from ovsam.errors import PromptError
from ovsam.structures import Prompt


@pytest.mark.parametrize(
    ("text", "points", "labels"),
    [
        ("120,80", [[120, 80]], [1]),
        (" 120 , 80 ", [[120, 80]], [1]),
        ("1.5,2e1,1", [[1.5, 20]], [1]),
        ("120,80; 140,95,0", [[120, 80], [140, 95]], [1, 0]),
        ("120,80 140,95,0", [[120, 80], [140, 95]], [1, 0]),
        ("120, 80;140, 95, 0;", [[120, 80], [140, 95]], [1, 0]),
        ("140,95,0; 120,80", [[140, 95], [120, 80]], [0, 1]),
    ],
)
def test_points(text: str, points: list[list[float]], labels: list[int]) -> None:
    [prompt] = parse_prompts([], [text])
    assert prompt.points_xy.tolist() == points
    assert prompt.point_labels is not None
    assert prompt.point_labels.tolist() == labels
    assert prompt.box_xyxy is None


def test_box_with_and_without_points_comes_before_points() -> None:
    alone, joined, point = parse_prompts(["1,2,3,4", "10,20,200,180; 50,60; 70,80,0"], ["5,6"])
    assert alone.box_xyxy is not None
    assert alone.box_xyxy.tolist() == [1, 2, 3, 4]
    assert len(alone.points_xy) == 0
    assert joined.points_xy.tolist() == [[50, 60], [70, 80]]
    assert joined.point_labels is not None
    assert joined.point_labels.tolist() == [1, 0]
    assert point.points_xy.tolist() == [[5, 6]]


def test_box_with_only_points_off_the_object() -> None:
    [prompt] = parse_prompts(["10,20,200,180; 70,80,0"], [])
    assert prompt.point_labels is not None
    assert prompt.point_labels.tolist() == [0]


@pytest.mark.parametrize(
    ("boxes", "points", "message"),
    [
        ([], ["140,95,0"], "only where the object is not"),
        ([], ["1,2,0; 3,4,0"], "only where the object is not"),
        ([], [""], "must hold a point"),
        ([], [" ; "], "must hold a point"),
        ([], ["abc"], "'abc' in 'abc' is not a number"),
        ([], ["1,"], "'' in '1,' is not a number"),
        ([], ["12"], "a group of 1: 12"),
        ([], ["10,20,30,40"], "a group of 4"),
        ([], ["10,20,30"], "got 30"),
        ([], ["10,20,-1"], "got -1"),
        ([], ["nan,3"], "must be finite"),
        ([], ["inf,3"], "must be finite"),
        (["10,20"], [], r"got 2 \(for a point use --point\)"),
        (["10,20,30,40,50"], [], "got 5"),
        ([""], [], "got 0"),
        (["30,20,10,40"], [], "x0 < x1"),
        (["10,20,10,40"], [], "x0 < x1"),
        (["10,20,nan,40"], [], "must be finite"),
        (["10,20,30,40; 5"], [], "a group of 1"),
        ([], ["1e400,3"], "must be finite"),
        ([], ["1e300,3"], "must lie between"),
        ([], ["1_000,3"], "'1_000' in '1_000,3' is not a number"),
        ([], ["\u0663,3"], "is not a number"),
        ([], ["\uff11,3"], "is not a number"),
        ([], ["0x10,3"], "'0x10' in '0x10,3' is not a number"),
        ([], ["1" * 100_000 + ",3"], "must be finite"),
        ([], ["a" * 100_000], "is not a number"),
        ([], ["1," * 50_000 + "1"], "a group of 50001: 1,1,1,1,1,1,1,1, ..."),
        ([], ["1,2;" * 1001], "must have at most 2,000 numbers"),
        ([], ["1,2,0;" * 1001], "only where the object is not"),
        (["1 " * 50_000], [], "must begin with the box's four numbers"),
        ([" " * 100_000], [], "got 0"),
        ([], ["1" + " " * 100_000 + "2"], "a group of 1"),
    ],
)
def test_errors_name_the_text_and_the_form(
    boxes: list[str], points: list[str], message: str
) -> None:
    with pytest.raises(PromptError, match=message) as caught:
        parse_prompts(boxes, points)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_thousand_boxes() -> None:
    prompts = parse_prompts([f"{i},0,{i + 1},5" for i in range(1000)], [])
    assert [prompt.box_xyxy[0] for prompt in prompts if prompt.box_xyxy is not None] == list(
        range(1000)
    )


coordinate = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))


@given(st.lists(st.tuples(coordinate, coordinate, st.integers(0, 1)), max_size=5), st.booleans())
def test_formatted_prompt_reads_back(points: list[tuple[float, float, int]], boxed: bool) -> None:
    if not boxed and not any(label for *_, label in points):
        return
    prompt = Prompt(
        points_xy=np.array([[x, y] for x, y, _ in points]),
        point_labels=np.array([label for *_, label in points]),
        box_xyxy=np.array([0.5, 1.0, 7.25, 9.0]) if boxed else None,
    )
    text = format_prompt(prompt)
    [again] = parse_prompts([text], []) if boxed else parse_prompts([], [text])
    assert again.points_xy.tolist() == prompt.points_xy.tolist()
    assert np.array_equal(np.asarray(again.point_labels), np.asarray(prompt.point_labels))


@pytest.mark.fuzz
@settings(max_examples=examples(300))
@given(st.text(max_size=30) | st.text("0123456789+-.,; eExX_infa\u0663\n", max_size=40))
def test_any_text_is_a_prompt_or_a_prompt_error(text: str) -> None:
    boxed: tuple[list[str], list[str]] = ([text], [])
    for boxes, points in (boxed, boxed[::-1]):
        try:
            assert len(parse_prompts(boxes, points)) == 1
        except PromptError as error:
            assert "\n" not in str(error)
