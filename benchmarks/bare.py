"""A training step as one writes it by hand: network, loss, backward, clip, AdamW, and no more.

What `benchmarks.steps` measures the engine against. The arithmetic is that of the stages, written
down again from its formulas, so that equal losses show that both do the same work.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    log_softmax,
    normalize,
)

__all__ = ["Bare", "Batch"]

Batch = dict[str, Tensor]
TEMPERATURE = 0.05
FEATURES = 128


class Bare:
    """Model, optimiser and step, on the CPU or on XLA.

    Parameters
    ----------
    name
        Stage whose loss it takes; the loss has the weights of the presets.
    model
        On the device.
    rate, decay, clip
        First learning rate, decoupled weight decay, largest norm of the gradient.
    bf16
        Run the network in bfloat16 by autocast.
    xla
        Cut the graph after each step.
    fused
        Let AdamW go through memory once.
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        *,
        rate: float,
        decay: float,
        clip: float,
        bf16: bool = False,
        xla: bool = False,
        fused: bool = False,
    ) -> None:
        self.model, self.clip, self.bf16 = model.train(), clip, bf16
        self.loss = LOSSES[name]
        weights = [p for p in model.parameters() if p.ndim >= 2]
        rest = [p for p in model.parameters() if p.ndim < 2]
        groups = [
            {"params": weights, "weight_decay": decay},
            {"params": rest, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=rate, fused=fused)
        self.device = "xla" if xla else "cpu"
        self.sync: Callable[[], object] = _cut() if xla else lambda: None

    def step(self, batch: Batch, rate: float) -> Tensor:
        """Train on one batch and return its loss, still on the device."""
        batch = {name: value.to(self.device) for name, value in batch.items()}
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss: Tensor = self.loss(self._network, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.sync()
        return loss.detach()

    def _network(self, image: Tensor) -> Tensor:
        context: Any = contextlib.nullcontext()
        if self.bf16:
            context = torch.autocast(self.device, dtype=torch.bfloat16)
        with context:
            out: Tensor = self.model(image)
        return out.float()


def _cut() -> Callable[[], object]:
    import torch_xla

    cut: Callable[[], object] = torch_xla.sync
    return cut


Network = Callable[[Tensor], Tensor]


def _segment(network: Network, batch: Batch) -> Tensor:
    """Soft Dice of the batch plus cross-entropy; 255 and padding count nowhere."""
    logits, target = network(batch["image"]), batch["target"].float()
    valid = (target != 255).float() * batch["weight"].reshape(-1, 1, 1, 1)
    truth = (target == 1).float()
    probability = torch.sigmoid(logits) * valid
    inside = truth * valid
    overlap, total = (probability * inside).sum(), probability.sum() + inside.sum()
    entropy = binary_cross_entropy_with_logits(logits, truth, reduction="none")
    mean = (entropy * valid).sum() / valid.sum().clamp(min=1)
    return 1 - (2 * overlap + 1) / (total + 1) + mean


def _classifier(network: Network, batch: Batch) -> Tensor:
    """Cross-entropy over patches."""
    loss = cross_entropy(network(batch["image"]), batch["target"], reduction="none")
    return (loss * batch["weight"]).sum() / batch["weight"].sum().clamp(min=1)


def _encoder(network: Network, batch: Batch) -> Tensor:
    """NT-Xent over two views a film."""
    views = batch["image"].flatten(0, 1).unsqueeze(1)
    unit = normalize(network(views)[:, -FEATURES:], dim=1)
    group = batch["group"].repeat_interleave(2)
    real = batch["weight"].repeat_interleave(2)
    others = real[None, :] * (1 - torch.eye(len(unit), device=unit.device))
    shares = log_softmax(unit @ unit.T / TEMPERATURE - (1 - others) * 1e6, dim=1)
    partners = (group[:, None] == group[None, :]).float() * others
    count = partners.sum(dim=1)
    loss = -(shares * partners).sum(dim=1) / count.clamp(min=1)
    counted = real * (count > 0).float()
    return (loss * counted).sum() / counted.sum().clamp(min=1)


def _autoencoder(network: Network, batch: Batch) -> Tensor:
    """Absolute error plus one minus cosine of what was hidden."""
    image, mask = batch["image"].flatten(1), batch["scored"].float().flatten(1)
    given = network(batch["image"] * (1 - batch["hidden"].float())).flatten(1)
    count = mask.sum(dim=1, keepdim=True).clamp(min=1)
    error = ((given - image).abs() * mask).sum(dim=1) / count[:, 0]
    middle = (image * mask).sum(dim=1, keepdim=True) / count
    left, right = (given - middle) * mask, (image - middle) * mask
    length = ((left**2).sum(dim=1) + 1e-6) * ((right**2).sum(dim=1) + 1e-6)
    film = error + 1 - (left * right).sum(dim=1) * torch.rsqrt(length)
    counted = batch["weight"] * mask.amax(dim=1)
    return (film * counted).sum() / counted.sum().clamp(min=1)


LOSSES: dict[str, Callable[[Network, Batch], Tensor]] = {
    "segment": _segment,
    "pretrain-classifier": _classifier,
    "pretrain-encoder": _encoder,
    "pretrain-autoencoder": _autoencoder,
}
