"""The U-Net's encoder with a small projection head, for contrastive learning.

The deepest map is pooled by mean and by maximum before the head, so the head's size does not grow
with the image (Chen et al. 2020, arXiv:2002.05709; two layers): 1.1 million parameters with base
64, 0.6 million with base 32. It is left behind when the encoder moves on.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from mammo_train.models.unet import Encoder

__all__ = ["ContrastiveEncoder"]

HIDDEN, PROJECTION = 512, 128


class ContrastiveEncoder(Encoder):
    """Maps images to pooled features and their projection.

    Parameters
    ----------
    base, levels, norm
        As in `Encoder`, whose weights' names it keeps.
    """

    def __init__(
        self, base: int = 32, levels: int = 5, *, norm: Literal["batch", "group"] = "batch"
    ) -> None:
        super().__init__(base, levels, norm=norm)
        self.features = 2 * self.widths[-1]
        self.project = nn.Sequential(
            nn.Linear(self.features, HIDDEN), nn.ReLU(inplace=True), nn.Linear(HIDDEN, PROJECTION)
        )
        self.start()

    def forward(self, image: Tensor) -> Tensor:
        """Map images (N, 1, H, W) to (N, features + projection), one beside the other.

        One tensor, so that whatever wraps a network may wrap this one; `split` parts it.
        """
        deepest = self.encode(image)[-1]
        pooled = torch.cat([deepest.mean(dim=(2, 3)), deepest.amax(dim=(2, 3))], dim=1)
        return torch.cat([pooled, self.project(pooled)], dim=1)

    @staticmethod
    def split(output: Tensor) -> tuple[Tensor, Tensor]:
        """Part what `forward` gave into features and projection, float32."""
        output = output.float()
        return output[:, :-PROJECTION], output[:, -PROJECTION:]
