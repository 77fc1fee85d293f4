"""The copy of a run directory: on gs:// and in a folder, torn, taken over, and gone on from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from mammo_train import checkpoint
from mammo_train.engine import train
from mammo_train.mirror import Mirror
from mammo_train.runtime.cpu import CpuRuntime
from mammo_train.tracking import read_metrics
from schemas.errors import StoreError
from schemas.store import open_store
from tests.train.tiny import TinyStage


class LostError(Exception):
    """The machine is taken away."""


def files(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def losses(work: Path) -> list[tuple[int, str]]:
    rows = read_metrics(work / "stages/tiny/metrics.csv")
    return [(int(row["step"]), row["loss"]) for row in rows if row["kind"] == "train"]


def trained(work: Path, mirror: Mirror | None = None, *, lost_after: int = 0) -> list[str]:
    """Train the tiny stage; with `lost_after` the machine is lost after so many checkpoints."""
    count = 0

    def saved() -> None:
        nonlocal count
        count += 1
        if mirror is not None:
            mirror.push()
        if count == lost_after:
            raise LostError

    (work / "config.yaml").parent.mkdir(parents=True, exist_ok=True)
    (work / "config.yaml").write_text("seed: 1\n")
    stage, folder = TinyStage(epochs=2), work / "stages/tiny"
    train(stage, CpuRuntime("fp32"), folder, bar=False, say=lambda _: None, saved=saved)
    return [loss for _, loss in losses(work)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    torch.set_num_threads(1)
    return trained(tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.parametrize("kind", ["gs", "folder"])
def test_a_lost_machine_s_run_goes_on_elsewhere_with_the_same_losses(
    kind: str, undisturbed: list[str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    root = f"{request.getfixturevalue('gcs')}/run" if kind == "gs" else str(tmp_path / "copy")
    first, second = tmp_path / "first", tmp_path / "second"
    with pytest.raises(LostError):
        trained(first, Mirror(root, first), lost_after=3)
    shutil.rmtree(first)
    mirror = Mirror(root, second)
    mirror.pull()
    assert (second / "config.yaml").read_text() == "seed: 1\n"
    resumed = checkpoint.saved(second / "stages/tiny/checkpoints")[0].name
    assert resumed == "step-00000008"
    assert trained(second, mirror) == undisturbed
    kept = {entry.path: open_store(root).read(entry.path) for entry in open_store(root).list()}
    left_out = ("tensorboard", "curves.png")
    local = {n: v for n, v in files(second).items() if not any(word in n for word in left_out)}
    assert kept == local
    assert "stages/tiny/done.json" in kept


def test_a_checkpoint_whose_state_did_not_arrive_is_passed_over_and_sent_again(
    tmp_path: Path,
) -> None:
    work, copy = tmp_path / "work", tmp_path / "copy"
    trained(work, Mirror(str(copy), work))
    newest = checkpoint.saved(copy / "stages/tiny/checkpoints")[0]
    (newest / "state.json").unlink()
    (newest / "model.safetensors").write_bytes(b"torn")
    other = tmp_path / "other"
    Mirror(str(copy), other).pull()
    names = [path.name for path in checkpoint.saved(other / "stages/tiny/checkpoints")]
    assert names
    assert newest.name not in names
    Mirror(str(copy), work).push()
    assert files(newest) == files(work / newest.relative_to(copy))


def test_what_is_here_is_never_replaced_by_the_copy(tmp_path: Path) -> None:
    work, copy = tmp_path / "work", tmp_path / "copy"
    trained(work, Mirror(str(copy), work))
    (work / "config.yaml").write_text("seed: 2\n")
    newest = checkpoint.saved(work / "stages/tiny/checkpoints")[0]
    shutil.rmtree(newest)
    Mirror(str(copy), work).pull()
    assert (work / "config.yaml").read_text() == "seed: 2\n"
    assert not newest.exists()


def test_a_store_that_cannot_be_reached_is_a_warning_while_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mirror = Mirror(str(tmp_path / "copy"), tmp_path)

    def refuse(*_: object) -> None:
        raise StoreError("no answer from the store")

    monkeypatch.setattr(mirror.store, "list", refuse)
    with caplog.at_level("WARNING"):
        mirror.try_push()
    assert "the mirror is behind (no answer from the store)" in caplog.text
    with pytest.raises(StoreError, match="no answer"):
        mirror.push()


def test_two_runs_may_not_share_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "config.yaml").write_text("seed: 1\n")
    mirror = Mirror(str(tmp_path / "copy"), work)
    monkeypatch.setattr(mirror.store, "stat", lambda _path: None)  # before the other one wrote
    open_store(str(tmp_path / "copy")).create("config.yaml", b"seed: 2\n")
    with pytest.raises(StoreError, match=r"another run writes config\.yaml .* its own --mirror"):
        mirror.push()
