"""What may be shown on ImageNet's photos."""

from __future__ import annotations

from ovsam import load_vocabulary
from tools.named_boxes.plausible_names import plausible_names


def test_a_goldfish_is_no_cat() -> None:
    folders = [f"n{i:08}" for i in range(1000)]  # in the order of the vocabulary's classes
    plausible = plausible_names(folders[::-1], "imagenet1k")
    classes = load_vocabulary("imagenet1k").classes
    names = {name: plausible[folders[i]] for i, name in enumerate(classes)}
    assert names["goldfish"] == {"goldfish"}
    assert names["beagle"] == {"beagle", "dog"}
    assert "kite" not in names["kite"] and "cup" not in names["cup"]  # a bird, and punch
    assert "refrigerator" in names["refrigerator"]
    assert names["school bus"] == {"school bus", "bus", "person"}
