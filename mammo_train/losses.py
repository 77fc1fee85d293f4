"""Losses on logits, in float32 whatever the network ran in, safe for empty masks.

Ignored pixels (255) and padding samples (weight 0) are taken out by multiplication, never by
boolean indexing, which would change shapes and fall back to the host on XLA.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "IGNORE",
    "contrastive_loss",
    "deep_loss",
    "local_contrast",
    "patch_loss",
    "pixel_loss",
    "reconstruction_losses",
    "region_loss",
    "segmentation_loss",
]

IGNORE = 255


def region_loss(
    logits: Tensor,
    target: Tensor,
    valid: Tensor,
    *,
    kind: Literal["dice", "iou"] = "dice",
    smooth: float = 1.0,
) -> Tensor:
    """Soft Dice or IoU loss of the whole batch, one number.

    Sums run over the batch, not over each film: a film without lesion then adds its false
    probability to the denominator, so "predict nothing" has a gradient, while a per-film overlap of
    an empty mask is constant (Milletari et al. 2016, arXiv:1606.04797; batch form as in nnU-Net).
    ``smooth`` pixels are added above and below, so a batch without any lesion has the loss
    ``1 - smooth / (false mass + smooth)``, which falls to 0 for a network that predicts nothing.

    Parameters
    ----------
    logits, target, valid
        (N, 1, H, W) floats; target and valid are 0 or 1, valid 0 takes a pixel out.
    """
    probability = torch.sigmoid(logits.float()) * valid
    truth = target.float() * valid
    overlap = (probability * truth).sum()
    total = probability.sum() + truth.sum()
    if kind == "dice":
        return 1 - (2 * overlap + smooth) / (total + smooth)
    return 1 - (overlap + smooth) / (total - overlap + smooth)


def pixel_loss(
    logits: Tensor,
    target: Tensor,
    valid: Tensor,
    *,
    gamma: float = 0.0,
    lesion_weight: float = 1.0,
) -> Tensor:
    """Mean binary cross-entropy over valid pixels; with gamma > 0 the focal loss without alpha.

    Shapes as in `region_loss` (Lin et al. 2017, arXiv:1708.02002). A lesion's pixels count
    ``lesion_weight`` times: they are about one in a hundred, and without it a network predicts
    nothing for its first hundreds of steps. A batch without a valid pixel gives 0.
    """
    logits, truth = logits.float(), target.float()
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    if gamma > 0:
        probability = torch.sigmoid(logits)
        missed = truth * (1 - probability) + (1 - truth) * probability
        entropy = entropy * missed**gamma
    entropy = entropy * (1 + (lesion_weight - 1) * truth)
    return (entropy * valid).sum() / valid.sum().clamp(min=1)


def segmentation_loss(
    logits: Tensor,
    target: Tensor,
    weight: Tensor,
    *,
    region: Literal["dice", "iou"] = "dice",
    region_weight: float = 1.0,
    pixel_weight: float = 1.0,
    gamma: float = 0.0,
    lesion_weight: float = 1.0,
) -> Tensor:
    """Weighted sum of overlap loss and cross-entropy.

    Parameters
    ----------
    logits
        (N, 1, H, W).
    target
        (N, 1, H, W): 1 lesion, 0 none, 255 ignored.
    weight
        (N,): 0 for padding samples, which then have no effect at all, else 1.
    """
    target = target.float()
    valid = (target != IGNORE).float() * weight.float().reshape(-1, 1, 1, 1)
    truth = (target == 1).float()
    overlap = region_loss(logits, truth, valid, kind=region)
    entropy = pixel_loss(logits, truth, valid, gamma=gamma, lesion_weight=lesion_weight)
    return region_weight * overlap + pixel_weight * entropy


def deep_loss(
    logits: Sequence[Tensor], target: Tensor, loss: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Mean of a loss over logits of full size, half of it, and so on, each counting half as much.

    Deep supervision (Lee et al. 2015, arXiv:1409.5185) with the weights of nnU-Net (Isensee et al.
    2021, doi:10.1038/s41592-020-01008-z). A coarse pixel is lesion where any pixel under it is, so
    that small lesions do not vanish, and else ignored where any is.

    Parameters
    ----------
    logits
        (N, 1, H / 2**k, W / 2**k) for k = 0, 1 ...
    target
        (N, 1, H, W): 1 lesion, 0 none, 255 ignored.
    loss
        Of logits and a target of their size.
    """
    lesion, ignored = (target == 1).float(), (target == IGNORE).float()
    total = loss(logits[0], target)
    for level, coarse in enumerate(logits[1:], 1):
        lesion, ignored = F.max_pool2d(lesion, 2), F.max_pool2d(ignored, 2)
        total = total + loss(coarse, lesion + IGNORE * ignored * (1 - lesion)) / 2**level
    return total / sum(2.0**-level for level in range(len(logits)))


def patch_loss(
    logits: Tensor, target: Tensor, weight: Tensor, *, label_smoothing: float = 0.0
) -> Tensor:
    """Mean cross-entropy of (N, C) logits against (N,) classes over samples with weight."""
    weight = weight.float()
    loss = F.cross_entropy(
        logits.float(), target.long(), reduction="none", label_smoothing=label_smoothing
    )
    return (loss * weight).sum() / weight.sum().clamp(min=1)


def contrastive_loss(
    projection: Tensor, group: Tensor, weight: Tensor, *, temperature: float
) -> Tensor:
    """NT-Xent: each view should find the views of its group among all others.

    With two views a group it is that of Chen et al. 2020 (arXiv:2002.05709, equation 1); with more
    the mean over a view's partners of the same logarithm (Khosla et al. 2020, arXiv:2004.11362,
    equation 2). Views of weight 0 are nobody's partner and nobody's negative, and a view without a
    partner adds nothing.

    Parameters
    ----------
    projection
        (M, D), of any length: cosine similarity is taken.
    group, weight
        (M,): views of one number belong together; 0 for padding.
    """
    unit = F.normalize(projection.float(), dim=1)
    real = weight.float()
    itself = torch.eye(len(unit), device=unit.device)
    others = real[None, :] * (1 - itself)
    # Far below any cosine over any temperature, so that the exponential is 0; not infinite, whose
    # product with 0 is no number.
    logits = unit @ unit.T / temperature - (1 - others) * 1e6
    shares = F.log_softmax(logits, dim=1)
    partners = (group[:, None] == group[None, :]).float() * others
    count = partners.sum(dim=1)
    loss = -(shares * partners).sum(dim=1) / count.clamp(min=1)
    counted = real * (count > 0).float()
    return (loss * counted).sum() / counted.sum().clamp(min=1)


def local_contrast(image: Tensor, breast: Tensor, side: int) -> Tensor:
    """Give each pixel's departure from the mean of its surroundings, over their deviation.

    As the normalised pixels of He et al. 2021 (arXiv:2111.06377, §4.1), with a window that moves.
    The level of a film, its thickness and its edge to the air are most of a picture's variance and
    can be told from afar; without them what is left to restore is tissue.

    Parameters
    ----------
    image, breast
        (N, 1, H, W); breast is 1 or 0, air counts in no mean.
    side
        Of the square window in pixels, odd.

    Returns
    -------
    Tensor
        (N, 1, H, W), float32, 0 in the air.
    """
    image, breast = image.float(), breast.float()

    def mean(values: Tensor) -> Tensor:
        pooled = F.avg_pool2d(values * breast, side, 1, side // 2)
        return pooled / share

    share = F.avg_pool2d(breast, side, 1, side // 2).clamp(min=1e-6)
    middle = mean(image)
    spread = (mean(image**2) - middle**2).clamp(min=0)
    # A hundredth of the range of grey levels is noise: flat tissue is not blown up to structure.
    return (image - middle) * torch.rsqrt(spread + 0.04**2) * breast


def reconstruction_losses(prediction: Tensor, image: Tensor, scored: Tensor) -> Tensor:
    """Give each film's mean absolute error and one minus cosine, over scored pixels alone: (N, 2).

    The cosine is that of the two pictures' departures from the true mean of the scored pixels, so
    it asks for structure where the absolute error asks for levels; without that subtraction it is
    nearly 1 for any grey picture. A film of which nothing is scored has 0 and 1.

    Parameters
    ----------
    prediction, image, scored
        (N, 1, H, W); scored is 1 or 0.
    """
    given, truth = prediction.float().flatten(1), image.float().flatten(1)
    mask = scored.float().flatten(1)
    count = mask.sum(dim=1, keepdim=True).clamp(min=1)
    error = ((given - truth).abs() * mask).sum(dim=1) / count[:, 0]
    middle = (truth * mask).sum(dim=1, keepdim=True) / count
    given, truth = (given - middle) * mask, (truth - middle) * mask
    # A flat picture has no direction: the small number keeps its gradient finite.
    length = ((given**2).sum(dim=1) + 1e-6) * ((truth**2).sum(dim=1) + 1e-6)
    cosine = (given * truth).sum(dim=1) * torch.rsqrt(length)
    return torch.stack([error, 1 - cosine], dim=1)
