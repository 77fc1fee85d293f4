"""The card of a version: what is inside, for people (HTML) and for tools (Croissant)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from etl.card.croissant import croissant
from etl.card.page import page
from schemas.corpus import Corpus
from schemas.release import Words
from schemas.store import Store

__all__ = ["croissant", "page", "write_card"]


def write_card(
    corpus: Corpus,
    *,
    words: Mapping[str, Sequence[Words]] | None = None,
    sheets: Mapping[str, bytes] | None = None,
) -> tuple[str, str]:
    """Write `cards/<version>/index.html` and `croissant.json` beside the version.

    A card that is there is replaced: it holds nothing that the version does not say.

    Parameters
    ----------
    words, sheets
        See `page`.

    Returns
    -------
    tuple of str
        The paths of both, relative to the corpus.
    """
    folder = f"cards/{corpus.version}"
    paths = f"{folder}/index.html", f"{folder}/croissant.json"
    contents = page(corpus, words=words, sheets=sheets), croissant(corpus)
    for path, content in zip(paths, contents, strict=True):
        _replace(corpus.store, path, content)
    return paths


def _replace(store: Store, path: str, content: bytes) -> None:
    current = None if store.stat(path) is None else store.read(path)
    if current != content:
        store.swap(path, content, current)
