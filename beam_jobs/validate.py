"""`mammo-etl validate`: compare a version with what it says of itself.

Without `deep`: schema, vocabulary, keys, counts, receipts, every member's place, length and CRC32C,
and that KEY.json equals the manifest's row. With `deep`: images and masks are decoded, their size
and grey levels compared with the row, and every mask is drawn again from the lesions table.
"""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.columns import problems, rounded
from schemas.corpus import Corpus
from schemas.errors import MammoError
from schemas.lesions import LESION_COLUMNS, LESION_SCHEMA
from schemas.manifest import MANIFEST_COLUMNS, SAMPLE_COLUMNS
from schemas.receipt import Receipt
from schemas.sample import to_json_bytes
from schemas.vocabulary import Annotation

__all__ = ["Problem", "validate"]

Row = Mapping[str, Any]
PAYLOADS = ("png", "jxl")
_READERS = 4


@dataclass(frozen=True, slots=True)
class Problem:
    """One sentence about one thing; `where` is a file, a sample or a column."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def validate(
    corpus: Corpus, *, deep: bool = False, progress: Callable[[int, int], None] | None = None
) -> list[Problem]:
    """Return everything that is wrong with a version; an empty list where nothing is.

    Parameters
    ----------
    deep
        Decode every payload and draw every mask again.
    progress
        Called with (samples done, samples in all).
    """
    manifest = corpus.table()
    lesions = pa.Table.from_pandas(corpus.lesions(), schema=LESION_SCHEMA, preserve_index=False)
    found = [*_table_problems("manifest", manifest, MANIFEST_COLUMNS)]
    found += _table_problems("lesions", lesions, LESION_COLUMNS)
    if found:
        return found
    rows = manifest.to_pylist()
    by_sample = _by_sample(lesions.to_pylist())
    found += _key_problems(rows, by_sample)
    found += _split_problems(rows)
    found += _count_problems(corpus, rows, by_sample)
    found += _receipt_problems(corpus)
    found += _sample_problems(corpus, rows, by_sample, deep, progress)
    return found


def _table_problems(name: str, table: pa.Table, columns: Any) -> Iterator[Problem]:
    for sentence in problems(table, columns):
        yield Problem(name, sentence)


def _by_sample(lesions: Iterable[Row]) -> dict[str, list[Row]]:
    out: dict[str, list[Row]] = {}
    for lesion in lesions:
        out.setdefault(lesion["sample_id"], []).append(lesion)
    return out


def _key_problems(rows: list[Row], lesions: Mapping[str, list[Row]]) -> Iterator[Problem]:
    for sample, count in Counter(row["sample_id"] for row in rows).items():
        if count > 1:
            yield Problem(sample, f"the manifest has {count} rows with this sample_id")
    known = {row["sample_id"]: row for row in rows}
    for sample in sorted(set(lesions) - set(known)):
        yield Problem(sample, "lesions point to a sample that the manifest does not have")
    for sample, row in known.items():
        drawn = len(lesions.get(sample, ()))
        if drawn != row["n_lesions"]:
            yield Problem(sample, f"n_lesions is {row['n_lesions']}, the lesions table has {drawn}")


def _split_problems(rows: list[Row]) -> Iterator[Problem]:
    for column in ("split_key", "patient_id"):
        sides: dict[str, set[str]] = {}
        for row in rows:
            sides.setdefault(row[column], set()).add(row["split"])
        for key, found in sorted(sides.items()):
            if len(found) > 1:
                yield Problem(key, f"this {column} stands on both {' and '.join(sorted(found))}")


def _count_problems(
    corpus: Corpus, rows: list[Row], lesions: Mapping[str, list[Row]]
) -> Iterator[Problem]:
    made = Counter(row["source"] for row in rows)
    patients = {source: set() for source in corpus.dataset.sources}  # type: dict[str, set[str]]
    drawn: Counter[str] = Counter()
    for row in rows:
        patients.setdefault(row["source"], set()).add(row["patient_id"])
        drawn[row["source"]] += len(lesions.get(row["sample_id"], ()))
    rejected = Counter(corpus.rejects()["source"])
    absent = Counter(corpus.absent()["source"])
    for source, summary in corpus.dataset.sources.items():
        counts = summary.counts
        if counts.planned != counts.made + counts.rejected + counts.absent:
            what = f"planned {counts.planned} is not made + rejected + absent ({counts})"
            yield Problem(source, what)
        pairs = {
            "made": (counts.made, made[source]),
            "rejected": (counts.rejected, rejected[source]),
            "absent": (counts.absent, absent[source]),
            "patients": (counts.patients, len(patients[source])),
            "lesions": (counts.lesions, drawn[source]),
        }
        for name, (told, seen) in pairs.items():
            if told != seen:
                yield Problem(source, f"dataset.json says {told} {name}, the tables have {seen}")


def _receipt_problems(corpus: Corpus) -> Iterator[Problem]:
    for summary in corpus.dataset.sources.values():
        for path in summary.receipts:
            if corpus.store.stat(path) is None:
                yield Problem(path, "the receipt is missing")
                continue
            receipt = Receipt.from_parquet(corpus.store.read(path), path)
            if not receipt.shard:
                continue
            entry = corpus.store.stat(receipt.shard)
            if entry is None:
                yield Problem(receipt.shard, "the shard is missing")
            elif entry.size != receipt.tar_size:
                yield Problem(
                    receipt.shard, f"has {entry.size} bytes, its receipt says {receipt.tar_size}"
                )


def _sample_problems(
    corpus: Corpus,
    rows: list[Row],
    lesions: Mapping[str, list[Row]],
    deep: bool,
    progress: Callable[[int, int], None] | None,
) -> Iterator[Problem]:
    def check(row: Row) -> list[Problem]:
        try:
            sentences = list(_member_problems(corpus, row, lesions.get(row["sample_id"], []), deep))
        except MammoError as error:
            sentences = [str(error)]
        return [Problem(f"{row['sample_id']} in {row['shard']}", text) for text in sentences]

    with ThreadPoolExecutor(_READERS) as pool:
        for done, found in enumerate(pool.map(check, rows), start=1):
            yield from found
            if progress is not None:
                progress(done, len(rows))


def _member_problems(corpus: Corpus, row: Row, lesions: list[Row], deep: bool) -> Iterator[str]:
    image = _member(corpus, row, "image", PAYLOADS)
    mask = None
    if row["mask_offset"] is not None:
        mask = _member(corpus, row, "mask", ("mask.png",))
    if (mask is None) != (row["annotation"] == Annotation.NONE):
        state = "absent" if mask is None else "there"
        yield f"annotation is {row['annotation']!r} and the mask is {state}"
    facts = _member(corpus, row, "json", ("json",))
    if facts != _expected_json(row, lesions):
        yield f"KEY.json and the tables differ in {_differing(facts, row, lesions)}"
    if deep:
        yield from _pixel_problems(row, lesions, image, mask)


def _member(corpus: Corpus, row: Row, part: str, endings: tuple[str, ...]) -> bytes:
    """Return a member's bytes; `MammoError` where the tar holds something else there."""
    start = row[f"{part}_offset"] - tarfile.BLOCKSIZE
    size = row[f"{part}_size"] + tarfile.BLOCKSIZE
    if start < 0:
        raise MammoError(f"{part}_offset is {row[f'{part}_offset']}, before any member can begin")
    found = corpus.store.read_range(row["shard"], start, size)
    head, data = found[: tarfile.BLOCKSIZE], found[tarfile.BLOCKSIZE :]
    try:
        member = tarfile.TarInfo.frombuf(head, tarfile.ENCODING, "strict")
    except (tarfile.TarError, UnicodeDecodeError) as error:
        raise MammoError(f"no member begins where the manifest says that its {part} is") from error
    if member.name not in {f"{row['sample_id']}.{ending}" for ending in endings}:
        raise MammoError(f"the manifest's place of its {part} is that of {member.name}")
    if member.size != len(data):
        raise MammoError(f"{part}_size is {len(data)}, the tar says {member.size}")
    if part != "json" and google_crc32c.value(data) != row[f"{part}_crc32c"]:
        raise MammoError(f"the {part}'s bytes do not have the manifest's CRC32C")
    return data


def _facts(row: Row) -> dict[str, Any]:
    facts = {column.name: row[column.name] for column in SAMPLE_COLUMNS}
    facts["quality_flags"] = [flag for flag in row["quality_flags"] if flag[:6] != "audit:"]
    return facts


def _expected_json(row: Row, lesions: list[Row]) -> bytes:
    return to_json_bytes(_facts(row), tuple(dict(lesion) for lesion in lesions))


def _differing(facts: bytes, row: Row, lesions: list[Row]) -> str:
    try:
        stored = json.loads(facts)
    except ValueError:
        return "everything: it is no JSON"
    expected = rounded({**_facts(row), "lesions": [dict(lesion) for lesion in lesions]})
    names = sorted(set(stored) | set(expected))
    return ", ".join(name for name in names if stored.get(name) != expected.get(name)) or "form"


def _pixel_problems(
    row: Row, lesions: list[Row], image: bytes, mask: bytes | None
) -> Iterator[str]:
    from etl.pixels.encode import decode_image, decode_mask

    size = (row["height"], row["width"])
    pixels = decode_image(image)
    if pixels.shape != size or pixels.dtype != np.uint16:
        yield f"the image is {pixels.dtype} {pixels.shape}, the manifest says uint16 {size}"
        return
    if not pixels.any():
        yield "the image is black"
    if mask is not None:
        labels = decode_mask(mask)
        if labels.shape != size:
            yield f"the mask is {labels.shape}, the image {size}"
        else:
            yield from _redrawn_problems(row, lesions, labels)


def _redrawn_problems(row: Row, lesions: list[Row], labels: npt.NDArray[np.uint8]) -> Iterator[str]:
    from etl.pixels.labels import draw_labels

    again = draw_labels(row, lesions)
    differing = int((again != labels).sum())
    # outlines are kept with seven digits: a pixel centre on a border may fall to the other side
    allowed = 2 + int(0.01 * np.count_nonzero(labels))
    if differing > allowed:
        yield f"drawn again from the lesions table, {differing} pixels of the mask differ"
