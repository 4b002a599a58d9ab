from __future__ import annotations

import pytest

from ovsam.errors import OvsamError
from ovsam.model.device import check_device


@pytest.mark.parametrize(
    "device", ["", " ", "CPU", "meta", "cpu:5", "cpu:", "abacus", "cuda:99", "cuda:-1", "cuda:x\n"]
)
def test_a_device_that_is_not_there_is_one_sentence(device: str) -> None:
    with pytest.raises(OvsamError, match=r"^(The device|device must be) .*\.$") as caught:
        check_device(device)
    assert "\n" not in str(caught.value)


def test_a_device_that_is_there() -> None:
    check_device("cpu")
    check_device("cpu:0")
