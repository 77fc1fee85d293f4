"""What the kernel is asked to make: the few settings that change bytes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal

from schemas.errors import UsageError

__all__ = ["Spec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """Settings of `standardise`; part of every task id.

    Parameters
    ----------
    pixel_mm
        Standard pixel in mm where the native spacing is known and finer; nothing is enlarged.
    long_side
        Largest long side of the breast box in pixels where the spacing is unknown.
    window
        `device`: the file's VOI, else the tissue's 0.1-99.9 %; `tissue`; `none`.
    keep_background
        Leave what lies outside the dilated tissue as it is (burned-in text included).
    payload
        `png` (16-bit grey) or `jxl` (lossless JPEG XL).
    """

    pixel_mm: float = 0.1
    long_side: int = 2048
    window: Literal["device", "tissue", "none"] = "device"
    keep_background: bool = False
    payload: Literal["png", "jxl"] = "png"

    def __post_init__(self) -> None:
        """Refuse settings that no image can have: `UsageError`."""
        if not 0.01 <= self.pixel_mm <= 5:
            raise UsageError(f"--pixel-mm is {self.pixel_mm}: choose a value from 0.01 to 5 mm")
        if not 64 <= self.long_side <= 16384:
            raise UsageError(f"--long-side is {self.long_side}: choose a value from 64 to 16384")

    def key(self) -> str:
        """Return the canonical text of the settings, for ids and for the column `spec`."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
