"""Writers of phantom releases: true layout, breast-like films, lesions known to the pixel.

A writer knows a release's published layout and nothing of our readers; what it returns and saves
as truth is what tests hold a corpus against. Same seed, same bytes; a release of more patients
begins with the files of the smaller one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from etl.phantoms import cbis_ddsm, mias
from etl.phantoms.truth import Truth
from schemas.errors import UsageError

__all__ = ["WRITERS", "Truth", "Writer", "write"]


Writer = Callable[..., Truth]
"""`writer(root, patients, seed, **options)` writes a release into `root`, its truth beside it."""

WRITERS: dict[str, Writer] = {
    "cbis_ddsm": cbis_ddsm.write,
    "mias": mias.write,
}
"""Release key to its writer."""


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
    for key in keys:
        if key not in WRITERS:
            raise UsageError(f"no phantom writer for {key!r}; there are {', '.join(WRITERS)}")
    return {key: WRITERS[key](Path(root) / key, patients, seed, **options) for key in keys}
