"""The operator without torchvision's import is torchvision's."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torchvision import ops

from ovsam.model.roi_align import mean_in_boxes, roi_align, roi_align_by_products

ROIS = torch.tensor(
    [[0, 3.0, 5.0, 40.0, 29.0], [1, 0.0, 0.0, 64.0, 48.0], [1, 10.0, 9.0, 11.0, 9.5]]
)


def maps() -> torch.Tensor:
    return torch.randn(2, 3, 12, 16, generator=torch.Generator().manual_seed(0))


def test_values_are_torchvision_s() -> None:
    expected = ops.roi_align(maps(), ROIS, 5, 1 / 4, aligned=True)
    torch.testing.assert_close(roi_align(maps(), ROIS, 5, 1 / 4), expected)


def test_the_gradient_is_that_of_the_mean_of_samples() -> None:
    """A region of whole cells, one sample for each: every cell has the same share."""
    features = torch.zeros(1, 1, 4, 4, requires_grad=True)
    roi_align(features, torch.tensor([[0.0, 0, 0, 4, 4]]), 4, 1.0).mean().backward()  # type: ignore[no-untyped-call]
    assert features.grad is not None
    torch.testing.assert_close(features.grad, torch.full((1, 1, 4, 4), 1 / 16))


def test_it_needs_no_import_of_torchvision() -> None:
    """Neither the compiler that torchvision brings; and torchvision may still come later."""
    script = (
        "import sys, torch\n"
        "from ovsam.model.roi_align import roi_align\n"
        "x, rois = torch.ones(1, 1, 4, 4), torch.tensor([[0.0, 0, 0, 4, 4]])\n"
        "assert roi_align(x, rois, 2, 1.0).tolist() == [[[[1, 1], [1, 1]]]]\n"
        "assert not {'torchvision', 'torch._dynamo'} & set(sys.modules)\n"
        "from torchvision import ops\n"
        "x.requires_grad_()\n"
        "roi_align(x, rois, 2, 1.0).sum().backward()\n"
        "assert float(x.grad.sum()) == 4\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_tensors_without_data_have_shapes_in_a_fresh_process() -> None:
    """What `ovsam complexity` counts with, when nothing has imported torchvision before."""
    script = (
        "import torch\n"
        "from ovsam.model.roi_align import roi_align\n"
        "with torch.device('meta'), torch.inference_mode():\n"
        "    pooled = roi_align(torch.empty(2, 3, 8, 8), torch.empty(5, 5), 7, 1 / 32)\n"
        "assert pooled.shape == (5, 3, 7, 7)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("seed", range(5))
def test_products_give_what_the_operator_gives(seed: int) -> None:
    """For boxes of every size and place, also beyond the map, and thin ones."""
    generator = torch.Generator().manual_seed(seed)
    rois = torch.rand(40, 4, generator=generator) * 90 - 15
    rois[:, 2:] = rois[:, :2] + torch.rand(40, 2, generator=generator) * 80
    rois[:4, 2] = rois[:4, 0] + 0.1
    rois = torch.cat([torch.randint(2, (40, 1), generator=generator), rois], 1)
    expected = ops.roi_align(maps(), rois, 5, 1 / 4, aligned=True)
    torch.testing.assert_close(roi_align_by_products(maps(), rois, 5, 1 / 4), expected)
    batch = rois[:, 0].long()
    means = mean_in_boxes(maps(), rois[:, 1:], batch, 5, 4)
    torch.testing.assert_close(means, expected.mean((2, 3)))


def test_without_torchvision_s_operators_products_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = roi_align(maps(), ROIS, 5, 1 / 4)
    monkeypatch.setattr("ovsam.model.roi_align._loads_operators", lambda: False)
    torch.testing.assert_close(roi_align(maps(), ROIS, 5, 1 / 4), expected)
