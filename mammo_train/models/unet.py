"""U-Net (Ronneberger, Fischer, Brox 2015, arXiv:1505.04597) that gives logits.

Two 3x3 convolutions a level, padded so that the output has the input's size, a norm after each;
transposed 2x2 convolutions go up, because they lower on XLA where interpolation falls back to the
host. One logit channel, "lesion": malignancy is the classifier's question, so that a lesion of
unknown pathology still teaches the U-Net where lesions are.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["Encoder", "UNet"]

# The share of lesion pixels is about one in a hundred; a start at that prior spares the first
# steps the unlearning of "half of everything is lesion" (Lin et al. 2017, arXiv:1708.02002 §3.3).
PRIOR = 0.01


def _norm(kind: str, channels: int) -> nn.Module:
    if kind == "group":
        return nn.GroupNorm(math.gcd(8, channels), channels)
    return nn.BatchNorm2d(channels)


def _block(inside: int, outside: int, norm: str) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, padding=1),
        _norm(norm, outside),
        nn.ReLU(inplace=True),
        nn.Conv2d(outside, outside, 3, padding=1),
        _norm(norm, outside),
        nn.ReLU(inplace=True),
    )


class Encoder(nn.Module):
    """The way down of the U-Net; who builds on it has its weights under the same names.

    Parameters
    ----------
    base
        Channels of the first level; each level doubles them.
    levels
        Number of levels; the image's sides must divide by ``2 ** (levels - 1)``.
    inputs
        Channels of the image.
    norm
        ``batch`` or ``group`` (groups of at most 8 channels' greatest common divisor).
    """

    def __init__(
        self,
        base: int = 32,
        levels: int = 5,
        *,
        inputs: int = 1,
        norm: Literal["batch", "group"] = "batch",
    ) -> None:
        super().__init__()
        self.widths = [base * 2**level for level in range(levels)]
        self.down = nn.ModuleList(
            _block(inside, outside, norm)
            for inside, outside in zip([inputs, *self.widths[:-1]], self.widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)

    def start(self) -> None:
        """Draw the weights of all convolutions."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def encode(self, image: Tensor) -> list[Tensor]:
        """Map images (N, inputs, H, W) to one map a level, the deepest last."""
        maps: list[Tensor] = []
        x = image
        for depth, block in enumerate(self.down):
            x = block(x if depth == 0 else self.pool(x))
            maps.append(x)
        return maps


class UNet(Encoder):
    """Encoder and decoder with concatenated skips.

    Parameters
    ----------
    base, levels, inputs, norm
        As in `Encoder`. With base 32, five levels, one input and two outputs it has the 7,765,442
        parameters of the usual form.
    outputs
        Channels of the logits.
    deep
        Whether the coarser levels of the decoder have logits of their own, for training alone.
    """

    def __init__(
        self,
        base: int = 32,
        levels: int = 5,
        *,
        inputs: int = 1,
        outputs: int = 1,
        norm: Literal["batch", "group"] = "batch",
        deep: bool = False,
    ) -> None:
        super().__init__(base, levels, inputs=inputs, norm=norm)
        widths = self.widths
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(2 * width, width, 2, stride=2) for width in widths[-2::-1]
        )
        self.merge = nn.ModuleList(_block(2 * width, width, norm) for width in widths[-2::-1])
        self.head = nn.Conv2d(base, outputs, 1)
        coarse = widths[1:-1] if deep else []
        self.coarse = nn.ModuleList(nn.Conv2d(width, outputs, 1) for width in coarse)
        self.start()
        for head in (self.head, *self.coarse):
            nn.init.normal_(head.weight, std=0.01)
            nn.init.constant_(head.bias, -math.log((1 - PRIOR) / PRIOR))

    def forward(self, image: Tensor) -> Tensor:
        """Map images (N, inputs, H, W) to logits (N, outputs, H, W)."""
        logits: Tensor = self.head(self._decode(image)[-1])
        return logits

    def pyramid(self, image: Tensor) -> list[Tensor]:
        """Map images to logits of each level that has some: full size first, then half of it.

        All levels but the deepest where the network is `deep`, else the full size alone.
        """
        *coarse, finest = self._decode(image)
        heads = zip(self.coarse, reversed(coarse), strict=False)
        return [self.head(finest), *(head(x) for head, x in heads)]

    def _decode(self, image: Tensor) -> list[Tensor]:
        skips = self.encode(image)
        x = skips.pop()
        maps: list[Tensor] = []
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([skips.pop(), up(x)], dim=1))
            maps.append(x)
        return maps
