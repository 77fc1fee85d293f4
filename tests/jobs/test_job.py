from __future__ import annotations

import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import google_crc32c
import pytest

import schemas
from beam_jobs.job import JobResult, run_job
from beam_jobs.validate import validate
from schemas.errors import MammoError, UsageError
from schemas.store import Entry, open_store
from tests.jobs.fakes import files_of, write_release
from tests.jobs.run_fake import settings


def test_every_planned_film_is_a_sample_or_a_reject_and_absent_ones_are_listed(
    undisturbed: tuple[Path, JobResult],
) -> None:
    corpus = schemas.open(str(undisturbed[0]))
    counts = corpus.dataset.sources["alpha"].counts
    assert (counts.planned, counts.made, counts.rejected, counts.absent) == (241, 238, 2, 1)
    assert counts.by_reject_reason == {"truncated": 2}
    assert list(corpus.rejects()["film_key"]) == ["P_3_1", "P_7_2"]
    assert list(corpus.absent()["film_key"]) == ["P_61_0"]
    assert len(corpus.frame()) == 238
    assert validate(corpus) == []


def test_offsets_and_checksums_agree_with_an_independent_tar_reader(
    undisturbed: tuple[Path, JobResult],
) -> None:
    out = undisturbed[0]
    rows = {row["sample_id"]: row for row in schemas.open(str(out)).table().to_pylist()}
    seen = set()
    for shard in sorted({row["shard"] for row in rows.values()}):
        with tarfile.open(out / shard) as tar:
            for member in tar:
                key, _, kind = member.name.partition(".")
                row = rows[key]
                column = {"png": "image", "mask.png": "mask", "json": "json"}[kind]
                assert row["shard"] == shard
                assert row[f"{column}_offset"] == member.offset_data
                assert row[f"{column}_size"] == member.size
                data = tar.extractfile(member).read()  # type: ignore[union-attr]
                if kind != "json":
                    assert row[f"{column}_crc32c"] == google_crc32c.value(data)
                assert (member.mtime, member.uid, member.uname, member.pax_headers) == (
                    0,
                    0,
                    "",
                    {},
                )
                seen.add(member.name)
    assert len(seen) == 3 * len(rows)


def test_key_json_is_the_row_without_place_and_version(
    undisturbed: tuple[Path, JobResult],
) -> None:
    out = undisturbed[0]
    row = schemas.open(str(out)).table().to_pylist()[0]
    data = open_store(str(out)).read_range(row["shard"], row["json_offset"], row["json_size"])
    facts = json.loads(data)
    assert facts["sample_id"] == row["sample_id"]
    assert facts["split"] == row["split"]
    assert facts["lesions"][0]["sample_id"] == row["sample_id"]
    assert not {"shard", "image_offset", "duplicate_group", "near_duplicate_of"} & set(facts)


@pytest.mark.parametrize("workers", [2, 3])
def test_bytes_do_not_depend_on_the_number_of_children(
    alpha: Path, expected: dict[str, str], tmp_path: Path, workers: int
) -> None:
    run_job(settings(tmp_path, [f"alpha={alpha}"], workers=workers))
    assert files_of(tmp_path) == expected


def test_bytes_do_not_depend_on_the_order_of_the_listing(
    alpha: Path, expected: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from schemas import release

    class Shuffled(release.Release):
        @classmethod
        def open(cls, root: str) -> release.Release:
            entries: tuple[Entry, ...] = release.Release.open(root).entries
            return release.Release(root, tuple(sorted(entries, key=lambda e: e.path[::-1])))

    monkeypatch.setattr("beam_jobs.planning.Release", Shuffled)
    run_job(settings(tmp_path, [f"alpha={alpha}"], workers=2))
    assert files_of(tmp_path) == expected


def test_bytes_on_gs_are_those_on_a_disk(
    alpha: Path, expected: dict[str, str], gcs: str, tmp_path: Path
) -> None:
    run_job(settings(f"{gcs}/corpus", [f"alpha={alpha}"], workers=2))
    store = open_store(f"{gcs}/corpus")
    for entry in list(store.list()):
        path = tmp_path / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store.read(entry.path))
    assert files_of(tmp_path) == expected


def test_a_second_run_makes_nothing_and_has_the_same_name(
    alpha: Path, undisturbed: tuple[Path, JobResult], expected: dict[str, str]
) -> None:
    out, first = undisturbed
    again = run_job(settings(out, [f"alpha={alpha}"]))
    assert again.version == first.version
    figures = again.report["sources"]["alpha"]
    assert (figures["made"], figures["reused"], figures["shards_made"]) == (0, 238, 0)
    assert files_of(out) == expected


def test_a_new_release_of_the_package_remakes_nothing(
    alpha: Path, undisturbed: tuple[Path, JobResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import metadata

    monkeypatch.setattr(metadata, "version", lambda name: "99.0")
    again = run_job(settings(undisturbed[0], [f"alpha={alpha}"]))
    assert again.version == undisturbed[1].version
    assert again.report["libraries"]["mammo-corpus"] == "99.0"
    assert again.report["sources"]["alpha"]["shards_made"] == 0


def test_another_spec_makes_other_shards_beside_the_old_ones(alpha: Path, tmp_path: Path) -> None:
    small = write_release(tmp_path / "small", 3)
    first = run_job(settings(tmp_path / "out", [f"alpha={small}"]))
    before = files_of(tmp_path / "out", "shards/", first.version)
    from schemas.spec import Spec

    second = run_job(settings(tmp_path / "out", [f"alpha={small}"], spec=Spec(pixel_mm=0.2)))
    assert second.version != first.version
    assert before.items() <= files_of(tmp_path / "out").items()


def test_a_file_that_cannot_be_read_fails_its_task_and_names_it(tmp_path: Path) -> None:
    root = write_release(tmp_path / "alpha", 30)
    victim = root / "P_4" / "P_4_0.bin"
    run = settings(tmp_path / "out", [f"alpha={root}"])
    from beam_jobs import job

    plan = job.plan_job(run)
    broken = [
        task.task_id for task in plan.tasks if "P_4" in {p.film.patient_key for p in task.films}
    ]
    victim.unlink()
    victim.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "make_plan", lambda settings, index: plan)
        with pytest.raises(MammoError, match=r"1 of \d+ shards could not be made(.|\n)*P_4_0"):
            run_job(run)
    receipts = {path.stem for path in (tmp_path / "out/shards").rglob("*.parquet")}
    assert receipts == {task.task_id for task in plan.tasks} - set(broken)
    assert not (tmp_path / "out" / "LATEST").exists()


def test_a_file_that_changed_size_since_the_listing_is_no_sample(tmp_path: Path) -> None:
    root = write_release(tmp_path / "alpha", 2)
    run = settings(tmp_path / "out", [f"alpha={root}"])
    from beam_jobs import job

    plan = job.plan_job(run)
    (root / "P_1" / "P_1_0.bin").write_bytes(b"good but grown since it was listed" * 9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "make_plan", lambda settings, index: plan)
        with pytest.raises(MammoError, match="run again when the copy is complete"):
            run_job(run)


def test_crash_and_hang_are_rejects_and_retry_makes_a_revision(tmp_path: Path) -> None:
    root = write_release(tmp_path / "alpha", 2, words={"P_1_1": "segfault"})
    run = settings(tmp_path / "out", [f"alpha={root}"])
    first = run_job(run)
    assert first.report["sources"]["alpha"]["rejected"] == {"crashed": 1}
    again = run_job(replace(run, retry_rejects=True))
    assert again.report["sources"]["alpha"]["shards_made"] == 1
    assert again.version != first.version
    revisions = [path.name for path in (tmp_path / "out/shards").rglob("*r2.parquet")]
    assert len(revisions) == 1
    assert run_job(run).version == again.version


def test_verify_sources_remakes_exactly_the_shard_whose_file_changed(tmp_path: Path) -> None:
    root = write_release(tmp_path / "alpha", 60)
    run = settings(tmp_path / "out", [f"alpha={root}"])
    first = run_job(run)
    untouched = run_job(replace(run, verify_sources=True))
    assert untouched.version == first.version
    victim = root / "P_9" / "P_9_2.bin"
    data = victim.read_bytes()
    victim.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert run_job(run).version == first.version
    found = run_job(replace(run, verify_sources=True))
    assert found.report["sources"]["alpha"]["shards_made"] == 1
    frame = schemas.open(f"{tmp_path}/out/{found.version}").frame("film_key = 'P_9_2'")
    import hashlib

    assert list(frame["source_sha256"]) == [hashlib.sha256(victim.read_bytes()).hexdigest()]
    assert run_job(run).version == found.version


def test_a_second_release_is_added_and_the_first_is_carried_without_its_root(
    tmp_path: Path,
) -> None:
    alpha, beta = write_release(tmp_path / "alpha", 30), write_release(tmp_path / "beta", 25)
    out = tmp_path / "out"
    run_job(settings(out, [f"alpha={alpha}"]))
    os.rename(alpha, tmp_path / "gone")
    second = run_job(settings(out, [f"beta={beta}"]))
    figures = second.report["sources"]
    assert (figures["alpha"]["carried"], figures["alpha"]["shards_made"]) == (120, 0)
    assert figures["beta"]["made"] == 100
    corpus = schemas.open(str(out))
    assert sorted(corpus.dataset.sources) == ["alpha", "beta"]
    assert len(corpus.frame()) == 220
    assert validate(corpus) == []
    os.rename(tmp_path / "gone", alpha)
    both = run_job(settings(tmp_path / "once", [f"alpha={alpha}", f"beta={beta}"]))
    assert both.version == second.version
    assert files_of(tmp_path / "once", both.version) == files_of(out, both.version)


def test_base_none_carries_nothing_and_a_tag_names_a_version(tmp_path: Path) -> None:
    alpha, beta = write_release(tmp_path / "alpha", 2), write_release(tmp_path / "beta", 2)
    out = tmp_path / "out"
    first = run_job(settings(out, [f"alpha={alpha}"], tag="only-alpha"))
    run_job(settings(out, [f"beta={beta}"], base="none"))
    assert sorted(schemas.open(str(out)).dataset.sources) == ["beta"]
    both = run_job(settings(out, [f"beta={beta}"], base="only-alpha"))
    assert sorted(schemas.open(str(out)).dataset.sources) == ["alpha", "beta"]
    assert both.report["base"] == first.version
    assert schemas.open(f"{out}/only-alpha").version == first.version
    assert validate(schemas.open(f"{out}/only-alpha")) == []
    with pytest.raises(UsageError, match="no such version"):
        run_job(settings(out, [f"beta={beta}"], base="v-000000000000"))


def test_keys_and_paths_of_a_release_that_may_not_be_shared_stay_in_private(
    tmp_path: Path,
) -> None:
    root = write_release(tmp_path / "beta", 3, words={"P_2_1": "bad"})
    (root / "table.csv").write_text("P_9/P_9_0.bin\n")
    out = tmp_path / "out"
    result = run_job(settings(out, [f"beta={root}"]))
    public = [
        path
        for path in out.rglob("*")
        if path.is_file() and not path.relative_to(out).as_posix().startswith("private/")
    ]
    assert public
    for path in public:
        data = path.read_bytes() if path.suffix != ".parquet" else _texts(path)
        assert b"P_2_1" not in data, path
        assert b"P_9_0" not in data, path
    import pandas as pd

    join = pd.read_parquet(out / "private" / result.version / "beta.parquet")
    assert sorted(join["film_key"])[:2] == ["P_1_0", "P_1_1"]
    assert join.set_index("film_key").loc["P_2_1", "reason"] == "truncated"


def _texts(path: Path) -> bytes:
    import pyarrow.parquet as pq

    return repr(pq.read_table(path).to_pylist()).encode()


def test_nothing_is_published_where_a_receipt_lacks_films(tmp_path: Path) -> None:
    from schemas.receipt import Receipt

    root = write_release(tmp_path / "alpha", 12)
    run = settings(tmp_path / "out", [f"alpha={root}"])
    run_job(run)
    [path, *_] = sorted((tmp_path / "out/shards").rglob("*.parquet"))
    receipt = Receipt.from_parquet(path.read_bytes(), str(path))
    path.write_bytes(replace(receipt, entries=receipt.entries[1:]).to_parquet())
    with pytest.raises(MammoError, match="1 shards do not hold what was planned"):
        run_job(run)


def test_a_copy_without_any_film_is_a_version_without_samples(tmp_path: Path) -> None:
    root = tmp_path / "alpha"
    root.mkdir()
    (root / "table.csv").write_text("P_1/P_1_0.bin\n")
    run_job(settings(tmp_path / "out", [f"alpha={root}"]))
    corpus = schemas.open(str(tmp_path / "out"))
    counts = corpus.dataset.sources["alpha"].counts
    assert (counts.planned, counts.made, counts.absent) == (1, 0, 1)
    assert len(corpus.frame()) == 0


def test_with_a_key_no_file_outside_of_private_holds_a_key_of_the_release(tmp_path: Path) -> None:
    root = write_release(tmp_path / "alpha", 3, words={"P_2_1": "bad"})
    (root / "table.csv").write_text("P_9/P_9_0.bin\n")
    secret = tmp_path / "secret"
    secret.write_bytes(b"0123456789abcdef" * 2)
    secret.chmod(0o600)
    out = tmp_path / "out"
    plain = run_job(settings(tmp_path / "plain", [f"alpha={root}"]))
    keyed = run_job(settings(out, [f"alpha={root}"], pseudonym_key=str(secret)))
    assert keyed.version != plain.version
    for path in out.rglob("*"):
        name = path.relative_to(out).as_posix()
        if path.is_file() and not name.startswith("private/"):
            data = path.read_bytes()
            assert b"P_" not in (data if path.suffix != ".parquet" else _texts(path)), name
    corpora = [schemas.open(str(folder)) for folder in (tmp_path / "plain", out)]
    assert validate(corpora[1]) == []
    splits = [sorted(corpus.frame()["split"]) for corpus in corpora]
    assert splits[0] == splits[1]
    with pytest.raises(UsageError, match="same --pseudonym-key"):
        run_job(settings(out, [f"beta={write_release(tmp_path / 'beta', 1)}"]))
