"""Tomosynthesis volumes of phantom releases: slices through one breast, as one multi-frame file.

Every slice shows the breast with tissue that drifts from slice to slice; a lesion is sharp in its
own slice and fades into a blur above and below, as out-of-plane structures do (Sechopoulos, Med
Phys 40:014301, 2013). A lesion's slice says nothing else than its shape: its box keeps the mean and
the spread that it had without it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID, BreastTomosynthesisImageStorage, JPEG2000Lossless

from etl.phantoms.anatomy import Patient
from etl.phantoms.dicom import WRITER, uid
from etl.phantoms.film import Film, draw_film
from etl.phantoms.insert import Site
from etl.phantoms.lesions import Plan
from etl.phantoms.scene import Drawn, add_lesion
from etl.phantoms.texture import FloatImage, generator, power_law

__all__ = ["Focus", "Volume", "draw_volume", "write_tomosynthesis"]

Frame = npt.NDArray[np.uint16]
AIR = 20
GAIN = 960
"""Grey levels of air and of the film's range: what ten bits hold."""


@dataclass(frozen=True)
class Focus:
    """A lesion and the slice in which it is sharp.

    Attributes
    ----------
    drawn
        The lesion with its mask, of the upright picture.
    slice
        0-based.
    change
        What it changes in the picture, float32, of the picture's size.
    """

    drawn: Drawn
    slice: int
    change: FloatImage


@dataclass
class Volume:
    """A drawn volume, upright: left breasts at the left edge.

    Attributes
    ----------
    film
        The breast without lesions.
    path, seed
        Name its random streams.
    count
        Number of slices.
    gain
        Grey levels that the film's range is stretched over.
    """

    film: Film
    seed: int
    path: tuple[int | str, ...]
    count: int
    gain: int = GAIN
    foci: list[Focus] = field(default_factory=list)
    _drift: tuple[FloatImage, FloatImage] | None = None

    def frame(self, number: int) -> Frame:
        """Return one slice: uint16, rows x columns."""
        image = self.film.image.copy()
        for focus in self.foci:
            image += _out_of_focus(focus.change, abs(number - focus.slice))
        first, second = self._drifts()
        angle = np.float32(0.35 * number)
        image += np.float32(0.012) * (np.cos(angle) * first + np.sin(angle) * second)
        rng = generator(self.seed, *self.path, "frame", number)
        image += np.float32(0.004) * rng.standard_normal(image.shape, dtype=np.float32)
        levels = np.where(self.film.breast, np.maximum(image, 0.03), image * np.float32(0.02))
        whole = np.rint(AIR + self.gain * levels)
        return np.asarray(np.clip(whole, 0, AIR + self.gain), dtype=np.uint16)

    def _drifts(self) -> tuple[FloatImage, FloatImage]:
        if self._drift is None:
            shape = (self.film.breast.shape[0], self.film.breast.shape[1])
            first, second = (
                power_law(shape, generator(self.seed, *self.path, word), self.film.px_per_mm)
                for word in ("drift 1", "drift 2")
            )
            self._drift = (first, second)
        return self._drift


def draw_volume(
    seed: int,
    patient: Patient,
    path: tuple[int | str, ...],
    shape: tuple[int, int],
    *,
    side: str,
    view: str,
    px_per_mm: float,
    count: int,
    lesions: list[tuple[Plan, str, int]],
    gain: int = GAIN,
) -> Volume:
    """Draw a breast and put lesions into it; slices are rendered when they are asked for.

    Parameters
    ----------
    lesions
        Plan, pathology and slice of each.
    """
    film = draw_film(seed, patient, path, shape, side=side, view=view, px_per_mm=px_per_mm)
    volume = Volume(film, seed, path, count, gain)
    blank, taken = film.image.copy(), list[Site]()
    for number, (plan, pathology, place) in enumerate(lesions):
        before = film.image.copy()
        where = (seed, *path, "lesion", number)
        drawn = add_lesion(
            lambda purpose, where=where: generator(*where, purpose),  # type: ignore[misc]
            film,
            taken,
            plan,
            pathology,
        )
        if drawn is not None:
            volume.foci.append(Focus(drawn, place, film.image - before))
    film.image = blank
    return volume


def _out_of_focus(change: FloatImage, distance: int) -> FloatImage:
    if distance == 0:
        return change
    blurred = cv2.GaussianBlur(change, (0, 0), 0.6 * distance)
    return np.asarray(blurred / np.float32(1 + (distance / 4) ** 2), dtype=np.float32)


def write_tomosynthesis(
    path: Path,
    frames: list[Frame],
    *,
    patient_id: str,
    sex: str,
    study_id: str,
    description: str,
    study: str,
    series: str,
    number: int,
    view: str,
    spacing_mm: float,
    window: tuple[float, float],
) -> int:
    """Write a volume as BCS-DBT has them, and return its size in bytes.

    Breast Tomosynthesis Image Storage (PS3.3 A.55), JPEG 2000 lossless code streams of 16 bits
    under a BitsStored of 10, laterality L whatever the breast; window, spacing and laterality are
    only in the functional groups.

    Parameters
    ----------
    frames
        uint16, rows x columns, as they are to be stored.
    window
        Centre and width.
    """
    data = Dataset()
    data.SOPClassUID = BreastTomosynthesisImageStorage
    data.SOPInstanceUID = UID(uid(series, "instance"))
    data.StudyDate = data.ContentDate = "20000101"
    data.Modality, data.PresentationIntentType = "MG", "FOR PRESENTATION"
    data.ImageType = ["ORIGINAL", "PRIMARY", "TOMOSYNTHESIS", "NONE"]
    data.Manufacturer, data.ManufacturerModelName = "HOLOGIC, Inc.", "Selenia Dimensions"
    data.StudyDescription = description
    data.PatientName = data.PatientID = patient_id
    data.PatientSex, data.PatientBirthDate = sex, ""
    data.BodyPartExamined = "BREAST"
    data.StudyInstanceUID, data.SeriesInstanceUID = UID(study), UID(series)
    data.StudyID, data.SeriesNumber, data.InstanceNumber = study_id, number, 1
    data.ViewPosition = view
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = frames[0].shape
    data.NumberOfFrames = len(frames)
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 10, 9, 0
    data.SharedFunctionalGroupsSequence = Sequence([_shared(spacing_mm, window)])
    data.PerFrameFunctionalGroupsSequence = Sequence([_placed(n) for n in range(len(frames))])
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = data.SOPClassUID
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    meta.TransferSyntaxUID, meta.ImplementationClassUID = JPEG2000Lossless, UID(WRITER)
    data.file_meta = meta
    data.PixelData = encapsulate([_code_stream(frame) for frame in frames])
    data["PixelData"].is_undefined_length = True
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path.stat().st_size


def _shared(spacing_mm: float, window: tuple[float, float]) -> Dataset:
    measures, anatomy, voi, groups = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [spacing_mm, spacing_mm], 1.0
    anatomy.FrameLaterality = "L"
    voi.WindowCenter, voi.WindowWidth = window
    groups.PixelMeasuresSequence = Sequence([measures])
    groups.FrameAnatomySequence = Sequence([anatomy])
    groups.FrameVOILUTSequence = Sequence([voi])
    return groups


def _placed(number: int) -> Dataset:
    content, groups = Dataset(), Dataset()
    content.InStackPositionNumber = number + 1
    groups.FrameContentSequence = Sequence([content])
    return groups


def _code_stream(frame: Frame) -> bytes:
    import imagecodecs

    return bytes(
        imagecodecs.jpeg2k_encode(
            frame, level=0, codecformat="j2k", reversible=True, bitspersample=16, numthreads=1
        )
    )
