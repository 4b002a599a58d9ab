"""EfficientNet-Lite (Google 2020), the trunk of `lite`, as the convolutions that inference needs.

That is EfficientNet (Tan and Le, ICML 2019) without squeeze-and-excitation, with ReLU6. It is
written out here because it is short, and because the batch norms are already folded into the
convolutions: a frozen trunk needs none, and runs faster without. timm's model of the same name is
what its tests compare it with.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

# Kernel, stride, expansion, channels and layers of the seven stages at width and depth 1.
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_STEM, _HEAD = 32, 1280  # not scaled with the width
SCALES = {  # width and depth of each member of the family
    "efficientnet_lite0": (1.0, 1.0),
    "efficientnet_lite1": (1.0, 1.1),
    "efficientnet_lite2": (1.1, 1.2),
    "efficientnet_lite3": (1.2, 1.4),
    "efficientnet_lite4": (1.4, 1.8),
}


class InvertedResidual(nn.Module):
    """1x1 to more channels, depthwise convolution, 1x1 back (MobileNetV2's block).

    Args:
        channels: in.
        out_channels: out.
        kernel: side of the depthwise kernel; odd.
        stride: of the depthwise convolution.
        expansion: channels between as a multiple of those in; 1 = no first convolution.
    """

    def __init__(
        self, channels: int, out_channels: int, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        inner = channels * expansion
        self.expand = nn.Conv2d(channels, inner, 1) if expansion > 1 else None
        self.depthwise = nn.Conv2d(inner, inner, kernel, stride, kernel // 2, groups=inner)
        self.project = nn.Conv2d(inner, out_channels, 1)
        self.residual = stride == 1 and channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """`(B, channels, H, W)` -> `(B, out_channels, H / stride, W / stride)`."""
        y: Tensor = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        y = self.project(F.relu6(self.depthwise(y), inplace=True))
        y = x + y if self.residual else y
        return y


class EfficientNetLite(nn.Module):
    """A classifier's convolutions: pixels -> C2..C5, the last with the classifier's 1,280 channels.

    Args:
        architecture: one of `SCALES`.
    """

    def __init__(self, architecture: str) -> None:
        super().__init__()
        width, depth = SCALES[architecture]
        self.stem = nn.Conv2d(3, _STEM, 3, stride=2, padding=1)
        channels, stages = _STEM, []
        for i, (kernel, stride, expansion, base, layers) in enumerate(_STAGES):
            # The family keeps the depth of the first and the last stage.
            count = layers if i in (0, len(_STAGES) - 1) else math.ceil(layers * depth)
            out = _divisible(base * width)
            blocks = []
            for j in range(count):
                step = stride if j == 0 else 1
                blocks.append(InvertedResidual(channels, out, kernel, step, expansion))
                channels = out
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.head = nn.Conv2d(channels, _HEAD, 1)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Normalised pixels `(B, 3, H, W)` -> C2..C5 at strides 4, 8, 16, 32."""
        x = F.relu6(self.stem(pixels), inplace=True)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps[1], maps[2], maps[4], F.relu6(self.head(maps[6]), inplace=True)


def _divisible(channels: float) -> int:
    """The nearest multiple of 8, but never more than a tenth below (MobileNet's rule)."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
