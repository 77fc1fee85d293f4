"""The contract of the corpus: words, films, manifest, samples, and the door to bytes.

`open` gives a finished corpus as pandas::

    import schemas
    films = schemas.open("OUT").frame(where="pathology = 'malignant'")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schemas.corpus import Corpus

__all__ = ["open"]


def open(location: str) -> Corpus:
    """Open a corpus: `OUT`, `OUT/v-<12 hex>`, or the same on gs://; see `Corpus`."""
    from schemas.corpus import open_corpus

    return open_corpus(location)
