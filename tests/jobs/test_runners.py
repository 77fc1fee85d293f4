from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from beam_jobs import job
from beam_jobs.runners import DASK, LOCAL, check_arguments, pipeline_options
from schemas.errors import MammoError, UsageError
from schemas.store import open_store
from tests.jobs.fakes import files_of, write_release
from tests.jobs.run_fake import settings

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("arguments", "runner"),
    [
        ([], LOCAL),
        (["--runner=local"], LOCAL),
        (["--runner", "DataflowRunner"], "DataflowRunner"),
        (["--runner=dask", "--dask_npartitions=3"], DASK),
    ],
)
def test_a_runner_has_its_full_name(arguments: list[str], runner: str) -> None:
    from apache_beam.options.pipeline_options import StandardOptions

    assert pipeline_options(arguments, 5).view_as(StandardOptions).runner == runner


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--worker=3", "did you mean --workers"),
        ("--temp_locatio=gs://a/b", "did you mean --temp_location"),
        ("--zzz", "no option of this command"),
    ],
)
def test_an_option_that_nobody_knows_is_refused_with_the_nearest(argument: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check_arguments([argument])


def test_options_of_beam_pass(tmp_path: Path) -> None:
    check_arguments(["--project=proj", "--region", "us-central1", "--temp_location=gs://b/tmp"])


CLUSTER = """
import dask, sys, time
from dask.distributed import LocalCluster
if __name__ == "__main__":
    dask.config.set({"distributed.worker.daemon": False})
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1",
                           dashboard_address=None)
    print(cluster.scheduler_address, flush=True)
    sys.stdin.read()
    cluster.close()
"""


@contextmanager
def dask_cluster(folder: Path) -> Iterator[str]:
    """A cluster of two workers on this machine, which knows the tests' fakes."""
    script = folder / "cluster.py"
    script.write_text(CLUSTER)
    cluster = subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    try:
        assert cluster.stdout is not None
        yield cluster.stdout.readline().strip()
        cluster.communicate("", timeout=30)
    finally:
        if cluster.poll() is None:
            os.killpg(cluster.pid, signal.SIGKILL)
            cluster.wait()


def test_bytes_on_a_dask_cluster_are_those_of_one_process(
    alpha: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with dask_cluster(tmp_path) as address:
        job.run_job(
            settings(out, [f"alpha={alpha}"]), ["--runner=dask", f"--dask_client_address={address}"]
        )
    assert files_of(out) == expected


# ---- Dataflow: submitted to a stub of its REST service, staged in the emulator


class _Dataflow(BaseHTTPRequestHandler):
    """Two answers of projects.locations.jobs: create, then get, which says that it is done."""

    def _answer(self, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = json.loads(self.rfile.read(length))
        self.server.bodies.append((self.path, body))  # type: ignore[attr-defined]
        self._answer(
            {
                "id": "job-1",
                "name": body["name"],
                "projectId": "proj",
                "location": "us-central1",
                "currentState": "JOB_STATE_PENDING",
            }
        )

    def do_GET(self) -> None:
        if "/messages" in self.path:
            return self._answer({"jobMessages": []})
        return self._answer(
            {
                "id": "job-1",
                "currentState": "JOB_STATE_DONE",
                "currentStateTime": "2026-01-01T00:00:00Z",
            }
        )

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def dataflow() -> Iterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Dataflow)
    server.bodies = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://localhost:{server.server_port}", server.bodies  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


def test_a_dataflow_job_is_submitted_with_its_steps_and_without_pixels(
    dataflow: tuple[str, list[tuple[str, dict[str, Any]]]],
    gcs: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from apache_beam.internal.gcp import auth
    from apache_beam.portability.api import beam_runner_api_pb2

    endpoint, bodies = dataflow
    # else Beam looks for credentials on the network, four times, before it takes none
    monkeypatch.setattr(auth._Credentials, "_credentials_init", True)
    release = write_release(tmp_path / "alpha", 30)
    arguments = [
        "--runner=DataflowRunner",
        "--project=proj",
        "--region=us-central1",
        f"--temp_location={gcs}/tmp",
        f"--staging_location={gcs}/staging",
        f"--dataflow_endpoint={endpoint}",
        "--no_auth",
        "--sdk_location=container",
        "--sdk_container_image=example.invalid/mammo:1",
        "--max_num_workers=7",
    ]
    with pytest.raises(UsageError, match="its machines see gs:// only"):
        job.run_job(settings(f"{gcs}/corpus", [f"alpha={release}"]), arguments)
    store = open_store(gcs)
    for path in release.rglob("*.bin"):
        store.create(f"alpha/{path.relative_to(release).as_posix()}", path.read_bytes())
    run = settings(f"{gcs}/corpus", [f"alpha={gcs}/alpha"], workers=4)
    # the stub says that the job is done, and has done nothing
    with pytest.raises(MammoError, match="no version was published"):
        job.run_job(run, arguments)
    [(path, body)] = bodies
    assert path.startswith("/v1b3/projects/proj/locations/us-central1/jobs")
    [pool] = body["environment"]["workerPools"]
    images = [image["containerImage"] for image in pool["sdkHarnessContainerImages"]]
    assert images == ["example.invalid/mammo:1"]
    assert pool["autoscalingSettings"]["maxNumWorkers"] == 7
    assert "no_use_multiple_sdk_containers" in body["environment"]["experiments"]
    [staged] = [e.path for e in store.list("staging/") if e.path.endswith("pipeline.pb")]
    graph = beam_runner_api_pb2.Pipeline.FromString(store.read(staged))
    names = [t.unique_name for t in graph.components.transforms.values()]
    for step in (
        "Create tasks",
        "Reshuffle tasks",
        "MakeShard",
        "Reconcile with the plan",
        "Audit across sources",
        "Compact each source",
        "Publish version",
    ):
        assert step in names
    assert _sources_of_shuffles(graph) == {
        "Create tasks",
        "MakeShard",
        "One part a source",
        "Compact each source",
    }
    # the plan that the workers will read is there, and nothing was made by the driver
    assert [e.path for e in store.list("corpus/plans/") if e.path.endswith("tasks.parquet")]
    assert not list(store.list("corpus/shards/"))


def _sources_of_shuffles(graph: Any) -> set[str]:
    """The steps whose outputs go through a GroupByKey: their elements are names and counts."""
    transforms = graph.components.transforms
    top = {name for name, t in transforms.items() if t.unique_name.count("/") == 0}
    producers = {
        pcollection: transforms[name].unique_name
        for name in top
        for pcollection in transforms[name].outputs.values()
    }
    found = set()
    for name in top:
        step = transforms[name]
        inside = [
            t for t in transforms.values() if t.unique_name.startswith(f"{step.unique_name}/")
        ]
        if any(t.spec.urn == "beam:transform:group_by_key:v1" for t in inside):
            found |= {producers[p] for p in step.inputs.values() if p in producers}
    return found
