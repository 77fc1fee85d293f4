"""The script that a user would write: pydicom, apply_voi_lut, scikit-image, imageio.

It runs in an environment of its own (`benchmarks/naive.txt`), because pydicom needs python-gdcm for
JPEG lossless, which this project leaves out. Prints images per second and core.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time

import imageio.v3 as imageio
import numpy as np
import pydicom
from pydicom.pixels import apply_voi_lut
from skimage.transform import resize


def convert(path: str) -> str:
    """Write one film as 16-bit PNG with 2048 rows, windowed and stretched."""
    data = pydicom.dcmread(path)
    image = apply_voi_lut(data.pixel_array, data).astype(np.float64)
    image = (image - image.min()) / max(np.ptp(image), 1e-9)
    rows = 2048
    columns = round(image.shape[1] * rows / image.shape[0])
    small = resize(image, (rows, columns), anti_aliasing=True)
    handle, name = tempfile.mkstemp(suffix=".png")
    os.close(handle)
    imageio.imwrite(name, np.round(small * 65535).astype(np.uint16))
    os.remove(name)
    return name


def main() -> None:
    """Convert the films named on the command line in N processes."""
    workers, paths = int(sys.argv[1]), sys.argv[2:]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        pool.map(convert, paths[:workers])
        began = time.perf_counter()
        pool.map(convert, paths, chunksize=1)
        print(len(paths) / (time.perf_counter() - began) / workers)


if __name__ == "__main__":
    main()
