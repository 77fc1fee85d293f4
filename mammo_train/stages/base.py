"""What all stages share: batches that are cut from an epoch's draws, and what they begin from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from mammo_train.config import StageConfig
from mammo_train.data.augment import Augmentation
from mammo_train.data.dataset import Loader, Transform, make_loader
from mammo_train.data.draws import BatchPlan, Draw, Draws
from mammo_train.data.order import ORDER_VERSION
from mammo_train.data.selection import Selections
from mammo_train.runtime import Batch, Runtime
from mammo_train.stages import KEEP_BYTES

if TYPE_CHECKING:
    from schemas.store import Store

__all__ = ["DrawnStage"]

Config = TypeVar("Config", bound=StageConfig)


class DrawnStage(ABC, Generic[Config]):
    """A stage of the loop whose epochs are draws of a selection.

    Parameters
    ----------
    config, seed, selections
        What the user chose.
    store
        Where the shards are.
    workers
        Processes that read them.
    """

    name: str

    def __init__(
        self, config: Config, seed: int, selections: Selections, store: Store, workers: int
    ) -> None:
        self.config, self.seed, self.selections = config, seed, selections
        self.store, self.workers = store, workers
        self._loader: Loader | None = None

    def start(self, work: Path, device: Callable[[], Runtime]) -> None:
        """Take what earlier stages left in a run directory, before the first question.

        Parameters
        ----------
        work
            Run directory.
        device
            Opens the runtime where a network has to run for it.
        """
        return

    def notes(self) -> Sequence[str]:
        """Say for the log what it begins from."""
        return ()

    def fingerprint(self) -> Mapping[str, Any]:
        """Name what is drawn and measured, and the version of the order."""
        return {
            "selection": self.selections.train.digest,
            "val_selection": self.selections.val.digest,
            "order_version": ORDER_VERSION,
        }

    @abstractmethod
    def draws(self, epoch: int) -> Draws | Sequence[Draw]:
        """Give the draws of an epoch, as many in all epochs."""

    @abstractmethod
    def transform(self) -> Transform:
        """Give what makes a row of a training batch of a draw."""

    def augmentation(self, usual: Augmentation) -> Augmentation:
        """Give the augmentation that is usual for the stage with what the user switched on."""
        config = self.config
        return replace(
            usual,
            blur=config.blur,
            elastic=config.elastic,
            clahe=config.clahe,
            marker=config.marker,
        )

    def _plan(self, epoch: int) -> BatchPlan:
        return BatchPlan(self.draws(epoch), self.config.batch_size)

    def steps(self, epoch: int) -> int:
        """Count the batches of an epoch."""
        return len(self._plan(epoch))

    def batches(self, epoch: int, start: int, part: tuple[int, int] = (0, 1)) -> Iterable[Batch]:
        """Give the batches of an epoch; workers stay from one epoch to the next."""
        plan = replace(self._plan(epoch), part=part)
        if self._loader is None:
            self._loader = make_loader(
                self.store, plan, self.transform(), self.workers, start, keep_bytes=KEEP_BYTES
            )
        self._loader.plan, self._loader.start = plan, start
        return self._loader
