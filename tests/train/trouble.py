"""A transform that hangs, pauses, or kills its worker; a module that workers can import."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mammo_train.data.draws import Draw


@dataclass(frozen=True)
class Trouble:
    """Does what `how` says at one row of the selection; otherwise gives four zeros."""

    how: str
    row: int

    def needs_mask(self, draw: Draw) -> bool:
        return False

    def padding(self) -> dict[str, npt.NDArray[Any]]:
        return {"image": np.zeros(4, np.float32)}

    def __call__(self, draw: Draw, image: Any, mask: Any) -> dict[str, npt.NDArray[Any]]:
        if draw.row == self.row and self.how == "hang":
            time.sleep(60)
        if draw.row == self.row and self.how == "pause":
            time.sleep(3)
        if draw.row == self.row and self.how == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return self.padding()
