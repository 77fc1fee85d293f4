"""Breast-Cancer-Screening-DBT: 22,032 tomosynthesis volumes of 5,060 women and men, Duke, 2014-18.

Facts and their sources
-----------------------
- One series = one multi-frame DICOM file = one volume (Hologic, JPEG 2000 lossless). Labels,
  boxes and file paths are nine csv tables of the TCIA page, three a split; the split of a patient
  is in the tables' names (Buda et al., JAMA Netw Open 2021;4(8):e2119100).
- `StudyUID` is a short code (`DBT-S00163`), not a UID; all study dates are 2000-01-01, so there is
  no order in time between a patient's studies.
- The label is one for a **study**: cancer and benign by biopsy, actionable = recalled without
  biopsy, normal = a negative screen. A biopsied study holds only its annotated views: nothing of
  the other breast was released, and the number of views gives the class away.
- Boxes are a radiologist's coarse rectangles on one central slice, without extent in depth.

Traps
-----
The laterality tag says L of every volume, and some volumes are upside down: by the official rule
(`etl.pixels.frames`) the picture is turned, **never the boxes**, which are upright already.
`NA-` in folders of newer downloads, which the tables' descriptive paths lack; views with a digit
for a repeated acquisition (`lmlo1`); window and spacing inside functional groups; BitsStored 10
over code streams of 16 bits; four volumes of men; tables of validation and test that were published
without labels until January 2024: a missing table means unlabelled, not normal; no box does not
mean normal (actionable volumes have none).

Samples: each slice that has boxes; of every other volume two slices, at depths of 25 to 75 % that a
hash of the volume's name chooses. On demand (`mammo-etl run --dbt-slab`) also the slab of every
volume, the mean of all its slices (`etl.pixels.slab`): it is made whether or not there is a lesion,
so that its presence tells nothing, and all boxes of the volume are drawn on it.
"""

from __future__ import annotations

from etl.sources.bcs_dbt.check import verify
from etl.sources.bcs_dbt.films import RELEASE, files_to_index, plan, resolve
from etl.sources.bcs_dbt.tables import WORDS

__all__ = ["RELEASE", "WORDS", "files_to_index", "plan", "resolve", "verify"]
