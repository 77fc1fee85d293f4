"""`mammo-etl`: releases in, one corpus out.

Exit status: 0 done, 1 failed with one sentence, 2 wrong usage. Nothing heavy is imported before a
command needs it: children of the pool import the entry point again, and `--help` should be instant.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

from beam_jobs.cli_corpus import audit, collect, show, validate
from beam_jobs.cli_tools import Slab, card, diff, estimate, export_coco
from schemas.errors import MammoError, UsageError, missing_extra
from schemas.spec import Spec

__all__ = ["app", "main"]

app = App(
    name="mammo-etl",
    help="Turn releases of mammograms as they lie on a disk into one versioned corpus. "
    "Research use only, not a medical device.",
    help_format="rich",
    version_flags=["--version"],
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
app.command(validate)
app.command(audit)
app.command(show)
app.command(collect, name="gc")
app.command(card)
app.command(diff)
app.command(estimate)
app.command(export_coco)

Releases = Annotated[
    list[str],
    Parameter(
        name="--release", help="KEY=PATH, once a release; PATH may be gs://.", negative_iterable=()
    ),
]
Output = Annotated[str, Parameter(help="The corpus: a local folder or gs://bucket/prefix.")]
Workers = Annotated[int | None, Parameter(help="Child processes; one for each core if not given.")]
Key = Annotated[str | None, Parameter(help="File with a secret: ids become keyed pseudonyms.")]
Beam = Annotated[str, Parameter(show=False, allow_leading_hyphen=True)]
Runner = Annotated[str, Parameter(help="local, dask, DataflowRunner, or any runner of Beam's.")]


@app.command
def sources() -> None:
    """List the releases that can be read, how to get them and what may be done with them.

    Example: mammo-etl sources
    """
    from etl.sources import SOURCES, source

    for key in sorted(SOURCES):
        info = source(key).RELEASE
        passed = "may" if info.licence.redistributable else "may not"
        lines = (
            f"{key}: {info.title}; {info.size}",
            f"  get it   {info.how_to_get}",
            f"           {info.url}",
            f"  licence  {info.licence.title}; pixels {passed} be passed on",
            f"  read it  mammo-etl run --release {key}=PATH --output corpus",
        )
        print("\n".join(lines))


@app.command(name="verify-release")
def verify_release(
    release: str,
    /,
    *,
    output: Annotated[str | None, Parameter(help="A corpus with an index.")] = None,
) -> None:
    """Compare a copy of a release with its specification: files missing, tables of other editions.

    Example: mammo-etl verify-release mias=/data/all-mias

    Parameters
    ----------
    release
        KEY=PATH
    """
    from beam_jobs.index import kept_index
    from beam_jobs.settings import Settings, parse_releases
    from etl.sources import source
    from schemas.release import HeaderIndex, Release

    [(key, root)] = parse_releases([release])
    module = source(key)
    opened = Release.open(root)
    index = HeaderIndex()
    if output is not None:
        settings = Settings(output=output, releases=((key, root),))
        index = kept_index(opened, module, settings)
    differing = 0
    for remark in module.verify(opened, index):
        differing += not remark.ok
        print(f"{'ok     ' if remark.ok else 'DIFFERS'} {remark.what}")
        if remark.meaning:
            print(f"        {remark.meaning}")
    print(f"{differing} differences" if differing else "the copy matches its specification")


@app.command
def index(
    *beam: Beam,
    release: Releases,
    output: Output,
    workers: Workers = None,
    runner: Runner = "local",
) -> None:
    """Read the headers that planning needs, where folder and file names say nothing.

    `plan` and `run` do this themselves; layouts with descriptive names need none.

    Example: mammo-etl index --release cbis_ddsm=/data/cbis --output corpus
    """
    from beam_jobs.job import index_job
    from beam_jobs.settings import Settings, parse_releases

    settings = Settings(
        output=output,
        releases=parse_releases(release),
        workers=workers,
    )
    for key, count in index_job(settings, [*beam, f"--runner={runner}"]).items():
        print(f"{key}: {count} headers known" if count else f"{key}: this layout needs no index")


@app.command
def plan(
    *beam: Beam,
    release: Releases,
    output: Output,
    workers: Workers = None,
    dbt_slab: Slab = False,
    pseudonym_key: Key = None,
    runner: Runner = "local",
) -> None:
    """Say what a run would make, and what is absent, without opening an image.

    Example: mammo-etl plan --release mias=/data/all-mias --output corpus
    """
    from beam_jobs.job import plan_job
    from beam_jobs.report import print_plan
    from beam_jobs.settings import Settings, parse_releases

    settings = Settings(
        output=output,
        releases=parse_releases(release),
        workers=workers,
        dbt_slab=dbt_slab,
        pseudonym_key=pseudonym_key,
    )
    print_plan(plan_job(settings, [*beam, f"--runner={runner}"]), settings, sys.stdout)


@app.command
def run(
    *beam: Beam,
    release: Releases,
    output: Output,
    workers: Workers = None,
    pixel_mm: float = 0.1,
    long_side: int = 2048,
    window: Literal["device", "tissue", "none"] = "device",
    payload: Literal["png", "jxl"] = "png",
    keep_background: Annotated[bool, Parameter(negative=())] = False,
    dbt_slab: Slab = False,
    tag: str | None = None,
    base: str = "LATEST",
    pseudonym_key: Key = None,
    verify_sources: Annotated[bool, Parameter(negative=())] = False,
    retry_rejects: Annotated[bool, Parameter(negative=())] = False,
    runner: Runner = "local",
) -> None:
    """Make or extend a corpus. Stopped anywhere and started again, it goes on where it was.

    Releases of the newest version that are not named are carried over. Options that are not listed
    here go to Beam, such as --project, --region and --temp_location for DataflowRunner.

    Example: mammo-etl run --release mias=/data/all-mias --output corpus --workers 4

    Parameters
    ----------
    pixel_mm
        Standard pixel in mm where the spacing is known; nothing is enlarged.
    long_side
        Largest long side of the breast in pixels where the spacing is unknown.
    window
        Grey levels: the file's own window, one over the tissue, or none.
    payload
        16-bit PNG, or lossless JPEG XL, which is faster to read.
    keep_background
        Leave what lies outside the breast, burned-in text included.
    tag
        Another name for the version that is published.
    base
        Version or tag whose other releases are carried over, or `none`.
    verify_sources
        Read the files of finished shards again; make those anew whose content changed.
    retry_rejects
        Try films again that crashed or took too long or too much memory.
    """
    from beam_jobs.job import run_job
    from beam_jobs.report import print_table
    from beam_jobs.settings import Settings, parse_releases

    settings = Settings(
        output=output,
        releases=parse_releases(release),
        spec=Spec(
            pixel_mm=pixel_mm,
            long_side=long_side,
            window=window,
            keep_background=keep_background,
            payload=payload,
        ),
        workers=workers,
        dbt_slab=dbt_slab,
        base=base,
        tag=tag,
        pseudonym_key=pseudonym_key,
        verify_sources=verify_sources,
        retry_rejects=retry_rejects,
    )
    result = run_job(settings, [*beam, f"--runner={runner}"])
    print_table(result.report, result.seconds, sys.stdout)
    print(f"{output.rstrip('/')}/{result.version}")


@app.command
def phantoms(
    *,
    output: Path,
    sources: Annotated[str, Parameter(help="Keys, separated by commas, or `all`.")] = "all",
    patients: int = 8,
    seed: int = 0,
    clean: Annotated[
        bool, Parameter(negative=(), help="Without swapped, damaged and missing files.")
    ] = False,
) -> None:
    """Draw releases in their true layout, with lesions whose truth is known.

    OUTPUT/<key>/ is a release's root; OUTPUT/<key>.truth.json says what was drawn.

    Example: mammo-etl phantoms --output phantoms --patients 8
    """
    if patients < 1:
        raise UsageError(f"--patients is {patients}: draw at least 1")
    from etl.phantoms import write

    keys = None if sources == "all" else [key.strip() for key in sources.split(",")]
    for key, truth in write(output, keys, patients, seed, traps=not clean).items():
        print(f"{output / key}: {len(truth.films)} films of {patients} patients")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = app(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return _said(f"{error}", 2)
    except UsageError as error:
        return _said(str(error), 2)
    except MammoError as error:
        return _said(str(error), 1)
    except ModuleNotFoundError as error:
        return _said(missing_extra(error, "etl,beam"), 1)
    except KeyboardInterrupt:
        return _said("stopped; run the same command again to go on where it was", 1)
    return status if isinstance(status, int) else 0


def _said(sentence: str, status: int) -> int:
    print(f"mammo-etl: {sentence}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
