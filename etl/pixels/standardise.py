"""The kernel: a film's bytes to its sample, step by step.

decode - settle - find tissue - place - window - resize - zero the rest - draw lesions - measure -
encode. Each step is a pure function in a module of its own; this one only says their order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from etl.fingerprint import phash, thumbnail
from etl.pixels.arrange import Kept, keep, place, warped
from etl.pixels.decode import Picture, load
from etl.pixels.encode import encode_image, encode_mask
from etl.pixels.files import Files, Read
from etl.pixels.frames import mirrored, settle_frame
from etl.pixels.labels import draw_labels
from etl.pixels.placement import Placement
from etl.pixels.rows import Facts, annotated, geometry, lesion_row, sample_row, spacing_of
from etl.pixels.settle import Settled, settle_lesion
from etl.pixels.tissue import Tissue, find_tissue, unspoilt, view_stride
from etl.pixels.volume import load_series
from etl.pixels.window import Levels, choose, tissue_range
from schemas.errors import ContentError
from schemas.film import Film
from schemas.rejects import Reject, RejectReason
from schemas.release import Header, ReleaseInfo
from schemas.sample import MASK_IGNORE, Sample
from schemas.spec import Spec
from schemas.vocabulary import (
    Annotation,
    FrameKind,
    GeometryFrame,
    Laterality,
    Modality,
    Orientation,
    QualityFlag,
)

__all__ = ["loaded", "standardise"]

Resolve = Callable[[Film, Header], Film]

_COARSE = 512
"""Statistics are taken from about this many pixels along the long side."""


def standardise(
    film: Film, read: Read, spec: Spec, info: ReleaseInfo, resolve: Resolve | None = None
) -> Sample | Reject:
    """Make the sample of one film.

    Parameters
    ----------
    film
        What the source planned.
    read
        Returns a file's bytes; its `StoreError` passes through and is never a reject.
    spec
        Settings that change bytes.
    info
        The release: tissue rule, licence, whether pixels are already windowed.
    resolve
        The source's `resolve(film, header)`, which fills nulls from the header.

    Returns
    -------
    Sample or Reject
        A Reject of stage `decode` where the image file is unusable, of stage `kernel` where the
        film cannot be made from it.
    """
    files = Files(read)
    stage = "decode"
    try:
        picture = loaded(film, files)
        stage = "kernel"
        return _made(film, files, picture, spec, info, resolve)
    except ContentError as error:
        return Reject(
            source=film.source,
            film_key=film.film_key,
            file=film.image.path,
            reason=error.reason,
            detail=error.detail,
            stage=stage,
        )


def loaded(film: Film, files: Files) -> Picture:
    """Return a film's stored pixels: a file's, one frame of it, or what a series makes."""
    if film.is_series:
        return load_series(film, files.slices)
    return load(
        files(film.image),
        film.image,
        film.frame,
        film.frame_kind,
        depth=film.depth_fraction if film.frame_kind is FrameKind.SLICE else None,
        edges=film.geometry_frame is GeometryFrame.DBT_UPRIGHT,
    )


def _made(
    planned: Film,
    files: Files,
    picture: Picture,
    spec: Spec,
    info: ReleaseInfo,
    resolve: Resolve | None,
) -> Sample:
    film = resolve(planned, picture.header) if resolve else planned
    _check_size(film, picture)
    spacing, spacing_source = spacing_of(film, picture.header, planned.native_pixel_mm)
    film, turned = settle_frame(film, picture)
    lesions = [settle_lesion(film, lesion, files, picture.size) for lesion in film.lesions]
    expected = _expected_side(film, picture, turned)
    tissue, levels = _tissue_and_levels(film, picture, info, spec, expected)
    kept = keep(tissue, lesions, picture.size, spacing)
    if film.geometry_frame is GeometryFrame.EMBED_PNG:
        kept = _kept_either_way(kept, tissue, lesions, picture, spacing)
    placement, scale = place(kept, tissue, turned, picture.size, spec, spacing)
    facts = Facts(
        film=film,
        picture=picture,
        lesions=kept.lesions,
        placement=placement,
        scale=scale,
        levels=levels,
        spacing=spacing,
        spacing_source=spacing_source,
        flags=_flags(film, picture, kept.lesions, tissue, expected),
        source_sha256=files.digest(film),
    )
    rows = tuple(lesion_row(lesion, placement, spacing) for lesion in kept.lesions)
    labels = draw_labels(geometry(facts), rows)
    image = _rendered(picture, levels, kept.box, placement)
    if not spec.keep_background:
        visible = warped(kept.mask, placement, tissue.stride)
        if rows:
            visible[(labels > 0) & (labels < MASK_IGNORE)] = 255
        image = np.asarray(cv2.copyTo(image, visible), dtype=np.uint16)
    return _sample(facts, tissue, image, labels, rows, info, spec)


def _kept_either_way(
    kept: Kept,
    tissue: Tissue,
    lesions: list[Settled],
    picture: Picture,
    spacing: tuple[float, float] | None,
) -> Kept:
    """Return what is kept with all lesions mirrored, where only so they lie on the breast.

    EMBED's rule fails for some images (issues 5 and 9 of Emory-HITI/EMBED_Open_Data).
    """
    if not any(lesion.lost for lesion in kept.lesions):
        return kept
    turned = [mirrored(lesion, picture.size[1]) for lesion in lesions]
    other = keep(tissue, turned, picture.size, spacing)
    return kept if any(lesion.lost for lesion in other.lesions) else other


def _sample(
    facts: Facts,
    tissue: Tissue,
    image: npt.NDArray[np.uint16],
    labels: npt.NDArray[np.uint8],
    lesions: tuple[dict[str, Any], ...],
    info: ReleaseInfo,
    spec: Spec,
) -> Sample:
    every = max(1, max(image.shape) // _COARSE)
    inside = warped(tissue.mask, facts.placement, tissue.stride, every) > 0
    small = thumbnail(image)
    row = sample_row(facts, image[::every, ::every], inside, phash(small), info, spec)
    drawn = annotated(facts.film, facts.lesions) is not Annotation.NONE
    return Sample(
        row=row,
        lesions=lesions,
        image=encode_image(image, spec.payload),
        mask=encode_mask(labels) if drawn else None,
        thumbnail=small.tobytes(),
    )


def _check_size(film: Film, picture: Picture) -> None:
    if film.image_size is not None and picture.size != film.image_size:
        height, width = film.image_size
        raise ContentError(
            RejectReason.SIZE_CONFLICT,
            f"the image has {picture.size[1]} x {picture.size[0]} pixels; the release's "
            f"coordinates belong to one of {width} x {height}",
        )


def _expected_side(film: Film, picture: Picture, turned: Orientation) -> bool | None:
    """Say whether the chest wall should lie at the left of the stored pixels, None if unknown.

    Patient Orientation says it of the picture itself: rows that run towards anterior begin at the
    chest wall (PS3.3 C.7.6.1.1.1). Else films hang as they are seen from the front: left breasts
    open to the right. Where the release's rule has turned the picture, its header counts for
    nothing: tomosynthesis volumes say L of either breast.
    """
    rows = picture.header.get("PatientOrientation", "").split("\\")
    told = film.geometry_frame is not GeometryFrame.DBT_UPRIGHT
    if told and len(rows) == 2 and rows[0][:1] in ("A", "P"):
        return rows[0][:1] == "A"
    if film.laterality is None or film.modality is Modality.MRI:
        return None
    hangs_left = film.laterality is Laterality.L
    return hangs_left != (turned in (Orientation.HFLIP, Orientation.ROT180))


def _tissue_and_levels(
    film: Film, picture: Picture, info: ReleaseInfo, spec: Spec, expected: bool | None
) -> tuple[Tissue, Levels]:
    rule = info.tissue_of(film.modality)
    stride = view_stride(picture.size)
    view, invalid = picture.view(stride)
    tissue = find_tissue(view, rule, stride, invalid, expected)
    if picture.section is not None:
        tissue = replace(tissue, chest_left=picture.section.midline_left)
    inside = unspoilt(tissue, rule)
    if invalid is not None:
        inside &= ~invalid
    levels = picture.modality.apply(picture.array[::stride, ::stride])
    span = tissue_range(levels, inside, rule)
    return tissue, choose(picture, spec.window, info.already_windowed, span)


def _flags(
    film: Film,
    picture: Picture,
    lesions: tuple[Settled, ...],
    tissue: Tissue,
    expected: bool | None,
) -> frozenset[QualityFlag]:
    flags = {*film.flags, *picture.flags}
    for lesion in lesions:
        flags |= lesion.film_flags
    if tissue.unsure:
        flags.add(QualityFlag.BREAST_UNSURE)
    elif expected is not None and expected != tissue.chest_left:
        flags.add(QualityFlag.LATERALITY_CONFLICT)
    return frozenset(flags)


def _rendered(
    picture: Picture, levels: Levels, box: tuple[int, int, int, int], placement: Placement
) -> npt.NDArray[np.uint16]:
    """Return the crop windowed, area-averaged and mirrored: uint16 (height, width)."""
    x0, y0, x1, y1 = box
    image: npt.NDArray[Any] = levels.apply(picture.array[y0:y1, x0:x1])
    height, width = (int(side) for side in placement.standard)
    if image.shape != (height, width):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    mirrored_x, mirrored_y = placement.mirrored
    if mirrored_x or mirrored_y:
        image = cv2.flip(image, -1 if mirrored_x and mirrored_y else int(mirrored_x))
    return np.asarray(image, dtype=np.uint16)
