from __future__ import annotations

from pathlib import Path

import pytest

from beam_jobs.spool import Spool
from schemas.errors import MammoError


def test_what_was_appended_is_read_in_any_order_and_no_file_is_left(tmp_path: Path) -> None:
    items = [bytes([n]) * 5 for n in range(20)]
    spool = Spool(tmp_path / "spool")
    spool.extend(items[:7])
    assert spool[6] == items[6]
    spool.extend(items[7:])
    spool.extend([])
    assert len(spool) == 20
    assert [spool[n] for n in reversed(range(20))] == items[::-1]
    assert spool[-1] == items[-1]
    assert spool[3:6] == items[3:6]
    assert list(spool) == items
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(IndexError):
        spool[20]


def test_another_length_is_refused(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    with pytest.raises(MammoError, match="thumbnail of 3 bytes, others have 5"):
        spool.extend([b"12345", b"123"])
