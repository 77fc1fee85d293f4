"""CBIS-DDSM: 3,103 digitised screen films of 1,566 women with 3,568 abnormalities, CC BY 3.0.

Facts and their sources
-----------------------
- Four case tables (mass and calcification, train and test), one row an abnormality of a film:
  TCIA attachments of 2017-09-30. Every count in this package was taken from them.
- Labels: Lee et al., Sci Data 4:170177 (2017), and the DDSM volume pages (cancer_02, benign_03,
  benign_without_callback_01): MALIGNANT is proven by pathology; BENIGN "most often by pathology,
  in some cases ultrasound or some other accepted means"; BENIGN_WITHOUT_CALLBACK was judged from
  the screening films alone.
- Outlines: mass regions were segmented anew, calcification regions are DDSM's general outlines
  (Lee et al.).
- Files hold neither spacing nor window, view position, age or scanner; none is invented.

Traps
-----
The csv paths are not where the files are, and file names mean nothing: series are found by UID,
or by PatientID and UID tails. Mask and crop share a series and are swapped at will: both are
handed on, content tells. `breast density` or `breast_density`; ``N/A``, ``NA`` or nothing;
newlines inside quoted paths; backslashes. 71 films exist as Mass- and as Calc- film under
different UIDs; 31 patients are in train of one and test of the other. Abnormality numbers count
per film and do not match across views, so lesions have no key across views.

`cases` reads the tables, `words` lists their words, `films` joins them with the files, `check`
compares a copy with the specification.
"""

from __future__ import annotations

from etl.sources.cbis_ddsm.check import verify
from etl.sources.cbis_ddsm.films import RELEASE, files_to_index, plan, resolve
from etl.sources.cbis_ddsm.words import WORDS

__all__ = ["RELEASE", "WORDS", "files_to_index", "plan", "resolve", "verify"]
