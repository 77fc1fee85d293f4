"""Series of slices: subtraction against the slow obvious way, orientation against SimpleITK."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from etl.phantoms.breast_mri import draw_volume
from etl.pixels.placement import Placement
from etl.pixels.standardise import standardise
from etl.pixels.tissue import find_tissue
from etl.pixels.volume import load_series
from schemas.errors import ContentError
from schemas.film import FilmLesion, Geometry
from schemas.rejects import Reject, RejectReason
from schemas.release import TissueRule
from schemas.sample import Sample
from schemas.spec import Spec
from schemas.vocabulary import Annotation, GeometryKind, Orientation, Pathology, QualityFlag
from tests.pixels.helpers import release
from tests.pixels.series_files import GE, SIEMENS, Runs, run_of, series_film, slice_bytes

COUNT, HEIGHT, WIDTH = 6, 40, 48
HALVES = {
    ("L", SIEMENS): (24, 48),
    ("R", SIEMENS): (0, 24),
    ("L", GE): (0, 24),
    ("R", GE): (24, 48),
}


def volumes(signed: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    low, high = (-900, 900) if signed else (0, 4096)
    kind = np.int16 if signed else np.uint16
    shape = (COUNT, HEIGHT, WIDTH)
    return tuple(rng.integers(low, high, shape).astype(kind) for _ in range(2))


def two_runs(signed: bool = False, **tags) -> tuple[Runs, np.ndarray, np.ndarray]:
    pre, post = volumes(signed)
    return Runs(run_of(pre, **tags), run_of(post, **tags)), pre, post


def brute_force(pre, post, frame=None):
    """Subtract voxel by voxel in Python's integers."""
    out = np.zeros(pre.shape[1:], dtype=int)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            line = [int(post[k, y, x]) - int(pre[k, y, x]) for k in range(COUNT)]
            out[y, x] = max(line) if frame is None else line[frame]
    return out


@pytest.mark.parametrize("side", ["L", "R"])
@pytest.mark.parametrize("frame", [None, 0, 3])
@pytest.mark.parametrize("cosines", [SIEMENS, GE])
def test_the_picture_is_the_subtraction_done_voxel_by_voxel(side, frame, cosines):
    signed = cosines == GE
    runs, pre, post = two_runs(signed, ImageOrientationPatient=list(cosines))
    picture = load_series(series_film(side, frame), runs.slices)
    first, last = HALVES[side, cosines]
    expected = np.zeros((HEIGHT, WIDTH), dtype=int)
    expected[:, first:last] = brute_force(pre, post, frame)[:, first:last]
    assert picture.array.dtype == np.int16
    np.testing.assert_array_equal(picture.array, expected)
    assert picture.frames == COUNT


def test_differences_beyond_16_bits_saturate_instead_of_wrapping():
    pre, post = (np.zeros((2, 4, 8), np.uint16) for _ in range(2))
    post[:, :, :] = 65535
    post[0, 0, 0] = 5
    runs = Runs(run_of(pre), run_of(post))
    picture = load_series(series_film("R", 0), runs.slices)
    assert (picture.array[0, 0], picture.array[0, 1]) == (5, 32767)


def hung(picture) -> np.ndarray:
    """Turn a picture as its section says: anterior up, mid-line at the left."""
    array = picture.array[:, slice(*picture.section.columns)]
    array = array[::-1] if picture.section.turned is Orientation.VFLIP else array
    return array if picture.section.midline_left else array[:, ::-1]


@pytest.mark.parametrize("side", ["L", "R"])
@pytest.mark.parametrize("cosines", [SIEMENS, GE])
def test_breasts_hang_as_simpleitk_orients_the_volume(side, cosines):
    runs, pre, post = two_runs(ImageOrientationPatient=list(cosines))
    image = sitk.GetImageFromArray(post.astype(np.int32) - pre.astype(np.int32))
    across, down = np.array(cosines[:3], float), np.array(cosines[3:], float)
    image.SetDirection(np.stack([across, down, np.cross(across, down)], axis=1).ravel().tolist())
    # LPS: columns run to the patient's left, rows to the back, slices to the head
    upright = sitk.GetArrayFromImage(sitk.DICOMOrient(image, "LPS")).max(axis=0)
    half = upright[:, WIDTH // 2 :] if side == "L" else upright[:, : WIDTH // 2][:, ::-1]
    np.testing.assert_array_equal(hung(load_series(series_film(side), runs.slices)), half)


def test_slices_are_ordered_by_instancenumber_whatever_their_names():
    runs, pre, post = two_runs()
    names = ["c3", "0f", "9a", "aa", "01", "77"]
    for run in (runs.pre, runs.post):
        data = list(run.values())
        run.clear()
        run |= {f"{name}.dcm": one for name, one in zip(names, data, strict=True)}
    picture = load_series(series_film("R", 4), runs.slices)
    np.testing.assert_array_equal(picture.array[:, :24], brute_force(pre, post, 4)[:, :24])
    assert picture.flags == frozenset()


def test_names_that_count_the_other_way_are_flagged_and_instancenumber_counts():
    runs, pre, post = two_runs()
    for run in (runs.pre, runs.post):
        data = list(run.values())[::-1]
        run |= dict(zip(list(run), data, strict=True))
    picture = load_series(series_film("R", 1), runs.slices)
    assert picture.flags == {QualityFlag.SLICE_ORDER_CONFLICT}
    np.testing.assert_array_equal(picture.array[:, :24], brute_force(pre, post, 1)[:, :24])


def test_phases_may_count_on_from_one_another():
    pre, post = volumes()
    later = {
        f"1-{k + 7}.dcm": slice_bytes(one, k + 7, ImagePositionPatient=[-10.0, -10.0, k + 1.0])
        for k, one in enumerate(post)
    }
    picture = load_series(series_film("R", 2), Runs(run_of(pre), later).slices)
    np.testing.assert_array_equal(picture.array[:, :24], brute_force(pre, post, 2)[:, :24])


def spoil_truncated(runs):
    runs.post["1-03.dcm"] = runs.post["1-03.dcm"][:-100]


def spoil_gap(runs):
    del runs.pre["1-03.dcm"]


def spoil_count(runs):
    del runs.post["1-06.dcm"]


def spoil_twice(runs):
    runs.pre["1-03.dcm"] = runs.pre["1-02.dcm"]


def spoil_place(runs):
    pixels = volumes()[1][2]
    runs.post["1-03.dcm"] = slice_bytes(pixels, 3, ImagePositionPatient=[-10.0, -10.0, 3.5])


def spoil_plane(runs):
    for run in (runs.pre, runs.post):
        for number, name in enumerate(list(run), start=1):
            run[name] = slice_bytes(
                volumes()[0][number - 1], number, ImageOrientationPatient=[0, 1, 0, 0, 0, -1]
            )


def spoil_turn(runs):
    runs.pre["1-03.dcm"] = slice_bytes(volumes()[0][2], 3, ImageOrientationPatient=list(GE))


def spoil_series(runs):
    runs.pre["1-03.dcm"] = slice_bytes(volumes()[0][2], 3, SeriesInstanceUID="2.25.8")


def spoil_number(runs):
    runs.pre["1-03.dcm"] = slice_bytes(volumes()[0][2], None)


def spoil_size(runs):
    runs.pre["1-03.dcm"] = slice_bytes(volumes()[0][2][:20], 3)


def spoil_spacing(runs):
    runs.post.update(run_of(volumes()[1], PixelSpacing=[0.8, 0.8]))


def spoil_contrast(runs):
    runs.post = dict(runs.pre)


SPOILT = [
    (spoil_truncated, RejectReason.TRUNCATED, "1-03.dcm: .* bytes of pixels, expected"),
    (spoil_gap, RejectReason.SIZE_CONFLICT, "missing between InstanceNumber 2 and 4"),
    (spoil_count, RejectReason.SIZE_CONFLICT, "6 slices before and 5 after contrast"),
    (spoil_twice, RejectReason.HEADER_INVALID, "two pre slices have InstanceNumber 2"),
    (spoil_place, RejectReason.SIZE_CONFLICT, "slice 3 lies at .* after contrast"),
    (spoil_plane, RejectReason.UNSUPPORTED, "not axial"),
    (spoil_turn, RejectReason.SIZE_CONFLICT, "turned against the other slices"),
    (spoil_series, RejectReason.HEADER_INVALID, "belongs to another series"),
    (spoil_number, RejectReason.HEADER_INVALID, "has no InstanceNumber"),
    (spoil_size, RejectReason.SIZE_CONFLICT, "the first slice"),
    (spoil_spacing, RejectReason.SIZE_CONFLICT, "PixelSpacing is"),
    (spoil_contrast, RejectReason.BLANK, "no pixel of this breast"),
]


@pytest.mark.parametrize(("spoil", "reason", "words"), SPOILT)
def test_a_series_that_is_not_whole_is_refused(spoil, reason, words):
    runs, _, _ = two_runs()
    spoil(runs)
    with pytest.raises(ContentError, match=words) as raised:
        load_series(series_film(), runs.slices)
    assert raised.value.reason is reason


@pytest.mark.parametrize("side", ["L", "R"])
@pytest.mark.parametrize("frame", [None, 0])
def test_a_truncated_slice_rejects_all_of_a_study_s_samples(side, frame):
    runs, _, _ = two_runs()
    spoil_truncated(runs)
    result = standardise(series_film(side, frame), runs, Spec(), release(TissueRule.MRI))
    assert isinstance(result, Reject)
    assert (result.reason, result.stage, result.file) == (RejectReason.TRUNCATED, "decode", "pre/")


def test_a_reader_of_single_files_is_a_mistake_of_the_caller():
    with pytest.raises(TypeError, match="run of slices"):
        standardise(series_film(), lambda ref: b"", Spec(), release(TissueRule.MRI))


# ---- a drawn study through the whole kernel

MATRIX = 128


@pytest.fixture(scope="module")
def drawn():
    return draw_volume(
        3, "anna", "L", matrix=MATRIX, count=8, fov_mm=320, slice_mm=3.0, num_phases=2
    )


def stored(drawn, cosines):
    turn = slice(None, None, -1 if cosines == GE else 1)
    offset, kind = (0, np.int16) if cosines == GE else (200, np.uint16)
    levels = [np.rint(one * 1000 + offset)[:, turn, turn].astype(kind) for one in drawn.phases]
    tags = {"ImageOrientationPatient": list(cosines), "PixelSpacing": [2.5, 2.5]}
    return Runs(run_of(levels[0], **tags), run_of(levels[1], **tags)), turn


def boxed(mask):
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (float(columns[0]), float(rows[0]), columns[-1] + 1.0, rows[-1] + 1.0)


def made(drawn, cosines, side, frame):
    runs, turn = stored(drawn, cosines)
    lesions = ()
    if side == "L":
        box = boxed(drawn.foci[0].mask.any(axis=0)[turn, turn])
        shape = Geometry(kind=GeometryKind.BOX, values=box)
        lesions = (FilmLesion(lesion_id="1", pathology=Pathology.MALIGNANT, geometry=shape),)
    film = series_film(side, frame, lesions=lesions)
    film = replace(film, annotation=Annotation.COMPLETE if lesions else Annotation.NONE)
    sample = standardise(film, runs, Spec(), release(TissueRule.MRI))
    assert isinstance(sample, Sample), sample
    return sample, lesions


@pytest.mark.parametrize("cosines", [SIEMENS, GE])
@pytest.mark.parametrize("frame", [None, 4])
def test_both_scanners_give_the_same_standard_image(drawn, cosines, frame):
    for side in ("L", "R"):
        one, _ = made(drawn, SIEMENS, side, frame)
        other, _ = made(drawn, cosines, side, frame)
        for name in ("height", "width"):  # OpenCV's discs are not quite the same turned round
            assert abs(one.row[name] - other.row[name]) <= 1
        for name in ("breast_fraction", "p50", "p99", "mean"):
            assert one.row[name] == pytest.approx(other.row[name], rel=0.02), name
        assert one.row["window"] == pytest.approx(other.row["window"], abs=10)
        assert one.row["quality_flags"] == []


@pytest.mark.parametrize("cosines", [SIEMENS, GE])
def test_the_box_is_where_the_focus_is_and_comes_back_exactly(drawn, cosines):
    sample, (lesion,) = made(drawn, cosines, "L", None)
    row, (found,) = sample.row, sample.lesions
    native = tuple(found[f"native_{name}"] for name in ("x0", "y0", "x1", "y1"))
    assert native == lesion.geometry.values
    back = Placement.from_row(row).box_to_native([found[n] for n in ("x0", "y0", "x1", "y1")])
    np.testing.assert_allclose(back, native, atol=0.01)
    assert found["y1"] < 0.6 * row["height"]  # breasts hang with anterior up


def test_two_breasts_of_one_series_have_different_pixels_and_one_file_digest(drawn):
    left, right = (made(drawn, SIEMENS, side, None)[0].row for side in ("L", "R"))
    assert left["pixel_sha256"] != right["pixel_sha256"]
    assert left["source_sha256"] == right["source_sha256"]


@pytest.mark.parametrize("side", ["L", "R"])
def test_the_mri_rule_finds_the_drawn_breast(drawn, side):
    runs, _ = stored(drawn, SIEMENS)
    picture = load_series(series_film(side), runs.slices)
    view, invalid = picture.view(1)
    tissue = find_tissue(view, TissueRule.MRI, 1, invalid)
    breast = drawn.breasts[side]
    assert not tissue.unsure
    assert (tissue.mask[breast] > 0).mean() > 0.98
    first, last = picture.section.columns
    assert not tissue.mask[:, :first].any()
    assert not tissue.mask[:, last:].any()
    assert not tissue.mask[:20].any()  # air in front of the breasts
