"""Lesions of receipts become one table, also where a release has none."""

from __future__ import annotations

import pyarrow as pa

from beam_jobs.compact import _lesions
from schemas.lesions import LESION_SCHEMA
from schemas.receipt import RECEIPT_SCHEMA


def test_receipts_without_any_lesion_give_an_empty_table():
    for table in (RECEIPT_SCHEMA.empty_table(), pa.Table.from_batches([], schema=RECEIPT_SCHEMA)):
        found = _lesions([table, table])
        assert len(found) == 0
        assert found.schema.equals(LESION_SCHEMA)
