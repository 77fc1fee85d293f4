"""BCDR, the Breast Cancer Digital Repository: Portuguese films and digital mammograms, outlined.

Facts and their sources
-----------------------
- Benchmark sets, each an archive of its own: digitised films F01 F02 F03, digital mammograms D01
  (masses) and D02 (calcifications), normal digital mammograms DN01. Moura and Guevara Lopez, Int J
  CARS 8:561-574 (2013); F03: Arevalo et al., Comput Methods Programs Biomed 127:248-257 (2016).
- Outline tables (19 columns) and image tables (8 columns): pieces of D01 and the descriptors of
  F01 as published by users; every statement on their form was checked there.
- `Benign` and `Malign` are results of biopsies (text of the repository). A view without outline
  is of a woman with a proven lesion and is unknown, not normal; DN01 is normal by its readers.
- Outlines are pixels of the image, x columns, y rows from the top; whether they count from 0 or 1
  is not written. Read as 0-based clicks, they are half a pixel off at most.
- Digital pixels are 0.07 mm (two independent users); film pixels are not given and stay null.
- 8 or 16 bits: the text says 14-bit acquisition, users find 8-bit TIFFs. Each file says itself.

Traps
-----
A blank after every comma; `Malign`, not Malignant; `image_view` counts views from 1 and
`image_type_id` from 0; the same image, and the same outline, in D01 and D02; F03 one folder
deeper and without image table; mask images that look like films; backslashes; flattened copies;
renamed tables; no density, no age.

`words` holds the vocabulary, `tables` finds sets and names, `films` merges them, `check` compares
a copy with the specification.
"""

from __future__ import annotations

from etl.sources.bcdr.check import verify
from etl.sources.bcdr.films import RELEASE, files_to_index, plan, resolve
from etl.sources.bcdr.words import WORDS

__all__ = ["RELEASE", "WORDS", "files_to_index", "plan", "resolve", "verify"]
