"""A running mean of the weights, which generalises better than the last step's (EMA).

Polyak and Juditsky 1992; the decay warms up as in TensorFlow's ExponentialMovingAverage, so that
the first steps do not hold on to the random start: min(decay, (1 + step) / (10 + step)).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

__all__ = ["Average"]


class Average:
    """Keeps a second model whose weights trail those of the first.

    Parameters
    ----------
    model
        The model that is trained, on its device. Its buffers (BatchNorm's statistics) are copied.
    decay
        Share of the old mean that stays at each step, once warmed up.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(requires_grad=False)
        self._decay = decay
        self._pairs = list(zip(self.model.parameters(), model.parameters(), strict=True))
        self._buffers = list(zip(self.model.buffers(), model.buffers(), strict=True))

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the mean towards the weights after optimiser step number `step`, from 0."""
        # A tensor, not a number: on XLA a changing constant would be another graph each step.
        share = torch.tensor([1 - min(self._decay, (1 + step) / (10 + step))])
        for mean, value in self._pairs:
            mean.add_((value - mean) * share.to(mean.device))
        for kept, found in self._buffers:
            kept.copy_(found)

    def tensors(self) -> dict[str, Tensor]:
        """Give the mean's state dict."""
        return dict(self.model.state_dict())
