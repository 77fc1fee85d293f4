"""What a person sees of a training: ``metrics.csv``, TensorBoard, and a progress bar.

``metrics.csv`` has one row a step (loss, learning rate) and one a validation. After a kill it is
cut back to the step of the checkpoint, so a resumed run's file equals an undisturbed one's but for
the timings.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["Tracker", "read_metrics"]

FIXED = ("step", "epoch", "kind", "loss", "learning_rate", "images_per_second", "waiting_share")


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Read ``metrics.csv``; a last line torn by a kill is left out."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if None not in row.values() and None not in row]


class Tracker:
    """Writes a stage's numbers while it trains.

    Parameters
    ----------
    folder
        ``stages/<stage>/``.
    metrics
        Names of the validation metrics, the columns after the fixed ones.
    bar
        Show a progress bar.
    quiet
        Write and show nothing: another process does.
    """

    def __init__(
        self,
        folder: Path,
        metrics: Sequence[str],
        *,
        steps: int,
        title: str,
        bar: bool = True,
        quiet: bool = False,
    ) -> None:
        self.folder = folder
        self.path = folder / "metrics.csv"
        self.columns = (*FIXED, *metrics)
        self._steps, self._title, self._bar, self._quiet = steps, title, bar, quiet
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._images, self._wait, self._since = 0, 0.0, time.perf_counter()
        self._board: Any = None

    def start(self, step: int) -> None:
        """Cut the file back to `step` and open bar and TensorBoard."""
        if self._quiet:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = [row for row in read_metrics(self.path) if int(row["step"]) <= step]
        temporary = self.path.with_suffix(".tmp")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns, restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(kept)
        temporary.replace(self.path)
        from torch.utils.tensorboard import SummaryWriter

        self._board = SummaryWriter(  # type: ignore[no-untyped-call]
            str(self.folder / "tensorboard"), purge_step=step
        )
        if self._bar:
            self._open_bar(step)
        self._since = time.perf_counter()

    def _open_bar(self, step: int) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._progress.start()
        self._task = self._progress.add_task(
            self._title, total=self._steps, completed=step, note=""
        )

    def waited(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Pass batches on and count the time that the loop waits for them."""
        iterator = iter(batches)
        while True:
            start = time.perf_counter()
            batch = next(iterator, None)
            self._wait += time.perf_counter() - start
            if batch is None:
                return
            yield batch

    def saw(self, images: int) -> None:
        """Count a step of so many images."""
        self._images += images
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task)

    def train(self, step: int, epoch: int, losses: Sequence[float], rates: Sequence[float]) -> None:
        """Write the losses of the steps that end with `step`; the speed goes to the last row."""
        if self._quiet:
            return
        elapsed = max(time.perf_counter() - self._since, 1e-9)
        speed, share = self._images / elapsed, self._wait / elapsed
        self._images, self._wait, self._since = 0, 0.0, time.perf_counter()
        first = step - len(losses) + 1
        rows: list[dict[str, Any]] = [
            {
                "step": first + i,
                "epoch": epoch,
                "kind": "train",
                "loss": repr(loss),
                "learning_rate": f"{rate:.6g}",
            }
            for i, (loss, rate) in enumerate(zip(losses, rates, strict=True))
        ]
        rows[-1] |= {"images_per_second": f"{speed:.1f}", "waiting_share": f"{share:.3f}"}
        self._append(rows)
        board = {"loss": losses[-1], "images_per_second": speed, "waiting_share": share}
        self._to_board("train", board, step)
        if self._progress is not None and self._task is not None:
            note = f"loss {losses[-1]:.4f} · {speed:.1f} images/s · {share:.0%} waiting for data"
            self._progress.update(self._task, note=note)

    def validation(self, step: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Write one validation, and say it above the bar."""
        if self._quiet:
            return
        values = {name: repr(float(value)) for name, value in metrics.items()}
        self._append([{"step": step, "epoch": epoch, "kind": "val", **values}])
        self._to_board("val", metrics, step)
        text = ", ".join(f"{name} {value:.3f}" for name, value in metrics.items())
        self.say(f"epoch {epoch + 1}, step {step}: {text}")

    def say(self, text: str) -> None:
        """Print a line without tearing the bar."""
        if self._progress is not None:
            self._progress.console.print(text, highlight=False)

    def _append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns, restval="").writerows(rows)

    def _to_board(self, kind: str, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._board.add_scalar(f"{kind}/{name}", value, step)

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # However a training ends, by an error too, bar and files are closed.
        if self._board is not None:
            self._board.close()
        if self._progress is not None:
            self._progress.stop()
