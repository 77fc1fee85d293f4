"""CDD-CESM: 2,006 contrast-enhanced mammograms of 326 women, outlined by hand, CC BY 4.0.

Facts and their sources
-----------------------
- Each exposure gives a low-energy image (`DM`, looks like a digital mammogram) and a subtracted
  one (`CM`, a mid-grey picture in which contrast agent is bright): Khaled et al., Sci Data 9:122
  (2022). They are two modalities here, CESM_LE and CESM_SUB, paired by patient, side and view.
- Sheet `all` of Radiology-manual-annotations.xlsx: one row an image with label, BI-RADS, density,
  findings. Every count in this package was taken from it.
- Radiology_hand_drawn_segmentations_v2.csv: 2,971 regions on 1,233 images in pixels of the JPEG,
  integer clicks, so half a pixel is added (VGG Image Annotator). No region has a class: the
  image's holds for it.
- The label is `Pathology Classification/ Follow up` and does not say which of the two, hence the
  basis `biopsy_or_follow_up`. It is said **of an image**: 83 pairs differ, mostly benign lesions
  that take up no contrast.
- 8-bit JPEG without spacing, window or device. `Machine` is 1 or 2; which number is the GE and
  which the Hologic unit that the paper names is not published, so manufacturer stays null.

Traps
-----
Five names have a blank before `.jpg` on disk and in the workbook, none in the csv; four rows are
there twice; `Type` says CESM where names say CM; BI-RADS is a number or a text such as `5$2`;
`_` means nothing, and 81 low-energy images have no density; BI-RADS 1 with a
malignant label and 6 with a normal one; outlines beyond the border, as open lines and as points;
regions on normal images and lesions without region; low-energy and subtracted image of a view
differ in size and position; copies sorted into class folders.

`words` holds the vocabulary, `tables` reads workbook and csv, `films` joins them with the files,
`check` compares a copy with the specification.
"""

from __future__ import annotations

from etl.sources.cdd_cesm.check import verify
from etl.sources.cdd_cesm.films import RELEASE, files_to_index, plan, resolve
from etl.sources.cdd_cesm.words import WORDS

__all__ = ["RELEASE", "WORDS", "files_to_index", "plan", "resolve", "verify"]
