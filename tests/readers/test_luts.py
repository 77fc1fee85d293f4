from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from etl.readers.dicom import decode, parse
from etl.readers.luts import (
    LookupTable,
    Rescale,
    Window,
    WindowFunction,
    modality_transform,
    voi_transform,
)
from schemas.errors import ContentError

VALUES = np.linspace(-3000, 5000, 4001)


def header(**values: object) -> Dataset:
    dataset = Dataset()
    dataset.BitsStored, dataset.PixelRepresentation = 16, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def table(first: int, bits: int, values: list[int]) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(values) % 65536, first, bits])
    item.add_new("LUTData", "US", values)
    return item


@pytest.mark.parametrize("function", list(WindowFunction))
@pytest.mark.parametrize("width", [1, 2, 1600, 0.5])
def test_windows_are_those_of_pydicom(function: WindowFunction, width: float) -> None:
    dataset = header(WindowCenter=600, WindowWidth=width, VOILUTFunction=function.value)
    window = voi_transform(dataset).transform
    if function is WindowFunction.LINEAR and width < 1:
        assert window is None
        return
    assert isinstance(window, Window)
    reference = apply_voi_lut(VALUES, dataset)
    # pydicom's output range is that of 16 signed bits
    np.testing.assert_allclose(
        window.apply(VALUES), (reference + 32768) / 65535, atol=1e-9, err_msg=str(window)
    )


@pytest.mark.parametrize(
    ("function", "width", "note"),
    [
        ("LINEAR", 0.5, "window 600/0.5 is illegal for LINEAR"),
        ("LINEAR", 0, "window 600/0 is illegal for LINEAR"),
        ("SIGMOID", 0, "window 600/0 is illegal for SIGMOID"),
        ("LINEAR_EXACT", -3, "window 600/-3 is illegal for LINEAR_EXACT"),
        ("CUBIC", 100, "VOILUTFunction is 'CUBIC'"),
    ],
)
def test_illegal_windows_are_left_out_and_said(function: str, width: float, note: str) -> None:
    found = voi_transform(header(WindowCenter=600, WindowWidth=width, VOILUTFunction=function))
    assert found.transform is None
    assert note in (found.note or "")


def test_the_first_of_several_windows_is_the_default_and_others_can_be_asked_for() -> None:
    dataset = header(WindowCenter=[100, 200], WindowWidth=[10, 20])
    assert voi_transform(dataset).transform == Window(100, 10)
    assert voi_transform(dataset, view=1).transform == Window(200, 20)
    assert voi_transform(dataset, view=9).transform == Window(200, 20)


def test_a_header_without_window_has_none_and_nothing_to_say() -> None:
    found = voi_transform(header())
    assert (found.transform, found.note) == (None, None)


def test_a_voi_table_goes_before_a_window_and_holds_its_ends() -> None:
    dataset = header(WindowCenter=1, WindowWidth=2, VOILUTSequence=[table(10, 12, [5, 700, 4095])])
    lut = voi_transform(dataset).transform
    assert isinstance(lut, LookupTable)
    assert lut.bits == 12
    np.testing.assert_array_equal(
        lut.apply(np.array([-9, 10, 11, 12, 99])), [5, 5, 700, 4095, 4095]
    )


def test_a_tables_first_value_has_the_sign_of_the_pixels() -> None:
    dataset = header(ModalityLUTSequence=[table(65536 - 2, 16, [1, 2, 3])])
    lut = modality_transform(dataset)
    assert isinstance(lut, LookupTable)
    assert lut.first == -2
    np.testing.assert_array_equal(lut.apply(np.array([-2, -1, 0])), [1, 2, 3])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, Rescale(1, 0)),
        ({"RescaleSlope": 0.5, "RescaleIntercept": -1024}, Rescale(0.5, -1024)),
        ({"RescaleIntercept": 7}, Rescale(1, 7)),
    ],
)
def test_rescale_has_the_standards_defaults(values: dict[str, float], expected: Rescale) -> None:
    assert modality_transform(header(**values)) == expected


def test_windows_and_rescale_of_tomosynthesis_lie_in_functional_groups() -> None:
    window, rescale, shared, frame = Dataset(), Dataset(), Dataset(), Dataset()
    window.WindowCenter, window.WindowWidth = 450, 300
    rescale.RescaleSlope, rescale.RescaleIntercept = 2, 1
    shared.PixelValueTransformationSequence = [rescale]
    frame.FrameVOILUTSequence = [window]
    dataset = header(
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=[Dataset(), frame],
    )
    assert modality_transform(dataset, 1) == Rescale(2, 1)
    assert voi_transform(dataset, 1).transform == Window(450, 300)
    assert voi_transform(dataset, 0).transform is None


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"RescaleSlope": 0}, "RescaleSlope is 0"),
        ({"ModalityLUTSequence": [Dataset()]}, "a LUT lacks its descriptor"),
        ({"ModalityLUTSequence": [table(0, 20, [1])]}, "a LUT of 20 bits has 1 of 1 entries"),
    ],
)
def test_damaged_transformations_are_refused(values: dict[str, object], match: str) -> None:
    with pytest.raises(ContentError, match=match):
        modality_transform(header(**values))


@pytest.mark.parametrize(
    "name",
    ["mlut_18.dcm", "CR-ModalitySequenceLUT.dcm", "derived/rescale_half.dcm", "MR_small.dcm"],
)
def test_modality_values_of_real_files_are_those_of_pydicom(shared: Path, name: str) -> None:
    data = (shared / "data/dicom-corpus" / name).read_bytes()
    file = parse(data)
    stored = decode(file).array
    reference = apply_modality_lut(stored, dcmread(shared / "data/dicom-corpus" / name))
    found = modality_transform(file.dataset).apply(stored)
    np.testing.assert_allclose(found, reference, atol=1e-6)


@pytest.mark.parametrize("name", ["vlut_04.dcm", "derived/voi_sigmoid.dcm", "CT_small.dcm"])
def test_voi_tables_and_windows_of_real_files_are_those_of_pydicom(shared: Path, name: str) -> None:
    path = shared / "data/dicom-corpus" / name
    file, dataset = parse(path.read_bytes()), dcmread(path)
    values = modality_transform(file.dataset).apply(decode(file).array)
    transform = voi_transform(file.dataset).transform
    if transform is None:
        assert "WindowCenter" not in dataset
        return
    found, reference = transform.apply(values), apply_voi_lut(values.astype(np.int64), dataset)
    if isinstance(transform, LookupTable):
        np.testing.assert_array_equal(found, reference)
        return
    # pydicom's range of outputs is that of the rescaled stored values: compare up to that line
    slope = modality_transform(file.dataset)
    assert isinstance(slope, Rescale)
    limits = slope.apply(np.array([-32768, 32767]))
    np.testing.assert_allclose(found, (reference - limits[0]) / np.ptp(limits), atol=1e-6)
