"""Small DICOM files with known pixels, written with the encoders that tests trust."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

Pixels = NDArray[Any]

BITS = 12
SYNTAXES = {
    "jpeg70": "1.2.840.10008.1.2.4.70",
    "jpeg57": "1.2.840.10008.1.2.4.57",
    "jpegls80": "1.2.840.10008.1.2.4.80",
    "jpegls81": "1.2.840.10008.1.2.4.81",
    "j2k90": "1.2.840.10008.1.2.4.90",
    "j2k91": "1.2.840.10008.1.2.4.91",
    "htj2k201": "1.2.840.10008.1.2.4.201",
    "htj2k202": "1.2.840.10008.1.2.4.202",
    "rle": "1.2.840.10008.1.2.5",
}
EXPLICIT = "1.2.840.10008.1.2.1"


def phantom(size: int = 96, bits: int = BITS, seed: int = 0) -> Pixels:
    """Return a half ellipse of noisy tissue on black, as films are."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    inside = (x / 0.7) ** 2 + ((y - 0.5) / 0.45) ** 2 < 1
    values = (0.3 + 0.4 * (1 - x) + 0.05 * random.standard_normal((size, size))) * (1 << bits)
    return np.where(inside, np.clip(values, 0, (1 << bits) - 1), 0).astype(np.uint16)


def encoded(pixels: Pixels, kind: str, bits: int = BITS) -> bytes:
    """Return one frame in the code of a name in `SYNTAXES`."""
    if kind == "jpeg70":
        return bytes(
            imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1, bitspersample=bits)
        )
    if kind == "jpeg57":
        return bytes(imagecodecs.ljpeg_encode(pixels, bitspersample=bits))
    if kind.startswith("jpegls"):
        return bytes(imagecodecs.jpegls_encode(pixels))
    if kind == "j2k90":
        return bytes(
            imagecodecs.jpeg2k_encode(
                pixels, level=0, codecformat="j2k", reversible=True, bitspersample=bits
            )
        )
    if kind == "j2k91":
        return bytes(
            imagecodecs.jpeg2k_encode(
                pixels, level=65, codecformat="j2k", reversible=False, bitspersample=bits
            )
        )
    if kind.startswith("htj2k"):
        return bytes(imagecodecs.htj2k_encode(pixels, reversible=True))
    return rle(pixels)


def rle(pixels: Pixels) -> bytes:
    """Return an RLE frame by pydicom's own encoder."""
    from pydicom.pixels.encoders import RLELosslessEncoder

    return bytes(
        RLELosslessEncoder.encode(
            np.ascontiguousarray(pixels).tobytes(),
            rows=pixels.shape[0],
            columns=pixels.shape[1],
            samples_per_pixel=1,
            bits_allocated=16,
            bits_stored=16,
            pixel_representation=0,
            photometric_interpretation="MONOCHROME2",
            number_of_frames=1,
            encoding_plugin="pydicom",
        )
    )


def dicom(shape: tuple[int, int], syntax: str, value: bytes, **changes: Any) -> bytes:
    """Return a file with the pixel element's `value`; `changes` set or (None) remove elements."""
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.2"
    dataset.SOPInstanceUID = "1.2.3.4"
    dataset.Modality = "MG"
    dataset.Rows, dataset.Columns = shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, BITS, BITS - 1
    dataset.PixelRepresentation = 0
    for keyword, content in changes.items():
        if content is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, content)
    dataset.PixelData = value
    packed = syntax in SYNTAXES.values()
    dataset["PixelData"].VR = "OB" if packed else "OW"
    dataset["PixelData"].is_undefined_length = packed
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    stream = BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def compressed(kind: str, streams: list[bytes], shape: tuple[int, int], **changes: Any) -> bytes:
    """Return a file whose frames are `streams`, in fragments of their own."""
    if len(streams) > 1:
        changes.setdefault("NumberOfFrames", len(streams))
    return dicom(shape, SYNTAXES[kind], encapsulate(streams), **changes)
