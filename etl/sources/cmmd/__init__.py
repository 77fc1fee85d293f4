"""CMMD: 5,202 digital mammograms of 1,775 Chinese women, labels by biopsy per breast, CC BY 4.0.

Facts and their sources
-----------------------
- One study and one series a patient, 2 images (949 patients, one breast) or 4 (826): NBIA's
  metadata.csv. Each of the 2,601 breasts has one CC and one MLO image of 2294 x 1914 pixels.
- `CMMD_clinicaldata_revision.xlsx` (and csv): one row a labelled breast, 1,872 of them, by biopsy:
  Cui et al. 2021. Every count of the table in this package was taken from it.
- Stored values are windowed to 8 bits (MONOCHROME2); the files still carry a window, which is not
  applied again. ImagerPixelSpacing is 0.0941 mm. Manufacturer is empty.
- TOMPEI-CMMD (TCIA analysis result, 2025): outlines on 1,385 MLO images, density and BI-RADS.
  Optional; it may lie anywhere below the root.

Traps
-----
Side and view stand in headers only (`ImageLaterality`, `ViewCodeSequence`; ViewPosition is empty),
so every layout goes through the header index, and no path means anything. A row is of **one**
breast: joined by patient alone it gives the cancer to the other breast of 30 patients, and a label
to 729 breasts that have none. `number` is always 2 (views) and counts no lesion. Ten images exist
under two ids with two labels; D1-1343 L is stored in 16 bits; some tags have the wrong side
(`oddities`). D2 is nearly all malignant: report D1 apart. Re-exports to PNG lost their sides.

`tables` reads the tables, `oddities` lists what is wrong with single patients, `films` joins them
with the files, `check` compares a copy with the specification.
"""

from __future__ import annotations

from etl.sources.cmmd.check import verify
from etl.sources.cmmd.films import RELEASE, files_to_index, plan, resolve
from etl.sources.cmmd.tables import WORDS

__all__ = ["RELEASE", "WORDS", "files_to_index", "plan", "resolve", "verify"]
