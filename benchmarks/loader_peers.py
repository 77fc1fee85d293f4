"""The peers: their environment, their own files of the same bytes, and their loaders.

mosaicml-streaming wants another numpy than the project, so the peers have an environment of their
own, `.venv/bench-loader`. It sees the project's packages after its own, which spares a second
torch, and so decodes with the very same OpenCV and imagecodecs.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.loader_contenders import row_of

__all__ = ["LOADERS", "peers_python", "write_litdata", "write_mosaicml"]

ENVIRONMENT = Path(__file__).resolve().parents[1] / ".venv" / "bench-loader"
PINS = Path(__file__).with_name("loader_peers.txt")
CHUNK = 64 << 20
"""Bytes of a peer's file, the default of one and near that of the other."""


def peers_python() -> tuple[Path | None, str]:
    """Return the interpreter of the peers' environment, made at need; None and why without it."""
    python, done = ENVIRONMENT / "bin" / "python", ENVIRONMENT / "pins.txt"
    if done.exists() and done.read_text() == PINS.read_text():
        return python, ""
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
    own = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    Path(own, "project.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [str(python), "-m", "pip", "install", "--quiet", "--requirement", str(PINS)]
    made = subprocess.run(install, capture_output=True, text=True, check=False)
    if made.returncode:
        return None, (made.stderr.strip().splitlines() or ["pip failed"])[-1]
    shutil.copy(PINS, done)
    return python, ""


Member = dict[str, Any]
Make = Callable[[tuple[int, bytes]], Any]
"""From number and payload to an item of a batch."""


def _samples(shard: str) -> Iterator[Member]:
    """Yield number, image, mask and facts of each sample of a shard."""
    sample: Member = {}
    with tarfile.open(shard) as tar:
        for member in tar:
            sample_id, _, suffix = member.name.partition(".")
            file = tar.extractfile(member)
            if file is None:
                raise ValueError(f"{shard}: {member.name} is no file")
            name = {"mask.png": "mask", "json": "facts"}.get(suffix, "image")
            sample |= {"row": row_of(sample_id), name: file.read()}
            if name == "facts":
                yield sample
                sample = {}


def _shards(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*.tar"))


def write_mosaicml(shards: Path, folder: Path) -> None:
    """Write the samples of our shards as MDS."""
    from streaming import MDSWriter  # type: ignore[import-not-found]

    columns = {"row": "int", "image": "bytes", "mask": "bytes", "facts": "bytes"}
    with MDSWriter(out=str(folder), columns=columns, size_limit=CHUNK) as writer:
        for shard in _shards(shards):
            for sample in _samples(shard):
                writer.write(sample)


def write_litdata(shards: Path, folder: Path) -> None:
    """Write the samples of our shards as litdata's chunks."""
    from litdata import optimize  # type: ignore[import-not-found]

    inputs = _shards(shards)
    optimize(_samples, inputs, str(folder), chunk_bytes=CHUNK, num_workers=1, verbose=False)


def mosaicml_loader(
    folder: Path, batch: int, make: Make, collate: Callable[..., Any], settings: dict[str, Any]
) -> Any:
    """Return mosaicml-streaming's loader, shuffled; it counts samples, so its resume is on."""
    from streaming import StreamingDataLoader, StreamingDataset
    from streaming.base.util import (  # type: ignore[import-not-found]
        clean_stale_shared_memory,
    )

    class Films(StreamingDataset):  # type: ignore[misc]
        def __getitem__(self, at: int) -> Any:
            return _made(super().__getitem__(at), make)

    clean_stale_shared_memory()
    data = Films(local=str(folder), shuffle=True, batch_size=batch)
    return StreamingDataLoader(data, batch_size=batch, collate_fn=collate, **settings)


def litdata_loader(
    folder: Path, batch: int, make: Make, collate: Callable[..., Any], settings: dict[str, Any]
) -> Any:
    """Return litdata's loader, shuffled; it counts samples, so its resume is on."""
    from litdata import StreamingDataLoader, StreamingDataset

    transform = functools.partial(_made, make=make)
    data = StreamingDataset(str(folder), shuffle=True, drop_last=False, transform=transform)
    return StreamingDataLoader(data, batch_size=batch, collate_fn=collate, **settings)


LOADERS = {"mosaicml": mosaicml_loader, "litdata": litdata_loader}
"""The peers that live in this environment, by their key."""


def _made(sample: Member, make: Make) -> Any:
    return make((int(sample["row"]), sample["image"]))


if __name__ == "__main__":
    write_mosaicml(Path(sys.argv[1]), Path(sys.argv[2]))
    write_litdata(Path(sys.argv[1]), Path(sys.argv[3]))
