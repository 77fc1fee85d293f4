"""Flip bits in files of every syntax and read them: pixels or `ContentError`, within seconds."""

from __future__ import annotations

import faulthandler
import signal
import sys

import numpy as np

from tests.readers.dicom_files import EXPLICIT, SYNTAXES, compressed, dicom, encoded, phantom

SECONDS = 15


def files() -> dict[str, bytes]:
    pixels = phantom(64)
    found = {
        kind: compressed(kind, [encoded(pixels, kind)], pixels.shape) for kind in sorted(SYNTAXES)
    }
    return {**found, "native": dicom(pixels.shape, EXPLICIT, pixels.tobytes())}


def flipped(data: bytes, seed: int) -> bytes:
    """Return the file with 1 or 8 bits turned, half of them in header and stream header."""
    random = np.random.default_rng(seed)
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    start = 128 * 8
    end = min(len(bits), start + 8 * 1500) if seed % 2 else len(bits)
    bits[random.integers(start, end, size=1 if seed % 4 < 2 else 8)] ^= 1
    return np.packbits(bits).tobytes()


def main() -> None:
    from etl.readers.dicom import decode, parse
    from schemas.errors import ContentError

    refused = read = 0
    for kind, data in files().items():
        for seed in range(int(sys.argv[1])):
            print(kind, seed, flush=True)
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            signal.alarm(SECONDS + 5)
            try:
                decode(parse(flipped(data, seed)))
                read += 1
            except ContentError:
                refused += 1
            faulthandler.cancel_dump_traceback_later()
            signal.alarm(0)
    print(f"{read} read, {refused} refused")


if __name__ == "__main__":
    main()
