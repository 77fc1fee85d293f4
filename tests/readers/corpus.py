"""The folder of DICOM test files: its index, and the runner that one child process is."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import resource
import sys
import time
from pathlib import Path

GIB = 1 << 30


def index(root: Path) -> list[dict[str, str]]:
    with (root / "INDEX.csv").open(newline="") as table:
        return list(csv.DictReader(table))


def outcome(path: Path) -> dict[str, object]:
    """Decode one file; say what came out, how long it took and how large the process is."""
    from etl.readers.dicom import decode, parse
    from schemas.errors import ContentError

    start = time.perf_counter()
    try:
        stored = decode(parse(path.read_bytes()))
    except ContentError as error:
        found: dict[str, object] = {"reason": error.reason.value, "detail": error.detail}
    else:
        array = stored.array
        plain = array.astype(array.dtype.newbyteorder("<")).tobytes()
        found = {
            "sha256": hashlib.sha256(plain).hexdigest(),
            "shape": list(array.shape),
            "dtype": array.dtype.name,
            "range": [float(array.min()), float(array.max())],
            "lossy": stored.lossy,
            "mismatch": stored.bits_mismatch,
        }
    seconds = time.perf_counter() - start
    return {**found, "seconds": seconds, "peak": _peak()}


def _peak() -> int:
    # not getrusage: its maximum is inherited from the process that started this one
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]


def main() -> None:
    """Print one JSON line a file; the address space is limited before any pixel is read."""
    root = Path(sys.argv[1])
    outcome(root / "MR_small.dcm")  # the libraries' own address space is no part of the limit
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + GIB, used + GIB))
    for row in index(root):
        print(json.dumps({"file": row["file"], **outcome(root / row["file"])}), flush=True)


if __name__ == "__main__":
    main()
