from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path

import google_crc32c
import pytest

from beam_jobs.tar import TarWriter

MEMBERS = [
    ("a.png", b"x" * 1000),
    ("a.mask.png", b""),
    ("a.json", b"{}"),
    ("b" * 96 + ".png", b"y" * 512),
    ("c.png", os.urandom(70_000)),
]


def by_tarfile() -> bytes:
    """The same archive, written by the standard library."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in MEMBERS:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return sink.getvalue()


@pytest.mark.parametrize("count", [0, 1, 5])
def test_an_archive_is_the_one_that_tarfile_writes_and_offsets_are_right(
    tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "MEMBERS", MEMBERS[:count])
    path = tmp_path / "x.tar"
    with TarWriter(path) as tar:
        offsets = [tar.add(name, data) for name, data in MEMBERS[:count]]
    content = path.read_bytes()
    assert content == by_tarfile()
    assert (tar.size, tar.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert tar.crc32c == google_crc32c.value(content)
    for offset, (_, data) in zip(offsets, MEMBERS, strict=False):
        assert content[offset : offset + len(data)] == data


def test_a_name_that_ustar_cannot_hold_is_refused(tmp_path: Path) -> None:
    with TarWriter(tmp_path / "x.tar") as tar, pytest.raises(ValueError, match="longer than 100"):
        tar.add("x" * 101, b"")
