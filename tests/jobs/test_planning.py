from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from beam_jobs.job import plan_job
from beam_jobs.planning import load_task
from schemas.errors import UsageError
from schemas.store import open_store
from tests.jobs.fakes import write_release
from tests.jobs.run_fake import settings

SECRET = b"0123456789abcdef0123456789abcdef"


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return write_release(tmp_path / "alpha", 60)


def test_a_worker_reads_its_task_back_as_it_was_planned(release: Path, tmp_path: Path) -> None:
    plan = plan_job(settings(tmp_path / "out", [f"alpha={release}"]))
    store = open_store(str(tmp_path / "out"))
    assert len(plan.tasks) >= 3
    for row, task in enumerate(plan.tasks):
        assert load_task(store, plan.folder, row) == task


def test_films_lie_in_natural_order_of_patients(release: Path, tmp_path: Path) -> None:
    plan = plan_job(settings(tmp_path / "out", [f"alpha={release}"]))
    numbers = [int(p.film.patient_key[2:]) for p in plan.tasks[-1].films]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) >= 9


def test_a_grown_file_changes_one_task(release: Path, tmp_path: Path) -> None:
    run = settings(tmp_path / "out", [f"alpha={release}"])
    before = {task.task_id for task in plan_job(run).tasks}
    (release / "P_5" / "P_5_1.bin").write_bytes(b"good and of another size " * 7)
    assert len({task.task_id for task in plan_job(run).tasks} - before) == 1


def test_two_files_of_one_film_are_one_film_and_one_reject(tmp_path: Path) -> None:
    release = write_release(tmp_path / "alpha", 2)
    copy = release / "P_1" / "copy" / "P_1_0.bin"
    copy.parent.mkdir()
    copy.write_bytes(b"good")
    plan = plan_job(settings(tmp_path / "out", [f"alpha={release}"]))
    assert [(reject.reason, reject.file) for reject in plan.rejects] == [
        ("duplicate_file", "P_1/copy/P_1_0.bin")
    ]
    assert sum(len(task.films) for task in plan.tasks) == 8


def test_pseudonyms_move_no_split_and_hide_every_key(release: Path, tmp_path: Path) -> None:
    (release / "table.csv").write_text("P_99/P_99_0.bin\n")
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    secret.chmod(0o600)
    plain = settings(tmp_path / "out", [f"alpha={release}"])
    keyed = replace(plain, pseudonym_key=str(secret))
    shown, hidden = plan_job(plain), plan_job(keyed)
    assert hidden.folder.startswith("private/")
    assert [len(t.films) for t in shown.tasks] == [len(t.films) for t in hidden.tasks]
    assert [t.split for t in shown.tasks] == [t.split for t in hidden.tasks]
    assert {t.task_id for t in shown.tasks}.isdisjoint(t.task_id for t in hidden.tasks)
    for before, after in zip(shown.tasks, hidden.tasks, strict=True):
        for one, other in zip(before.films, after.films, strict=True):
            assert one.film.files == other.film.files
            for name in ("film_key", "patient_key", "split_key"):
                assert getattr(one.film, name) != getattr(other.film, name)
                assert "P_" not in getattr(other.film, name)
    assert "P_99" not in hidden.absents[0].split_key


def test_another_secret_makes_other_tasks(release: Path, tmp_path: Path) -> None:
    ids = []
    for text in (SECRET, SECRET[::-1]):
        secret = tmp_path / text[:4].decode()
        secret.write_bytes(text)
        secret.chmod(0o600)
        run = settings(tmp_path / "out", [f"alpha={release}"], pseudonym_key=str(secret))
        ids.append({task.task_id for task in plan_job(run).tasks})
    assert ids[0].isdisjoint(ids[1])


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["alpha"], "write KEY=PATH"),
        (["=x"], "write KEY=PATH"),
        (["alpha=/a", "alpha=/b"], "names alpha twice"),
    ],
)
def test_a_release_that_cannot_be_meant_is_refused(texts: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        settings("out", texts)


@pytest.mark.parametrize("tag", ["", "1st", "a/b", "-x", "../LATEST"])
def test_a_tag_that_is_no_name_is_refused(tag: str) -> None:
    with pytest.raises(UsageError, match="--tag"):
        settings("out", ["alpha=/a"], tag=tag)
