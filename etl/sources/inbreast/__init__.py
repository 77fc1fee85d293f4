"""INbreast: 410 full-field digital mammograms of 115 examinations with drawn findings.

Facts and their sources
-----------------------
- README of "INbreast Release 1.0", INbreast.csv, Sheet1 of INbreast.xls and four of the outline
  files: every word and count here was taken from them. Moreira et al. 2012: 90 examinations of
  four views, 25 of two; Siemens MammoNovation, Porto 2008-2010, pixels of 0.07 mm, 14 bits.
- **Labels are opinions.** The release gives a BI-RADS category an image; of the 56 cases that had
  a biopsy it does not say which. Category 6 alone is a proven cancer. 4A to 4C are unknown here;
  calling them malignant, as the literature does, is the reader's choice.
- The category is the image's, not the lesion's. No finding is worse than its image, so on a benign
  image all are benign; else the category goes to the only mass, cluster, distortion or asymmetry
  (with its spiculated region), or to the calcifications where there is nothing else. Where several
  findings could have caused it, none is said to be malignant.
- Outlines are the drawing of one radiologist in OsiriX, checked by a second, often smooth ovals
  about a mass (coordinates: pixels of the stored image, fractional, y down, no flip).

Traps
-----
The patient is in the DICOM file's name and nowhere else (`removed` in the tables): copies that
renamed the films are refused. ML in names is MLO in tables; one view is FB. `;` in the csv, floats
in the workbook, 193 blanks as a density, a line of totals, a Sheet2 that must never be read.
Muscle outlines have nearly the names of lesion outlines. Table and outlines disagree about
findings: both are kept. A missing outline file means normal only where the table says so. Augmented
patches of 227 x 227 pixels circulate under the name of INbreast and are refused.

`tables` reads the tables, `outlines` the drawings, `films` joins them with the files, `check`
compares a copy with the specification.
"""

from __future__ import annotations

from etl.sources.inbreast.check import verify
from etl.sources.inbreast.films import RELEASE, WORDS, files_to_index, plan, resolve

__all__ = ["RELEASE", "WORDS", "files_to_index", "plan", "resolve", "verify"]
