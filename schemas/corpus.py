"""Open a corpus: its newest version or a named one, as pandas, Arrow or DuckDB conditions.

>>> import schemas
>>> corpus = schemas.open("OUT")  # doctest: +SKIP
>>> films = corpus.frame(where="modality = 'SFM' AND pathology = 'malignant'")  # doctest: +SKIP
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.dataset as ds

from schemas.dataset import Dataset
from schemas.errors import MammoError
from schemas.select import select
from schemas.store import Store, open_store

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LATEST", "Corpus", "open_corpus"]

LATEST = "LATEST"
_VERSION = re.compile(r"^(?P<root>.+)/(?P<version>v-[0-9a-f]{12})/?$")


@dataclass(frozen=True)
class Corpus:
    """One immutable version of a corpus.

    Parameters
    ----------
    root
        Folder or gs:// prefix that holds `shards/` and the versions.
    version
        Name `v-<12 hex>`.
    """

    root: str
    version: str

    @cached_property
    def store(self) -> Store:
        """Bytes of the corpus; shard paths of the manifest are relative to it."""
        return open_store(self.root)

    @cached_property
    def dataset(self) -> Dataset:
        """Content of dataset.json."""
        path = f"{self.version}/dataset.json"
        return Dataset.from_bytes(self.store.read(path), f"{self.root}/{path}")

    def _dataset_of(self, folder: str) -> ds.Dataset:
        filesystem, base = self.store.arrow()
        paths = [
            f"{base}/{self.version}/{folder}/{source}.parquet" for source in self.dataset.sources
        ]
        return ds.dataset(sorted(paths), filesystem=filesystem, format="parquet")

    @property
    def manifest(self) -> ds.Dataset:
        """The manifest as an Arrow dataset: nothing is read before columns are asked for."""
        return self._dataset_of("manifest")

    def table(self, where: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Return rows of the manifest, sorted by sample_id.

        Parameters
        ----------
        where
            SQL condition on the manifest's columns, such as
            ``modality IN ('FFDM','SFM') AND list_contains(findings, 'mass')``.
        columns
            Names to return; all where None.

        Raises
        ------
        UsageError
            The condition is no SQL condition on these columns.
        """
        return select(self.manifest, where, columns)

    def frame(self, where: str | None = None, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return rows of the manifest as pandas; see `table`."""
        return _pandas(self.table(where, columns))

    def lesions(
        self, where: str | None = None, columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Return rows of the lesions table as pandas, sorted by sample_id; see `table`."""
        return _pandas(select(self._dataset_of("lesions"), where, columns))

    def source_table(
        self, source: str, folder: str = "manifest", columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Return one release's rows of the `manifest` or `lesions`, as they lie in its file.

        Parameters
        ----------
        folder
            `manifest` or `lesions`.
        columns
            Names to return; all where None.
        """
        filesystem, base = self.store.arrow()
        path = f"{base}/{self.version}/{folder}/{source}.parquet"
        found = ds.dataset(path, filesystem=filesystem, format="parquet")
        return found.to_table(columns=None if columns is None else list(columns))

    def _parquet(self, name: str) -> pd.DataFrame:
        filesystem, base = self.store.arrow()
        path = f"{base}/{self.version}/{name}"
        return _pandas(ds.dataset(path, filesystem=filesystem, format="parquet").to_table())

    def rejects(self) -> pd.DataFrame:
        """Return the films that became no sample, with reason and detail."""
        return self._parquet("rejects.parquet")

    def absent(self) -> pd.DataFrame:
        """Return the films that tables name and the copies do not hold."""
        return self._parquet("absent.parquet")


def _pandas(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas()
    return frame


def open_corpus(location: str) -> Corpus:
    """Open `OUT` (its newest version), `OUT/v-<12 hex>` or `OUT/TAG`, local or gs://.

    Raises
    ------
    MammoError
        No version is there.
    """
    text = str(location).rstrip("/")
    match = _VERSION.match(text)
    root, version = (match["root"], match["version"]) if match else (text, None)
    store = open_store(root)
    if version is None:
        tagged = _tagged(root)
        if tagged is not None:
            return tagged
        if store.stat(LATEST) is None:
            raise MammoError(
                f"no corpus at {root}: the file {LATEST} is missing there; make one with "
                f"`mammo-etl run --release mias=PATH --output {root}`"
            )
        version = store.read(LATEST).decode().strip()
    if store.stat(f"{version}/dataset.json") is None:
        raise MammoError(f"no version {version} at {root}: it has no dataset.json")
    return Corpus(root=root, version=version)


def _tagged(location: str) -> Corpus | None:
    """Return what `OUT/TAG` means, None where the last part is no tag: `OUT/tags/TAG` has it."""
    root, slash, tag = location.rpartition("/")
    if not slash or not root or root.endswith("/"):
        return None
    store = open_store(root)
    if store.stat(f"tags/{tag}") is None:
        return None
    return Corpus(root=root, version=store.read(f"tags/{tag}").decode().strip())
