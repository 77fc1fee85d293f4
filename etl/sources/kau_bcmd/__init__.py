"""KAU-BCMD: full-field digital mammograms from Jeddah, sorted into folders by BI-RADS category.

Facts and their sources
-----------------------
- Alsolami et al. 2021 (abstract): 1,416 examinations of two views of both breasts, 5,662 images;
  category by the majority of three radiologists; 1, 3, 4 and 5 are used. Copies in circulation
  hold fewer, so no count is expected: public readers found 2,206 and 2,378 images.
- **Labels are opinions**: no biopsy is known. The folder is the first source of the category and
  `correctSheetlast.xlsx` the second; density and age stand in the sheet alone.
- Names of folders, files and the sheet's columns are those that public code reads from the release
  (Mammo-Bench, MammoVQA and others). The real sheet was never seen here: where a cell does not
  follow them, `verify` says so.
- No outline is in the release: only films called normal are completely annotated.

Traps
-----
Mixed case, blanks and doubled folders (`Birad3/b3`, `BIRAD 3/BIRAD 3`); a blank inside file names
(`2018_BC0021981_ MLO_R.jpg`), not in the DICOM edition, and `.dcm` in the sheet for `.jpg` files;
titles with newlines and double blanks; rows twice; a film in two folders, of which the higher one
counts; digits of ids have no fixed width; the year belongs to the examination, not to the patient;
ultrasound pictures, `masks` and reports beside the films; JPEG in RGB. Shape and size of pictures
go together with the category (a public reader's note): `verify` shows them.

`sheet` reads the workbook, `films` the folders and both together, `check` describes a copy.
"""

from __future__ import annotations

from etl.sources.kau_bcmd.check import verify
from etl.sources.kau_bcmd.films import RELEASE, WORDS, files_to_index, plan, resolve

__all__ = ["RELEASE", "WORDS", "files_to_index", "plan", "resolve", "verify"]
