from __future__ import annotations

import pytest
import torch

from ovsam.errors import CheckpointError
from ovsam.model.state_dict import NAMES_SHOWN, check_finite, differences
from ovsam.model.tensors import as_array, as_arrays, as_tensor, check_kinds, fill


def test_long_lists_are_cut_and_counted() -> None:
    text = differences({f"layer.{i}": (1,) for i in range(100)}, {})
    assert text.startswith("100 missing: layer.0 (1,), layer.1 (1,)")
    assert text.endswith(f"and {100 - NAMES_SHOWN} more")


def test_fill_takes_the_right_weights() -> None:
    with torch.device("meta"):
        layer = torch.nn.Linear(2, 3)
    fill(layer, {"weight": torch.ones(3, 2), "bias": torch.zeros(3)}, "here")
    assert layer(torch.ones(1, 2)).tolist() == [[2, 2, 2]]
    with pytest.raises(CheckpointError, match=r"'here' do not fit.*1 missing: bias \(3,\)"):
        fill(layer, {"weight": torch.ones(3, 2)}, "here")


def test_whole_numbers_are_another_kind() -> None:
    expected = {"count": torch.tensor(1), "weight": torch.ones(1), "half": torch.ones(1)}
    check_kinds(expected, {**expected, "half": torch.ones(1).half()}, "here")
    with pytest.raises(CheckpointError, match=r"'here' .* numbers: count float32, weight int64\.$"):
        check_kinds(
            expected, {**expected, "count": torch.ones(1), "weight": torch.tensor(1)}, "here"
        )


def test_weights_are_finite() -> None:
    check_finite(as_arrays({"a": torch.ones(2), "count": torch.tensor(1)}), "here")
    bad = {"a": torch.ones(2), "b": torch.tensor([0, torch.inf]), "c": torch.tensor(torch.nan)}
    with pytest.raises(CheckpointError, match=r"not finite: b, c\. Whoever"):
        check_finite(as_arrays(bad), "here")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int64])
def test_tensors_and_arrays_share_their_memory(dtype: torch.dtype) -> None:
    tensor = torch.arange(6).to(dtype).reshape(2, 3)
    array = as_array(tensor)
    assert array.shape == (2, 3) and array.astype("f4").tolist() == [[0, 1, 2], [3, 4, 5]]
    back = as_tensor(array)
    back[0, 0] = 7
    assert back.dtype == dtype and float(tensor[0, 0]) == 7
