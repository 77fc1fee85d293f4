"""A copy of the run directory in a store, so that a machine that is taken away loses little.

After each checkpoint `Mirror.push` brings the copy up to date, and `Mirror.pull` fills a run
directory that lacks a stage. In the store, too, a checkpoint's ``state.json`` comes last and goes
first, so a checkpoint without it is unfinished and is passed over; its SHA-256 of the tensors are
checked when it is read. ``done.json`` comes after all else. Figures, pictures and TensorBoard
files that a later command can make again are not copied.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path, PurePosixPath

from schemas.errors import StoreError
from schemas.store import Store, open_store

__all__ = ["Mirror"]

STATE, DONE, CHECKPOINTS = "state.json", "done.json", "checkpoints"
LEFT_OUT = frozenset({"tensorboard", "report", "xla-cache"})
log = logging.getLogger("mammo_train")


class Mirror:
    """The copy of one run directory.

    Parameters
    ----------
    root
        ``gs://bucket/prefix`` or a folder, of this run alone.
    work
        Run directory.
    """

    def __init__(self, root: str, work: Path) -> None:
        self.store: Store = open_store(root)
        self.work = work
        if not root.startswith("gs://"):
            Path(root).mkdir(parents=True, exist_ok=True)

    def pull(self) -> None:
        """Fetch each stage that has neither a checkpoint nor an end here, and a missing config.

        Raises
        ------
        StoreError
            The store cannot be read.
        """
        place = self.work / f".tmp-pull-{os.getpid()}"
        shutil.rmtree(place, ignore_errors=True)
        for group, found in groupby(self._complete(), _group):
            if _begun(self.work / group):
                continue
            for path in found:
                target = place / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(self.store.read(path))
            (self.work / group).parent.mkdir(parents=True, exist_ok=True)
            if (self.work / group).is_dir():
                shutil.rmtree(self.work / group)
            # A whole stage appears at once: a torn one would look begun and never be fetched.
            (place / group).replace(self.work / group)
        shutil.rmtree(place, ignore_errors=True)

    def try_push(self) -> None:
        """Push, but only warn where the store cannot be reached: the next push catches up."""
        try:
            self.push()
        except StoreError as error:
            log.warning("the mirror is behind (%s): trying again at the next checkpoint", error)

    def push(self) -> None:
        """Bring the copy up to date.

        Raises
        ------
        StoreError
            The store cannot be read or written, or another run writes there.
        """
        local = sorted(self._local())
        there = {entry.path for entry in self.store.list()}
        kept = [path for path in local if _checkpoint(path) is None]
        # Losses of steps after a checkpoint are cut off on resuming; missing ones would stay so.
        self._replace(path for path in kept if PurePosixPath(path).name != DONE)
        inside = [path for path in local if _checkpoint(path) is not None]
        for name, files in groupby(inside, _checkpoint):
            self._add(str(name), list(files), there)
        self._replace(path for path in kept if PurePosixPath(path).name == DONE)
        alive = {_checkpoint(path) for path in inside}
        for name in sorted({c for p in there if (c := _checkpoint(p)) and c not in alive}):
            self._remove(name, there)

    def _add(self, name: str, files: list[str], there: set[str]) -> None:
        state = f"{name}/{STATE}"
        if state in there and self.store.read(state) == (self.work / state).read_bytes():
            return
        self._remove(name, there)
        for path in sorted(files, key=lambda path: path == state):
            if not self.store.create(path, (self.work / path).read_bytes()):
                raise self._conflict(path)

    def _remove(self, name: str, there: set[str]) -> None:
        files = [path for path in there if _checkpoint(path) == name]
        for path in sorted(files, key=lambda path: path != f"{name}/{STATE}"):
            self.store.delete(path)

    def _replace(self, paths: Iterable[str]) -> None:
        for path in paths:
            new = (self.work / path).read_bytes()
            before = self.store.read(path) if self.store.stat(path) else None
            if new != before and not self.store.swap(path, new, before):
                raise self._conflict(path)

    def _conflict(self, path: str) -> StoreError:
        return StoreError(
            f"another run writes {path} in {self.store.root}: give each --work its own --mirror"
        )

    def _local(self) -> Iterator[str]:
        for folder, inside, files in os.walk(self.work):
            inside[:] = [name for name in inside if name not in LEFT_OUT and name[0] != "."]
            for name in files:
                if not name.endswith((".tmp", ".png")) and name[0] != ".":
                    yield (Path(folder) / name).relative_to(self.work).as_posix()

    def _complete(self) -> list[str]:
        """List what lies in the store, but for checkpoints without their state."""
        paths = [entry.path for entry in self.store.list()]
        whole = {_checkpoint(path) for path in paths if path.endswith(f"/{STATE}")}
        return [path for path in paths if _checkpoint(path) in {None, *whole}]


def _checkpoint(path: str) -> str | None:
    """Give ``stages/NAME/checkpoints/step-N`` of a file in it; None elsewhere."""
    parts = PurePosixPath(path).parts
    inside = len(parts) == 5 and parts[0] == "stages" and parts[2] == CHECKPOINTS
    return "/".join(parts[:4]) if inside else None


def _group(path: str) -> str:
    parts = PurePosixPath(path).parts
    return "/".join(parts[:2]) if parts[0] == "stages" else path


def _begun(path: Path) -> bool:
    if path.is_dir():
        return (path / DONE).is_file() or any((path / CHECKPOINTS).glob("[!.]*"))
    return path.is_file()
