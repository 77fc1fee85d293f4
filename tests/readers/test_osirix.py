"""OsiriX's region export: what is read, what is refused, nothing fetched."""

from __future__ import annotations

import pytest

from etl.readers.osirix import read_regions
from schemas.errors import ContentError
from schemas.rejects import RejectReason

HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" \
"http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict><key>Images</key><array><dict><key>ImageIndex</key><integer>0</integer>
<key>ROIs</key><array>"""
TAIL = "</array></dict></array></dict></plist>"


def plist(*rois: str) -> bytes:
    return (HEAD + "".join(f"<dict>{roi}</dict>" for roi in rois) + TAIL).encode()


def roi(name: str | None, *points: str) -> str:
    title = "" if name is None else f"<key>Name</key><string>{name}</string>"
    texts = "".join(f"<string>{point}</string>" for point in points)
    return f"{title}<key>Point_px</key><array>{texts}</array><key>Type</key><integer>15</integer>"


def test_points_are_x_then_y_in_pixels_as_written():
    (region,) = read_regions(plist(roi("Mass", "(479.344727, 3092.087158)", "{1,-2.5}")), "a.xml")
    assert region.points == ((479.344727, 3092.087158), (1.0, -2.5))
    assert (region.name, region.kind, region.image) == ("Mass", 15, 0)


@pytest.mark.parametrize(("written", "read"), [(" Mass ", "Mass"), ("", None), (None, None)])
def test_names_are_stripped_and_may_be_missing(written, read):
    assert read_regions(plist(roi(written, "(1, 2)")), "a.xml")[0].name == read


def test_an_image_without_regions_has_none():
    assert read_regions(plist(), "a.xml") == ()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"<html>", "is no XML property list"),
        (b"", "is no XML property list"),
        (b'<plist version="1.0"><array/></plist>', "has no list of Images"),
        (plist(roi("M", "(1, two)")), r"the point '\(1, two\)'"),
        (plist(roi("M", "(nan, 2)")), "a pair"),
        (plist(roi("M", "__import__('os')")), "a pair"),
        (
            b'<?xml version="1.0"?><!DOCTYPE p [<!ENTITY a "b">]><plist><string>&a;</string>'
            b"</plist>",
            "is no XML property list",
        ),
    ],
)
def test_what_is_no_export_is_refused_in_words(data, says):
    with pytest.raises(ContentError, match=says) as caught:
        read_regions(data, "a.xml")
    assert caught.value.reason is RejectReason.BAD_ROW


def test_the_real_export_has_its_regions(shared):
    folder = shared / "data/tables/inbreast/AllXML"
    counts = {
        path.stem: [len(region.points) for region in read_regions(path.read_bytes(), path.name)]
        for path in sorted(folder.glob("*.xml"))
    }
    assert counts == {
        "22670347": [6],
        "22678646": [133],
        "24065380": [6, 10, 1, 6],
        "50994300": [1],
    }
