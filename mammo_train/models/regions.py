"""The classifier of ``classify``: a ResNet on each region of a film, and from regions to the film.

The film's score is a logit of "malignant". *Noisy-or*: it is unless every region is not, regions
taken as independent. *Max*: that of its most suspicious region. *Attention*: a head over all
regions' features, weighed by a second head (Ilse, Tomczak, Welling 2018, arXiv:1802.04712).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mammo_train.data.selection import BACKGROUND, BENIGN, MALIGNANT

__all__ = ["FilmScore", "RegionClassifier", "film_logit", "film_loss", "malignant_logit"]

FilmScore = Literal["noisy-or", "max", "attention"]
CLASSES = 3
_LEAST = 1e-6  # of a film's probability: its logarithm stays finite in float32
_ABSENT = -1e4


class FixedNorm(nn.Module):
    """BatchNorm with the statistics that it came with, as plain arithmetic.

    Weights and statistics keep BatchNorm's names, so that either reads the other's checkpoint.
    BatchNorm in evaluation mode would do the same, but torch_xla has no gradient for it.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps
        for name, value in norm.named_buffers():
            self.register_buffer(name, value)

    def forward(self, x: Tensor) -> Tensor:
        """Scale and shift each channel of (N, C, H, W)."""
        scale = self.weight * torch.rsqrt(self.get_buffer("running_var") + self.eps)
        shift = self.bias - self.get_buffer("running_mean") * scale
        return x * scale.to(x.dtype)[:, None, None] + shift.to(x.dtype)[:, None, None]


def _fix_norms(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, FixedNorm(child))
        else:
            _fix_norms(child)


class RegionClassifier(nn.Module):
    """Films (N, R, S, S) as R patches each to (N, R, 3) logits.

    Parameters
    ----------
    patches
        torchvision's ResNet with an ``fc`` of three classes, one channel.
    film_head
        Whether two more numbers a region follow, value and attention of the film's head: then the
        result is (N, R, 5).
    fixed_norm
        Whether BatchNorm keeps the statistics that it came with also in training. The regions of a
        few films are a small and uneven batch; their statistics are not those of inference.
    """

    def __init__(self, patches: nn.Module, *, film_head: bool, fixed_norm: bool = False) -> None:
        super().__init__()
        classes = patches.fc
        if not isinstance(classes, nn.Linear):
            raise TypeError("the patch classifier must end in a linear layer named fc")
        patches.fc = nn.Identity()
        self.patches, self.classes = patches, classes
        self.film = nn.Linear(classes.in_features, 2) if film_head else None
        if fixed_norm:
            _fix_norms(self.patches)

    def forward(self, image: Tensor) -> Tensor:
        """Classify every patch of every film."""
        films, regions = image.shape[:2]
        features = self.patches(image.reshape(films * regions, 1, *image.shape[2:]))
        out: Tensor = self.classes(features)
        if self.film is not None:
            out = torch.cat([out, self.film(features)], dim=1)
        return out.reshape(films, regions, out.shape[1])


def malignant_logit(out: Tensor) -> Tensor:
    """Give log odds of malignant against the other two classes, (N, R), float32."""
    out = out.float()
    background, benign = out[..., BACKGROUND], out[..., BENIGN]
    return out[..., MALIGNANT] - background - F.softplus(benign - background)


def film_logit(out: Tensor, present: Tensor, kind: FilmScore) -> Tensor:
    """Give the logit of "this film is malignant", (N,), float32.

    Parameters
    ----------
    out
        (N, R, 3), or (N, R, 5) for ``attention``.
    present
        (N, R): 1 for a region, 0 for what fills the row.
    """
    present = present.float()
    if kind == "attention":
        value, attention = out[..., CLASSES].float(), out[..., CLASSES + 1].float()
        share = torch.softmax(attention * present + _ABSENT * (1 - present), dim=1)
        return (share * value).sum(dim=1)
    odds = malignant_logit(out)
    if kind == "max":
        return (odds * present + _ABSENT * (1 - present)).amax(dim=1)
    none = -(F.softplus(odds) * present).sum(dim=1)
    none = none.clamp(max=-_LEAST)
    return torch.log(-torch.expm1(none)) - none


def film_loss(logit: Tensor, film: Tensor, weight: Tensor) -> Tensor:
    """Mean binary cross-entropy of films with weight; all (N,)."""
    weight = weight.float()
    loss = F.binary_cross_entropy_with_logits(logit, film.float(), reduction="none")
    return (loss * weight).sum() / weight.sum().clamp(min=1)
