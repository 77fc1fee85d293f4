"""Beam's options: which runner, and what each needs so that the work is really spread.

- No runner named: Beam's own FnApiRunner, in this process, by its full name. The bare DirectRunner
  would first try to download a binary, and `multi_processing` hangs when a worker dies; our
  parallelism is the pool of children.
- `DataflowRunner`: one process a machine with one pool, not one for each core; two tasks at a time,
  so that the next shard's films are read while one ends.
- `dask`: DaskRunner puts 128 elements into a partition unless told otherwise, so all tasks would
  run on one worker; and its workers may not have children unless they are no daemons.
"""

# mypy: disallow-untyped-calls=False

from __future__ import annotations

import argparse
import difflib
import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from schemas.errors import MammoError, UsageError

if TYPE_CHECKING:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

__all__ = ["check_arguments", "pipeline_options", "refuse_local_paths", "running"]

LOCAL = "apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"
DASK = "apache_beam.runners.dask.dask_runner.DaskRunner"
_NAMES = {"local": LOCAL, "direct": LOCAL, "dask": DASK, "dataflow": "DataflowRunner"}
_TASKS_PER_WORKER = 4
_DATAFLOW = (
    "--experiments=no_use_multiple_sdk_containers",
    "--number_of_worker_harness_threads=2",
)


def pipeline_options(arguments: Sequence[str], tasks: int) -> PipelineOptions:
    """Return Beam's options for our arguments.

    Parameters
    ----------
    arguments
        `--runner NAME` and any option that Beam knows.
    tasks
        Elements that will be spread.

    Raises
    ------
    UsageError
        An option that Beam does not know, with the nearest that it does.
    """
    from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

    runner, rest = _runner(arguments)
    _refuse_unknown(rest, runner)
    if runner == DASK:
        rest = [*rest, *_dask_arguments(rest, tasks)]
    elif runner == _NAMES["dataflow"]:
        rest = [*_DATAFLOW, *rest]
    options = PipelineOptions([*rest, f"--runner={runner}"])
    options.view_as(StandardOptions).streaming = False
    return options


@contextmanager
def running(pipeline: beam.Pipeline) -> Iterator[beam.Pipeline]:
    """Give a pipeline to add steps to; then run it and wait for its end.

    Raises
    ------
    MammoError
        The runner's service says that the job did not end well.
    """
    yield pipeline
    result = pipeline.run()
    try:
        state = result.wait_until_finish()
    finally:
        # a client that outlives its cluster tries to reach it for half a minute
        client = getattr(result, "client", None)
        if client is not None:
            client.close()
    if state not in (None, "DONE"):
        raise MammoError(f"the runner ended with {state}: read its log, then run again")


def check_arguments(arguments: Sequence[str]) -> None:
    """Refuse an option that Beam does not know before anything is read: `UsageError`."""
    runner, rest = _runner(arguments)
    if rest:
        _refuse_unknown(rest, runner)


def refuse_local_paths(arguments: Sequence[str], paths: Sequence[str]) -> None:
    """Refuse folders of this machine for a runner whose workers are elsewhere: `UsageError`."""
    if _runner(arguments)[0] != _NAMES["dataflow"]:
        return
    local = [path for path in paths if not path.startswith("gs://")]
    if local:
        raise UsageError(
            f"--runner DataflowRunner cannot reach {local[0]}: its machines see gs:// only; copy "
            "the release there, and give gs:// for --release and --output"
        )


def _runner(arguments: Sequence[str]) -> tuple[str, list[str]]:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--runner", default="local")
    known, rest = parser.parse_known_args(list(arguments))
    return _NAMES.get(known.runner.lower(), known.runner), rest


def _refuse_unknown(arguments: Sequence[str], runner: str) -> None:
    from apache_beam.options.pipeline_options import PipelineOptions

    _import_runner(runner)
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, conflict_handler="resolve")
    for kind in [*PipelineOptions.__subclasses__()]:
        kind._add_argparse_args(parser)  # type: ignore[arg-type]
    try:
        _, unknown = parser.parse_known_args(list(arguments))
    except SystemExit as error:
        raise UsageError(f"Beam does not understand {' '.join(arguments)}") from error
    if unknown:
        options = [option for action in parser._actions for option in action.option_strings]
        name = unknown[0].split("=")[0]
        near = difflib.get_close_matches(name, [*options, "--workers", "--release", "--output"], 1)
        hint = f": did you mean {near[0]}?" if near else "; see `mammo-etl run --help`"
        raise UsageError(f"{name} is no option of this command and none of Beam's{hint}")


def _import_runner(runner: str) -> None:
    """Import a runner named by its module: some declare their options there."""
    module = runner.rpartition(".")[0]
    if not module:
        return
    try:
        importlib.import_module(module)
    except ImportError as error:
        extra = ': run pip install "mammo-corpus[dask]"' if runner == DASK else ""
        raise UsageError(f"--runner {runner} cannot be imported ({error}){extra}") from error


def _dask_arguments(arguments: Sequence[str], tasks: int) -> list[str]:
    import dask
    from dask.distributed import Client

    dask.config.set({"distributed.worker.daemon": False})
    if any(name.startswith(("--dask_npartitions", "--dask_partition_size")) for name in arguments):
        return []
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--dask_client_address", default=None)
    address = parser.parse_known_args(list(arguments))[0].dask_client_address
    if address is None:
        return [f"--dask_npartitions={max(1, tasks)}"]
    with Client(address) as client:
        workers = len(client.scheduler_info()["workers"])
    return [f"--dask_npartitions={max(1, min(tasks, _TASKS_PER_WORKER * workers))}"]
