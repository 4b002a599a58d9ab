"""How annotated instances are pointed at, worked out by hand."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
from numpy.typing import NDArray

from ovsam.cli.compare import compare
from ovsam.cli.evaluate import evaluate
from ovsam.errors import PromptError
from ovsam.evaluate.kinds import EvaluationKind, PromptKind
from ovsam.evaluate.prompts import annotated_prompt, centre_point_xy
from ovsam.formats.annotations import Instance
from ovsam.structures import Prompt
from photo_folder import rectangle

SIZE = (400, 600)


def instance(box: tuple[float, float, float, float], number: int = 1) -> Instance:
    return Instance(number, 1, "cat", box, float("nan"), None)


def prompt(kind: Any, item: Instance, mask: NDArray[np.bool_] | None = None) -> Prompt:
    return annotated_prompt(item, mask, kind, SIZE, image_size=512)


def box(item: Instance, kind: str = "noisy-box") -> NDArray[np.float64]:
    found = prompt(kind, item).box_xyxy
    assert found is not None
    return found


@pytest.mark.parametrize(("command", "kinds"), [(evaluate, EvaluationKind), (compare, PromptKind)])
def test_the_help_names_every_kind(command: Any, kinds: Any) -> None:
    [option] = get_type_hints(command, include_extras=True)["prompts"].__metadata__
    for kind in get_args(kinds):
        assert f"({kind})" in option.help


def test_a_box_is_the_annotated_one_though_it_sticks_out() -> None:
    assert box(instance((-5.5, 10, 50, 500)), "box").tolist() == [-5.5, 10, 50, 500]


def test_noise_is_a_tenth_of_the_sides() -> None:
    """60 and 100 pixels: standard deviations of 6 and 10, and each box is off in its own way."""
    exact = np.array([200.0, 100.0, 260.0, 200.0])
    noise = np.stack([box(instance((200, 100, 260, 200), n)) - exact for n in range(500)])
    assert noise.mean(0) == pytest.approx([0, 0, 0, 0], abs=1.5)
    assert noise.std(0) == pytest.approx([6, 10, 6, 10], rel=0.1)


def test_noise_is_20_pixels_at_most_and_stays_on_the_photo() -> None:
    exact = np.array([40.0, 30.0, 540.0, 390.0])  # standard deviations of 50 and 36 pixels
    boxes = np.stack([box(instance((40, 30, 540, 390), n)) for n in range(200)])
    assert np.abs(boxes - exact).max() <= 20
    assert (np.abs(boxes - exact) > 19.99).any()
    assert boxes[:, 3].max() == 400, "the photo ends there"
    outside = np.stack([box(instance((-30, -30, 20, 20), n)) for n in range(50)])
    assert outside.min() == 0


def test_noise_is_that_of_the_part_in_the_photo() -> None:
    """Of which the annotation alone decides: 10 pixels wide, whatever sticks out of the photo."""
    boxes = np.stack([box(instance((590, 100, 600 + 1e6, 200), n)) for n in range(200)])
    assert boxes[:, 0].std() == pytest.approx(1, rel=0.2)
    assert boxes[:, 2].max() == 600


def test_a_noisy_box_beside_the_photo_is_refused_as_an_exact_one_is() -> None:
    with pytest.raises(PromptError, match="outside the photo"):
        box(instance((600, 10, 620, 30)))


def test_a_random_point_is_any_pixel_of_the_mask() -> None:
    """Four pixels: each is hit by about a quarter of many instances, at its centre."""
    mask = rectangle(10, 20, 12, 22, size_hw=SIZE)
    mask[200, 300] = True
    mask[21, 11] = False
    points = [
        tuple(prompt("random-point", instance((10, 20, 301, 201), n), mask).points_xy[0].tolist())
        for n in range(400)
    ]
    expected = {(10.5, 20.5), (11.5, 20.5), (10.5, 21.5), (300.5, 200.5)}
    assert set(points) == expected
    assert min(points.count(point) for point in expected) > 70


@pytest.mark.parametrize("kind", ["noisy-box", "random-point"])
def test_chance_goes_by_the_annotation_alone(kind: str) -> None:
    mask = rectangle(100, 100, 300, 300, size_hw=SIZE)
    items = [instance((100, 100, 300, 300), n) for n in (-1, 7, 2**40)]
    items.append(instance((100, 100, 300, 299), 7))  # numbered anew in another photo

    def drawn(order: list[int]) -> dict[int, str]:
        found = {}
        for i in order:
            asked = prompt(kind, items[i], mask)
            found[i] = f"{asked.box_xyxy} {asked.points_xy}"
        return found

    first = drawn([0, 1, 2, 3])
    assert drawn([2, 3, 0, 1]) == first
    assert len(set(first.values())) == 4


@pytest.mark.parametrize("kind", ["point", "random-point"])
def test_a_point_of_an_object_without_a_pixel_is_the_middle_of_its_box(kind: str) -> None:
    empty = np.zeros(SIZE, np.bool_)
    assert prompt(kind, instance((10, 20, 11, 30)), empty).points_xy.tolist() == [[10.5, 25]]
    assert prompt(kind, instance((690, 20, 700, 30)), empty).points_xy.tolist() == [[600, 25]]
    with pytest.raises(ValueError, match="on the annotated mask"):
        prompt(kind, instance((10, 20, 11, 30)))


@pytest.mark.parametrize("image_size", [15, 60, 240])
def test_centre_is_in_photo_pixels_whatever_the_network_sees(image_size: int) -> None:
    mask = np.zeros((40, 60), dtype=bool)
    mask[8:33, 20:45] = True  # centre (32.5, 20.5)
    x, y = centre_point_xy(mask, image_size)
    assert abs(x - 32.5) <= max(2, 60 / image_size)
    assert abs(y - 20.5) <= max(2, 60 / image_size)
    assert mask[int(y), int(x)]


def test_centre_of_an_object_between_the_networks_pixels() -> None:
    mask = np.zeros((400, 600), dtype=bool)
    mask[1, 1] = True
    assert centre_point_xy(mask, 6).tolist() == [1.5, 1.5]
