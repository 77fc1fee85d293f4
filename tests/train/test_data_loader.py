"""The loader: the same batches for any workers, resume, local and gs://, and every way to fail."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import schemas
from mammo_train.data import dataset
from mammo_train.data.augment import FILM_AUGMENTATION, PATCH_AUGMENTATION
from mammo_train.data.dataset import Batch, Loader, default_workers, loader_errors, make_loader
from mammo_train.data.draws import BatchPlan, film_draws, patch_draws, segment_draws
from mammo_train.data.patches import PatchTransform
from mammo_train.data.reading import SampleReader, decode_image
from mammo_train.data.selection import Selection, build_selections
from mammo_train.data.transforms import FilmTransform, SegmentTransform
from schemas.errors import MammoError, StoreError
from schemas.store import Store, open_store
from tests.train.corpus import mask_of, picture, tiny_films, write_corpus
from tests.train.trouble import Trouble

ROOT = Path(__file__).parents[2]
FILMS = tiny_films(10)
SEGMENT = SegmentTransform(96, 80, 0.6, FILM_AUGMENTATION)
PATCHES = PatchTransform(24, 32, augmentation=PATCH_AUGMENTATION)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpus")
    write_corpus(str(root), FILMS)
    return root


def train_of(root: Path | str) -> tuple[Store, Selection]:
    opened = schemas.open(str(root))
    return opened.store, build_selections(opened, "pretrain-classifier").train


def digests(batches: Any) -> list[str]:
    return [digest(batch) for batch in batches]


def digest(batch: Batch) -> str:
    made = hashlib.sha256()
    for name in sorted(batch):
        made.update(name.encode() + batch[name].numpy().tobytes())
    return made.hexdigest()


FORKED = """
import sys
from tests.train.test_data_loader import SEGMENT, BatchPlan, Loader
from tests.train.test_data_loader import digests, segment_draws, train_of

store, train = train_of(sys.argv[1])
for workers in (1, 2):
    loader = Loader(store, SEGMENT, workers=workers, context="fork")
    for epoch in (0, 1):
        loader.plan = BatchPlan(segment_draws(train, 7, epoch), 5)
        print(*digests(loader))
"""


def expected_digests(root: Path) -> list[list[str]]:
    store, train = train_of(root)
    loader, made = Loader(store, SEGMENT), []
    for epoch in (0, 1):
        loader.plan = BatchPlan(segment_draws(train, 7, epoch), 5)
        made.append(digests(loader))
    assert len(set(made[0] + made[1])) == 6
    return made


def test_batches_are_the_same_for_any_number_of_workers(corpus: Path) -> None:
    store, train = train_of(corpus)
    expected = expected_digests(corpus)
    for workers in (1, 2):
        loader = Loader(store, SEGMENT, workers=workers)
        for epoch in (0, 1):
            loader.plan = BatchPlan(segment_draws(train, 7, epoch), 5)
            assert digests(loader) == expected[epoch]
        loader.close()


def test_forked_workers_give_the_same_batches(corpus: Path) -> None:
    # In a process of its own: OpenCV's threads do not survive a fork of a process that used them.
    command = [sys.executable, "-c", FORKED, str(corpus)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    found = [line.split() for line in done.stdout.splitlines()]
    assert found == expected_digests(corpus) * 2


def test_patches_are_the_same_for_any_workers(corpus: Path) -> None:
    store, train = train_of(corpus)
    plan = BatchPlan(patch_draws(train, 7, 0, size=30), 8)
    here = digests(make_loader(store, plan, PATCHES))
    assert digests(Loader(store, PATCHES, workers=2, plan=plan)) == here


@pytest.mark.parametrize("workers", [0, 2])
def test_resume_at_a_batch_goes_on_bit_for_bit(corpus: Path, workers: int) -> None:
    store, train = train_of(corpus)
    plan = BatchPlan(segment_draws(train, 7, 3), 2)
    whole = digests(make_loader(store, plan, SEGMENT))
    loader = Loader(store, SEGMENT, workers=workers, plan=plan, start=4)
    assert len(loader) == len(plan) - 4
    assert digests(loader) == whole[4:]


def test_leaving_an_epoch_early_does_not_disturb_the_next(corpus: Path) -> None:
    store, train = train_of(corpus)
    first, second = (BatchPlan(segment_draws(train, 7, epoch), 2) for epoch in (0, 1))
    loader = Loader(store, SEGMENT, workers=2, plan=first)
    next(iter(loader))
    loader.plan = second
    assert digests(loader) == digests(make_loader(store, second, SEGMENT))


def test_last_batch_is_padded_and_padding_is_not_read(corpus: Path) -> None:
    store, train = train_of(corpus)
    *_, last = make_loader(store, BatchPlan(segment_draws(train, 7, 0), 5), SEGMENT)
    assert last["weight"].tolist() == [1, 1, 0, 0, 0]
    assert last["row"].tolist()[2:] == [-1, -1, -1]
    assert not last["image"][2:].any()
    assert (last["target"][2:] == 255).all()


@pytest.mark.parametrize("devices", [2, 5])
def test_rows_of_the_devices_are_the_global_batch(corpus: Path, devices: int) -> None:
    store, train = train_of(corpus)
    plan = BatchPlan(segment_draws(train, 7, 0), 10)
    batch = next(iter(make_loader(store, plan, SEGMENT)))
    whole = torch.empty_like(batch["image"])
    for d in range(devices):
        part = make_loader(store, plan, SEGMENT).dataset.__getitems__(plan[0][d::devices])
        whole[d::devices] = part["image"]
    assert torch.equal(whole, batch["image"])


@pytest.mark.parametrize("payload", ["png", "jxl"])
def test_pixels_and_mask_are_those_written(tmp_path: Path, payload: str) -> None:
    write_corpus(str(tmp_path), FILMS, payload=payload)
    store, train = train_of(tmp_path)
    by_id = {f"mias-{film.key}": film for film in FILMS}
    for draw in BatchPlan(film_draws(train), len(train))[0]:
        image, mask = SampleReader(store).arrays(draw)
        film = by_id[draw.sample_id]
        assert np.array_equal(image, picture(film))
        assert mask is not None
        assert np.array_equal(mask, mask_of(film))


def test_whole_films_come_with_their_scale(corpus: Path) -> None:
    store, train = train_of(corpus)
    batch = next(iter(make_loader(store, BatchPlan(film_draws(train), 1), FilmTransform(1.0))))
    assert batch["image"].shape == batch["target"].shape == (1, 1, 80, 60)
    assert batch["scale"].tolist() == [[0.5, 0.5]]


class Counting(Store):
    """Counts reads of a local store."""

    def __init__(self, inner: Store) -> None:
        self.inner, self.root, self.reads = inner, inner.root, 0

    def read_range(self, path: str, offset: int, size: int) -> bytes:
        self.reads += 1
        return self.inner.read_range(path, offset, size)


Counting.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]


def test_image_and_mask_are_one_read(corpus: Path) -> None:
    store, train = train_of(corpus)
    counting = Counting(store)
    list(make_loader(counting, BatchPlan(film_draws(train), 5), SEGMENT))
    assert counting.reads == len(train)


def broken(train: Selection, row: int) -> BatchPlan:
    train.places[row, 2] ^= 1
    return BatchPlan(film_draws(train), 5)


@pytest.mark.parametrize("workers", [0, 1])
def test_wrong_checksum_names_sample_and_shard(corpus: Path, workers: int) -> None:
    store, train = train_of(corpus)
    plan = broken(train, 7)
    loader = Loader(store, SEGMENT, workers=workers, plan=plan)
    batches = iter(loader)
    next(batches)
    sample, shard = plan[1][2][:2]
    with pytest.raises(StoreError, match="the image's bytes have CRC32C") as raised:
        next(batches)
    assert sample in str(raised.value)
    assert shard in str(raised.value)
    assert "\n" not in str(raised.value)


def test_wrong_checksum_of_a_mask_is_found(corpus: Path) -> None:
    store, train = train_of(corpus)
    train.places[0, 5] ^= 1
    with pytest.raises(StoreError, match="the mask's bytes have CRC32C"):
        next(iter(make_loader(store, BatchPlan(film_draws(train), 1), SEGMENT)))


def test_missing_shard_names_sample_and_shard(tmp_path: Path) -> None:
    write_corpus(str(tmp_path), FILMS)
    store, train = train_of(tmp_path)
    for shard in train.shards:
        (tmp_path / shard).unlink()
    with pytest.raises(StoreError, match=r"sample mias-p000L in shards/mias/train/0000-tiny\.tar"):
        next(iter(make_loader(store, BatchPlan(film_draws(train), 1), SEGMENT)))


def test_eight_bit_picture_is_refused(corpus: Path) -> None:
    draw = film_draws(train_of(corpus)[1])[0]
    payload = cv2.imencode(".png", np.zeros((4, 4), np.uint8))[1].tobytes()
    with pytest.raises(MammoError, match=r"image is uint8 of shape \(4, 4\), expected 16-bit"):
        decode_image(payload, draw)
    with pytest.raises(MammoError, match="image is undecodable"):
        decode_image(b"no picture", draw)


def test_killed_worker_ends_with_a_sentence(corpus: Path) -> None:
    store, train = train_of(corpus)
    plan = BatchPlan(film_draws(train), 2)
    loader = Loader(store, Trouble("die", 7), workers=2, plan=plan)
    with pytest.raises(MammoError, match=r"worker was killed .*lower --workers"), loader_errors():
        list(loader)
    loader.close()


KILLED = """
import sys, time
from tests.train.test_data_loader import SEGMENT, BatchPlan, Loader, segment_draws, train_of

store, train = train_of(sys.argv[1])
loader = Loader(store, SEGMENT, workers=2, plan=BatchPlan(segment_draws(train, 7, 0), 5))
batches = iter(loader)
next(batches)
print("reading", flush=True)
time.sleep(120)
"""


def test_no_worker_outlives_a_trainer_that_was_killed(corpus: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(corpus)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True
    ) as trainer:
        assert trainer.stdout is not None
        assert trainer.stdout.readline() == b"reading\n"
        trainer.kill()
    until = time.monotonic() + 20
    while _group_lives(trainer.pid):
        if time.monotonic() > until:
            os.killpg(trainer.pid, signal.SIGKILL)
            pytest.fail("processes of the loader were left behind")
        time.sleep(0.2)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_hanging_worker_ends_with_a_sentence(corpus: Path) -> None:
    store, train = train_of(corpus)
    plan = BatchPlan(film_draws(train), 2)
    trouble = Trouble("hang", 7)
    loader = Loader(store, trouble, workers=1, plan=plan, timeout_s=8)
    with pytest.raises(MammoError, match="no batch came from the loader's workers in time"):
        list(loader)
    loader.close()


def test_epoch_left_while_workers_are_busy_is_followed_by_a_whole_one(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "POLL_S", 1.0)
    store, train = train_of(corpus)
    plan = BatchPlan(film_draws(train), 2)
    loader = Loader(store, Trouble("pause", 3), workers=1, plan=plan)
    next(iter(loader))
    assert len(list(loader)) == len(plan)
    loader.close()


def test_small_shared_memory_is_said_before_the_start(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tiny:
        f_bavail, f_frsize = 1, 4096

    store, train = train_of(corpus)
    monkeypatch.setattr(dataset.os, "statvfs", lambda _: Tiny)
    plan = BatchPlan(film_draws(train), 8)
    with pytest.raises(MammoError, match="/dev/shm has 0 MiB free and 3 loader workers"):
        list(Loader(store, SEGMENT, workers=3, plan=plan))


def test_other_runtime_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shapes"), loader_errors():
        raise RuntimeError("shapes do not match")


def test_same_batches_from_an_object_store(corpus: Path, gcs: str) -> None:
    write_corpus(gcs, FILMS)
    store, train = train_of(gcs)
    plan = BatchPlan(segment_draws(train, 7, 0), 5)
    here = train_of(corpus)
    expected = digests(make_loader(here[0], BatchPlan(segment_draws(here[1], 7, 0), 5), SEGMENT))
    assert train.digest == here[1].digest
    assert digests(make_loader(store, plan, SEGMENT)) == expected
    assert digests(Loader(store, SEGMENT, workers=2, plan=plan)) == expected


def test_workers_by_default_are_cores_and_twice_that_on_a_network(tmp_path: Path) -> None:
    local, remote = open_store(str(tmp_path)), open_store("gs://some-bucket")
    assert default_workers(remote) == 2 * default_workers(local) > 0


def test_plain_webdataset_reads_the_same_shards(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WDS_SECURE", "1")
    import webdataset as wds

    shards = sorted(str(path) for path in corpus.glob("shards/mias/*/*.tar"))
    seen = {}
    for sample in wds.WebDataset(shards, shardshuffle=False, empty_check=False):
        image = cv2.imdecode(np.frombuffer(sample["png"], np.uint8), cv2.IMREAD_UNCHANGED)
        seen[sample["__key__"]] = image
        assert {"png", "mask.png", "json"} <= set(sample)
    assert sorted(seen) == sorted(f"mias-{film.key}" for film in FILMS)
    assert all(np.array_equal(seen[f"mias-{film.key}"], picture(film)) for film in FILMS)
