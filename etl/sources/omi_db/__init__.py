"""OMI-DB: UK screening mammograms with NBSS episodes and radiologists' marks, by agreement.

Facts and their sources
-----------------------
- Content and licence: Halling-Brown et al., Radiol Artif Intell 3(1):e200103 (2021) and the
  owner's pages. No redistribution: ids, pixels and JSON stay out of everything that is shared.
- Layout, names and words: the owner's parser omidb 0.13.1 (PyPI, MIT) and its documentation.
- The release holds no label. Status and outcome are computed from each episode's type and opinions
  (omidb, `episode.py`, `classificationtools.py`); a breast's label from surgery and biopsy of that
  side, else from the outcome. NBSS histology is the basis `biopsy`; an interval cancer that only
  the registry names is `screening_outcome`.
- Dates are shifted, all of a client by as much: days between studies are true, dates are not kept.
- The clinic's short name (`Site`) is not kept: no column is meant for it.

Traps
-----
JSON in two spellings (`nbss_`, `NBSS_`; `.json`, `.dcm.json`), empty, cut, or with empty keys;
codes or texts; strings for numbers; two date formats; no site or series folder; `DATA` and
`IMAGES` in capitals. A client of status CI has normal earlier rounds, which are priors; an episode
of type CI with a benign operation is undefined; null opinions are unknown, not normal; the other
breast of a cancer has its own opinions. Lesion numbers begin anew in each episode and on each
side. `Width` and `Height` of a mark disagree with its corners. Each exposure may be there twice,
for presentation and for processing: one sample is made of the two.

`listing` finds the files, `images` reads JSON and headers, `episodes` judges, `lesions` reads
marks, `words` holds the tables, `films` joins them, `check` compares a copy with the release.
"""

from __future__ import annotations

from etl.sources.omi_db.check import verify
from etl.sources.omi_db.films import files_to_index, plan, resolve
from etl.sources.omi_db.release import RELEASE
from etl.sources.omi_db.words import WORDS

__all__ = ["RELEASE", "WORDS", "files_to_index", "plan", "resolve", "verify"]
