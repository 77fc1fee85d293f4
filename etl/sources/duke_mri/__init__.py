"""Duke Breast Cancer MRI: dynamic contrast-enhanced MRI of 922 women with invasive breast cancer.

Facts and their sources
-----------------------
- One examination each, both breasts in one axial volume, 2000 to 2014; one series before contrast
  and two to four after it (480 patients have pre and three, 433 pre and four, 9 pre and two), and
  one T1 series without fat saturation: the collection's 6,058 series in the Imaging Data Commons'
  index v25. CC BY-NC 4.0, doi 10.7937/TCIA.e3sv-re93.
- All patients have biopsy-confirmed invasive cancer (Saha et al. 2018). Annotation_Boxes.xlsx has
  one box a patient, the largest lesion. So the breast with the box is malignant by biopsy, and the
  other one is unknown, always: bilateral cancer is not collected for 271 patients, and involvement
  of the other breast is told of 152. It is never called normal.
- Each breast gives two samples, first post-contrast phase minus pre: `sub1_mip`, the largest
  difference along all slices, and `sub1_slice`, the slice of the box's centre, the same one for
  both breasts. A network cannot tell the label by how the sample was made.
- Rows, columns and slices of the box count from 1 and include both ends ("Indices start at 1" in
  the release's tutorial); public code differs by one pixel.

Traps
-----
- The clinical table has three title lines, two more sheets and titles that repeat; NP, NC and NA
  are three different nothings. A copy of 55 columns is refused; boxes come with every row 12 times.
- GE's pixels are signed, and its images are turned by 180 degrees against Siemens'. The side of a
  box follows from the orientation, not from the column, and disagrees with the recorded side in
  four patients (050, 088, 546, 558).
- InstanceNumber runs from head to foot in part of the patients: boxes follow it, not the position.
- `ax t1 pre` is the T1 series, `t1_fl3d_tra_dynVIEWS_spair` is dynamic. Five series of one patient
  are all called `ax dyn` (120). One patient has no first pass (700). post_3 and post_4 are missing
  for many.
- Names lose the `/` of `Ph1/ax 3d dyn`; `1-NN.dcm` has two or three digits; SEG series lie among
  the MR.
"""

from etl.sources.duke_mri.check import verify
from etl.sources.duke_mri.films import RELEASE, files_to_index, plan, resolve
from etl.sources.duke_mri.words import WORDS

__all__ = ["RELEASE", "WORDS", "files_to_index", "plan", "resolve", "verify"]
