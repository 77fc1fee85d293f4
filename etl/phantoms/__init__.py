"""Writers of phantom releases: true layout, breast-like films, lesions known to the pixel.

A writer knows a release's published layout and nothing of our readers; what it returns and saves
as truth is what tests hold a corpus against. Same seed, same bytes; a release of more patients
begins with the files of the smaller one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from etl.phantoms.truth import Truth
from schemas.errors import UsageError

__all__ = ["WRITERS", "Truth", "Writer", "write", "writer"]


Writer = Callable[..., Truth]
"""`writer(root, patients, seed, **options)` writes a release into `root`, its truth beside it."""

WRITERS: dict[str, str] = {
    "bcdr": "etl.phantoms.bcdr",
    "bcs_dbt": "etl.phantoms.bcs_dbt",
    "cbis_ddsm": "etl.phantoms.cbis_ddsm",
    "cdd_cesm": "etl.phantoms.cdd_cesm",
    "cmmd": "etl.phantoms.cmmd",
    "duke_mri": "etl.phantoms.duke_mri",
    "embed": "etl.phantoms.embed",
    "inbreast": "etl.phantoms.inbreast",
    "kau_bcmd": "etl.phantoms.kau_bcmd",
    "mias": "etl.phantoms.mias",
    "omi_db": "etl.phantoms.omi_db",
}
"""Release key to the module whose `write` is its writer; imported when it is asked for."""


def writer(key: str) -> Writer:
    """Return the writer of a release; `UsageError` where there is none."""
    if key not in WRITERS:
        raise UsageError(f"no phantom writer for {key!r}; there are {', '.join(WRITERS)}")
    return cast("Writer", import_module(WRITERS[key]).write)


def write(
    root: Path | str,
    sources: Sequence[str] | None = None,
    patients: int = 8,
    seed: int = 0,
    **options: Any,
) -> dict[str, Truth]:
    """Write phantom releases into `root/<key>/` and their truth into `root/<key>.truth.json`.

    Parameters
    ----------
    root
        Folder for all of them, made if need be.
    sources
        Release keys; by default every one in `WRITERS`.
    patients
        Patients in each release; the first eight carry the release's oddities.
    seed
        Another seed draws other films.
    **options
        Passed to every writer: `traps=False` draws clean releases for training.

    Raises
    ------
    UsageError
        For a key without a writer.

    Examples
    --------
    >>> import tempfile
    >>> truth = write(tempfile.mkdtemp(), ["mias"], patients=1)["mias"]
    >>> [film.film_key for film in truth.films]
    ['mdb001', 'mdb002']
    """
    keys = list(WRITERS) if sources is None else list(sources)
    writers = {key: writer(key) for key in keys}
    return {
        key: write(Path(root) / key, patients, seed, **options) for key, write in writers.items()
    }
