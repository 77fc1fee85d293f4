"""The same seed draws the same bytes, and a larger release begins with the smaller one."""

from __future__ import annotations

import functools
import hashlib

import pytest

from etl import phantoms
from etl.phantoms import cbis_ddsm, mias
from schemas.errors import UsageError
from tests.phantoms.conftest import SEED

WRITERS = {"mias": mias.write, "cbis_ddsm": functools.partial(cbis_ddsm.write, scale=0.3)}


def digests(root):
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(params=sorted(WRITERS))
def writer(request):
    return WRITERS[request.param]


def test_same_seed_same_bytes(writer, tmp_path):
    writer(tmp_path / "a" / "r", 2, SEED)
    writer(tmp_path / "b" / "r", 2, SEED)
    first = digests(tmp_path / "a")
    assert first == digests(tmp_path / "b")
    assert any(name.startswith("r.truth/") for name in first)


def test_another_seed_draws_other_films(tmp_path):
    mias.write(tmp_path / "a", 1, 1)
    mias.write(tmp_path / "b", 1, 2)
    assert digests(tmp_path / "a")["mdb001.pgm"] != digests(tmp_path / "b")["mdb001.pgm"]


def test_more_patients_leave_the_first_ones_as_they_are(mias_release, cbis_release, tmp_path):
    for (root, _), (key, write) in zip(
        (cbis_release, mias_release), sorted(WRITERS.items()), strict=True
    ):
        write(tmp_path / key, 3, SEED)
        few, many = digests(tmp_path / key), digests(root)
        pictures = [name for name in few if name.endswith((".pgm", ".dcm"))]
        assert pictures
        assert {n: few[n] for n in pictures} == {n: many[n] for n in pictures}
        for table in (*tmp_path.glob(f"{key}/*set.csv"), *tmp_path.glob(f"{key}/Info.txt")):
            assert (root / table.name).read_bytes().startswith(table.read_bytes())


def test_write_puts_each_release_and_its_truth_under_its_key(tmp_path):
    truths = phantoms.write(tmp_path, ["mias"], patients=1, traps=False)
    assert list(truths) == ["mias"]
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"mias", "mias.truth", "mias.truth.json"}


def test_truth_reads_back_as_it_was_written(mias_release, cbis_release):
    for root, truth in (mias_release, cbis_release):
        assert phantoms.Truth.load(root) == truth


def test_an_unknown_source_is_named(tmp_path):
    with pytest.raises(UsageError, match="no phantom writer for 'mios'; there are bcdr, "):
        phantoms.write(tmp_path, ["mios"])


def test_more_patients_than_three_digits_hold_are_refused(tmp_path):
    with pytest.raises(UsageError, match="1 to 499 patients, not 500"):
        mias.write(tmp_path / "mias", 500)


def test_an_unknown_layout_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no layout 'G'; there are A, B"):
        cbis_ddsm.write(tmp_path / "c", 1, layout="G")
