from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from etl.audit import AuditSettings, audit, audit_summary


def row(number: int, **changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(number)
    values = {
        "sample_id": f"mias-{number:012x}",
        "source": "mias",
        "modality": "SFM",
        "laterality": "L",
        "view": "MLO",
        "split": "train",
        "split_key": f"p{number}",
        "pair_key": None,
        "pixel_sha256": f"{number:064x}",
        "phash": rng.bytes(32).hex(),
    }
    return {**values, **changes}


def picture(number: int) -> bytes:
    return np.random.default_rng(1000 + number).integers(0, 256, 1024, np.uint8).tobytes()


def pictures(rows: list[dict[str, Any]]) -> dict[str, bytes]:
    return {item["sample_id"]: picture(index) for index, item in enumerate(rows)}


def flipped(phash: str, bits: int) -> str:
    return f"{int(phash, 16) ^ ((1 << bits) - 1):064x}"


def test_strangers_are_left_alone():
    rows = [row(number) for number in range(40)]
    assert audit(rows, pictures(rows)) == []


def test_equal_pixels_are_one_image_whatever_the_hash():
    rows = [row(1), row(2, pixel_sha256=row(1)["pixel_sha256"]), row(3)]
    found = audit(rows, pictures(rows))
    assert [item.sample_id for item in found] == [rows[0]["sample_id"], rows[1]["sample_id"]]
    assert found[0].near_duplicate_of is None
    assert found[1].near_duplicate_of == found[0].sample_id == found[1].duplicate_group
    assert found[0].flags == ("audit:duplicate",)


def test_a_group_across_the_split_leaks_on_every_member():
    rows = [row(1), row(2, pixel_sha256=row(1)["pixel_sha256"], split="test")]
    found = audit(rows, pictures(rows))
    assert {item.flags for item in found} == {("audit:duplicate", "audit:leak")}
    assert audit_summary(found) == {"groups": 1, "samples": 2, "leaks": 2}


def test_a_near_hash_needs_a_like_picture():
    rows = [row(1), row(2, phash=flipped(row(1)["phash"], 20))]
    unlike = pictures(rows)
    alike = dict.fromkeys(unlike, picture(7))
    assert audit(rows, unlike) == []
    assert len(audit(rows, alike)) == 2


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"laterality": "R"}, 0),
        ({"view": "CC"}, 0),
        ({"modality": "MRI"}, 0),
        ({"modality": "FFDM", "source": "embed"}, 2),
        ({"laterality": None}, 2),
        ({"view": None}, 2),
    ],
)
def test_side_view_and_kind_must_not_disagree(changes: dict[str, Any], found: int):
    rows = [row(1), row(2, phash=row(1)["phash"], **changes)]
    same = dict.fromkeys(pictures(rows), picture(7))
    assert len(audit(rows, same)) == found


def test_what_the_release_pairs_itself_is_not_reported():
    rows = [row(1, pair_key="a"), row(2, pair_key="a", pixel_sha256=row(1)["pixel_sha256"])]
    assert audit(rows, dict.fromkeys(pictures(rows), picture(7))) == []


def test_the_order_of_rows_does_not_matter():
    rows = [row(n, pixel_sha256=f"{n % 3:064x}") for n in range(9)]
    expected = audit(rows, pictures(rows))
    assert audit(rows[::-1], pictures(rows)) == expected
    assert len({item.duplicate_group for item in expected}) == 3


def test_blocks_find_the_pairs_that_a_double_loop_finds(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("etl.audit._BLOCK", 7)
    rng = np.random.default_rng(3)
    rows = []
    for number in range(60):
        base = row(number % 12)["phash"]
        mask = int("".join("1" if bit else "0" for bit in rng.random(256) < 0.15), 2)
        rows.append(row(number, phash=f"{int(base, 16) ^ mask:064x}"))
    same = dict.fromkeys(pictures(rows), picture(7))
    near = {
        frozenset((a["sample_id"], b["sample_id"]))
        for a, b in itertools.combinations(rows, 2)
        if (int(a["phash"], 16) ^ int(b["phash"], 16)).bit_count() <= 64
    }
    linked = {sample for pair in near for sample in pair}
    found = audit(rows, same, AuditSettings(phash_bits=64))
    assert {item.sample_id for item in found} == linked
    groups = {item.sample_id: item.duplicate_group for item in found}
    assert all(len({groups[sample] for sample in pair}) == 1 for pair in near)
