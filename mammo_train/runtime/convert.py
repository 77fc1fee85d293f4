"""Arithmetic that every device does to a batch once it has arrived."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["widen"]


def widen(value: Tensor) -> Tensor:
    """Make floats of int16 images; other tensors pass.

    Images may travel as int16 that hold the bits of uint16 (torch has few operations for uint16):
    half the bytes of float32. The result is 0..1, as the loader's own float32 is.
    """
    if value.dtype != torch.int16:
        return value
    return (value.to(torch.int32) & 0xFFFF).to(torch.float32) / 65535
