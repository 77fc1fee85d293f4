from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from etl.audit import AuditFinding, AuditSettings, audit, audit_summary
from etl.likeness import alike, in_shape, signatures

SHAPE = (1000, 500)
ROW = {
    "source": "mias",
    "modality": "SFM",
    "laterality": "L",
    "view": "MLO",
    "split": "train",
    "pair_key": None,
    "height": SHAPE[0],
    "width": SHAPE[1],
}
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("sample_id", *list(ROW)[:6], "pixel_sha256")),
        ("height", pa.int32()),
        ("width", pa.int32()),
    ]
)
Rows = list[dict[str, Any]]


def row(number: int, **changes: Any) -> dict[str, Any]:
    own = {"sample_id": f"mias-{number:012x}", "pixel_sha256": f"{number:064x}"}
    return {**ROW, **own, **changes}


def field(number: int, size: tuple[int, int] = (64, 64)) -> npt.NDArray[np.float64]:
    """Return smooth noise."""
    noise = np.random.default_rng(number).normal(size=size)
    for axis in (0, 1):
        noise = sum(np.roll(noise, shift, axis) for shift in (-2, -1, 0, 1, 2))
    return noise


def picture(number: int) -> bytes:
    noise = field(number)
    ranks = noise.ravel().argsort().argsort().reshape(64, 64)
    return np.maximum(1, ranks * 255 // ranks.max()).astype(np.uint8).tobytes()


def pictures(rows: Rows) -> list[bytes]:
    return [picture(number) for number in range(len(rows))]


def audited(
    rows: Rows, thumbnails: list[bytes], settings: AuditSettings | None = None
) -> list[AuditFinding]:
    return audit(pa.Table.from_pylist(rows, schema=SCHEMA), thumbnails, settings)


def test_strangers_are_left_alone():
    rows = [row(number) for number in range(40)]
    assert audited(rows, pictures(rows)) == []


def test_an_empty_corpus_has_no_finding():
    assert audited([], []) == []


def test_equal_pixels_are_one_image_whatever_the_picture():
    rows = [row(1), row(2, pixel_sha256=row(1)["pixel_sha256"]), row(3)]
    found = audited(rows, pictures(rows))
    assert [item.sample_id for item in found] == [rows[0]["sample_id"], rows[1]["sample_id"]]
    assert found[0].near_duplicate_of is None
    assert found[1].near_duplicate_of == found[0].sample_id == found[1].duplicate_group
    assert found[0].flags == ("audit:duplicate",)


def test_a_group_across_the_split_leaks_on_every_member():
    rows = [row(1), row(2, pixel_sha256=row(1)["pixel_sha256"], split="test")]
    found = audited(rows, pictures(rows))
    assert {item.flags for item in found} == {("audit:duplicate", "audit:leak")}
    assert audit_summary(found) == {"groups": 1, "samples": 2, "leaks": 2}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, 2),
        ({"laterality": "R"}, 0),
        ({"view": "CC"}, 0),
        ({"modality": "MRI"}, 0),
        ({"modality": "FFDM", "source": "embed"}, 2),
        ({"laterality": None}, 2),
        ({"view": None}, 2),
    ],
)
def test_side_view_and_kind_must_not_disagree(changes: dict[str, Any], found: int):
    rows = [row(1), row(2), row(3, **changes)]
    assert len(audited(rows, [picture(7), picture(8), picture(7)])) == found


def test_what_the_release_pairs_itself_is_not_reported():
    twin = {"pair_key": "a", "pixel_sha256": row(1)["pixel_sha256"]}
    rows = [row(1, pair_key="a"), row(2, **twin)]
    assert audited(rows, [picture(7)] * 2) == []
    other = [row(1, pair_key="a"), row(2, source="bcdr", **twin)]
    assert len(audited(other, [picture(7)] * 2)) == 2  # another release's word is another word


def test_the_order_of_rows_does_not_matter():
    rows = [row(n, pixel_sha256=f"{n % 3:064x}") for n in range(9)]
    seen = [picture(0 if n == 1 else n) for n in range(9)]  # joins two of three groups
    expected = audited(rows, seen)
    assert audited(rows[::-1], seen[::-1]) == expected
    assert len({item.duplicate_group for item in expected}) == 2


def mixed(first: int, second: int, share: float) -> bytes:
    blend = share * field(first) + (1 - share) * field(second)
    ranks = blend.ravel().argsort().argsort().reshape(64, 64)
    return np.maximum(1, ranks * 255 // ranks.max()).astype(np.uint8).tobytes()


@pytest.mark.parametrize("count", [5, 1000])
def test_blocks_and_threads_find_the_pairs_that_a_double_loop_finds(
    count: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("etl.audit._ROWS", 7)
    monkeypatch.setattr("etl.audit._COLUMNS", 11)
    monkeypatch.setattr("etl.audit._BATCH", 13)
    seen = [mixed(n % 12, 100 + n, 0.55) for n in range(60)]
    rows = [row(n, view=["CC", "MLO", None][n % 3]) for n in range(60)]
    own, other = signatures(seen, [SHAPE] * 60)
    likeness = np.maximum(own @ own.T, other @ other.T)
    near = [
        (float(likeness[a, b]), a, b)
        for a, b in itertools.combinations(range(60), 2)
        if likeness[a, b] >= 0.3
        if rows[a]["view"] == rows[b]["view"] or None in (rows[a]["view"], rows[b]["view"])
    ]
    kept = sorted(near, key=lambda pair: -pair[0])[:count]
    assert len(near) > 20
    asked: list[tuple[int, int]] = []
    canon = [in_shape(data, SHAPE).tobytes() for data in seen]

    def noted(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> float:
        asked.append((canon.index(first.tobytes()), canon.index(second.tobytes())))
        return 0.0

    monkeypatch.setattr("etl.audit.alike", noted)
    assert audited(rows, seen, AuditSettings(similarity=0.3, pairs=count)) == []
    assert sorted(asked) == sorted((a, b) for _, a, b in kept)


@pytest.mark.parametrize(("pairs", "bound"), [(0, 0.63), (6_320, 0.63), (45 * 10**9, 0.855)])
def test_the_bound_rises_with_the_number_of_pairs(pairs: int, bound: float):
    assert AuditSettings().bound(pairs) == pytest.approx(bound, abs=0.005)


# --- likeness --------------------------------------------------------------------------------


def test_a_signature_has_unit_length_and_a_blank_picture_none():
    for part in signatures([picture(1), bytes(64 * 64)], [SHAPE, SHAPE]):
        assert np.linalg.norm(part, axis=1) == pytest.approx([1, 0], abs=1e-5)


def test_a_picture_in_its_true_shape_fills_its_columns_from_the_chest_wall():
    tall = in_shape(picture(1), (1000, 250))
    assert (tall[:, :16] > 0).all()
    assert not tall[:, 16:].any()
    assert (in_shape(picture(1), (500, 1000)) > 0).all()  # what is wider than tall is cut


def test_a_copy_cropped_anew_is_aligned_and_a_stranger_is_not():
    whole = field(3, (80, 90))
    views = [whole[:64, :64], whole[3:67, 2:66]]
    first, second = (
        (np.clip((view - view.min()) / np.ptp(view), 0.01, 1) * 255).astype(np.float32)
        for view in views
    )
    stranger = in_shape(picture(4), (64, 64))
    assert alike(first, second) > 0.8
    assert alike(first, stranger) < 0.3
    assert alike(first, np.zeros_like(first)) == 0
