"""The words of EMBED's two tables and what each becomes; a radiologist can proof-read these.

Citations: README and ROI Reference v1.2 of Emory-HITI/EMBED_Open_Data, its legend
`AWS_Open_Data_Clinical_Legend.csv` (codes of MagView) and its sample notebook.
"""

from __future__ import annotations

from schemas.release import Words
from schemas.vocabulary import (
    Birads,
    CalcDistribution,
    CalcType,
    Density,
    Finding,
    LabelBasis,
    Laterality,
    Margin,
    MassShape,
    Modality,
    Pathology,
    View,
    by_birads,
)

__all__ = [
    "ASSESSMENTS",
    "CALC_DISTRIBUTIONS",
    "CALC_TYPES",
    "DENSITIES",
    "IMAGE_TYPES",
    "LATERALITIES",
    "MARGINS",
    "NUS_SEVERITIES",
    "SEVERITIES",
    "SHAPES",
    "SHAPE_FINDINGS",
    "SIDES",
    "VIEWS",
    "VIEW_MEANINGS",
    "WORDS",
    "WORST_FIRST",
]

_README = "README of Emory-HITI/EMBED_Open_Data"
_LEGEND = "AWS_Open_Data_Clinical_Legend.csv of Emory-HITI/EMBED_Open_Data"
_NOTEBOOK = "sample notebook of Emory-HITI/EMBED_Open_Data"

ASSESSMENTS: dict[str, Birads | None] = {
    "A": Birads.B0,
    "N": Birads.B1,
    "B": Birads.B2,
    "P": Birads.B3,
    "S": Birads.B4,
    "M": Birads.B5,
    "K": Birads.B6,
    "X": None,
}
"""`asses`: letters of MagView, not alphabetical; X is "no assessment"."""

WORST_FIRST = "KMSAPBN"
"""Of several assessments of a breast the first counts: screening A > B > N, diagnostic
K > M > S > P > B > N (sample notebook); a suspicion goes before "more pictures needed"."""

SEVERITIES: dict[str, tuple[Pathology, LabelBasis]] = {
    "0": (Pathology.MALIGNANT, LabelBasis.BIOPSY),
    "1": (Pathology.MALIGNANT, LabelBasis.BIOPSY),
    "2": (Pathology.BENIGN, LabelBasis.BIOPSY),
    "3": (Pathology.BENIGN, LabelBasis.BIOPSY),
    "4": (Pathology.BENIGN, LabelBasis.BIOPSY),
    "5": (Pathology.BENIGN, LabelBasis.BIOPSY),
    "6": (Pathology.UNKNOWN, LabelBasis.UNKNOWN),
}
"""`path_severity`, worst first: 0 invasive, 1 in situ, 2 high-risk, 3 borderline, 4 benign,
5 negative, 6 cancer of another organ."""

NUS_SEVERITIES: dict[str, tuple[Pathology, LabelBasis]] = {
    **SEVERITIES,
    "5": (Pathology.UNKNOWN, LabelBasis.UNKNOWN),
}
"""`path_severity` of the NUS datathon's tables, whose notebook lists 5 as non-breast cancer."""

DENSITIES: dict[str, Density | None] = {
    "1": Density.A,
    "2": Density.B,
    "3": Density.C,
    "4": Density.D,
    "5": None,
}
"""`tissueden`, one value an exam; 5 is the normal male breast."""

SIDES: dict[str, tuple[Laterality, ...]] = {
    "L": (Laterality.L,),
    "R": (Laterality.R,),
    "B": (Laterality.L, Laterality.R),
}
"""`side` of a finding and `bside` of a specimen; an empty `side` means both breasts."""

LATERALITIES: dict[str, Laterality] = {"L": Laterality.L, "R": Laterality.R}
"""`ImageLateralityFinal`."""

IMAGE_TYPES: dict[str, Modality] = {
    "2d": Modality.FFDM,
    "cview": Modality.S2D,
    "c-view": Modality.S2D,
}
"""`FinalImageType` in small letters; the table writes cview, the README C-view."""

VIEWS: dict[str, View | None] = {
    "CC": View.CC,
    "MLO": View.MLO,
    "ML": View.ML,
    "LM": View.LM,
    "LMO": View.LMO,
    "XCCL": View.XCCL,
    "XCCM": View.XCCM,
    "XCC": View.XCC,
    "FB": View.FB,
    "SIO": View.SIO,
    "ISO": View.ISO,
    "CV": View.CV,
    "AT": View.AT,
    "CCID": View.CC,
    "MLOID": View.MLO,
    "MLID": View.ML,
    "LMID": View.LM,
    "RL": None,
    "RM": None,
    "TAN": None,
    "RI": None,
    "SPECIMEN": View.SPECIMEN,
}
"""`ViewPosition`, exactly; ID is "implant displaced"; of rolled and tangential pictures the
projection is not said."""

VIEW_MEANINGS: dict[str, View] = {
    "cranio-caudal": View.CC,
    "medio-lateral oblique": View.MLO,
    "medio-lateral": View.ML,
    "latero-medial": View.LM,
    "latero-medial oblique": View.LMO,
    "cranio-caudal exaggerated laterally": View.XCCL,
    "cranio-caudal exaggerated medially": View.XCCM,
    "cranio-caudal exaggerated": View.XCC,
    "caudo-cranial (from below)": View.FB,
    "superolateral to inferomedial oblique": View.SIO,
    "inferomedial to superolateral oblique": View.ISO,
}
"""`0_ViewCodeSequence_CodeMeaning` (DICOM PS3.16 CID 4014), where `ViewPosition` is empty."""

SHAPE_FINDINGS: dict[str, Finding] = {
    "G": Finding.MASS,
    "R": Finding.MASS,
    "O": Finding.MASS,
    "X": Finding.MASS,
    "D": Finding.MASS,
    "L": Finding.MASS,
    "Q": Finding.ARCHITECTURAL_DISTORTION,
    "A": Finding.ARCHITECTURAL_DISTORTION,
    "T": Finding.DUCT,
    "N": Finding.LYMPH_NODE,
    "Y": Finding.LYMPH_NODE,
    "B": Finding.GLOBAL_ASYMMETRY,
    "F": Finding.FOCAL_ASYMMETRY,
    "S": Finding.ASYMMETRY,
    "V": Finding.DEVELOPING_ASYMMETRY,
}
"""`massshape` as a kind of finding; D and L are in no legend, the notebook counts them as mass."""

SHAPES: dict[str, tuple[MassShape, ...]] = {
    **dict.fromkeys(SHAPE_FINDINGS, ()),
    "R": (MassShape.ROUND,),
    "O": (MassShape.OVAL,),
    "X": (MassShape.IRREGULAR,),
}
"""`massshape` as a shape."""

MARGINS: dict[str, Margin] = {
    "D": Margin.CIRCUMSCRIBED,
    "U": Margin.OBSCURED,
    "M": Margin.MICROLOBULATED,
    "I": Margin.ILL_DEFINED,
    "S": Margin.SPICULATED,
}
"""`massmargin`; I is "indistinct"."""

CALC_TYPES: dict[str, CalcType | None] = {
    "A": CalcType.AMORPHOUS,
    "9": CalcType.BENIGN,
    "H": CalcType.COARSE_HETEROGENEOUS,
    "C": CalcType.POPCORN,
    "D": CalcType.DYSTROPHIC,
    "E": CalcType.EGGSHELL,
    "F": CalcType.FINE_LINEAR,
    "B": CalcType.FINE_LINEAR_BRANCHING,
    "G": None,
    "I": CalcType.FINE_PLEOMORPHIC,
    "L": CalcType.LARGE_RODLIKE,
    "M": CalcType.MILK_OF_CALCIUM,
    "J": CalcType.OIL_CYST,
    "K": CalcType.PLEOMORPHIC,
    "P": CalcType.PUNCTATE,
    "R": CalcType.ROUND,
    "S": CalcType.SKIN,
    "O": CalcType.LUCENT_CENTERED,
    "U": CalcType.SUTURE,
    "V": CalcType.VASCULAR,
    "Q": CalcType.COARSE,
}
"""`calcfind`; G is "generic", E "rim"."""

CALC_DISTRIBUTIONS: dict[str, CalcDistribution] = {
    "G": CalcDistribution.CLUSTERED,
    "C": CalcDistribution.CLUSTERED,
    "S": CalcDistribution.SEGMENTAL,
    "R": CalcDistribution.REGIONAL,
    "D": CalcDistribution.DIFFUSELY_SCATTERED,
    "L": CalcDistribution.LINEAR,
}
"""`calcdistri`; G is "grouped"."""

WORDS = (
    Words(
        column="path_severity",
        becomes="pathology, label_basis",
        words=SEVERITIES,
        cited=_README,
        note=(
            "of the rows whose bside is the breast's; only specimens taken 0 to 365 days after the "
            "exam; 2 and 3 carry the flag high_risk; in the NUS datathon's tables 5 is unknown"
        ),
    ),
    Words(
        column="asses",
        becomes="birads",
        words=ASSESSMENTS,
        cited=_LEGEND,
        note=(
            "the gravest of a breast's rows; a screening N or B with a specimen of the same exam "
            "was addended and counts as A"
        ),
    ),
    Words(
        column="asses",
        becomes="pathology, label_basis",
        words={word: by_birads(category) for word, category in ASSESSMENTS.items()},
        cited=_LEGEND,
        note=(
            "where no specimen counts; the other breast of a bilateral exam whose rows name one "
            "side only is normal, basis implied"
        ),
    ),
    Words(
        column="tissueden",
        becomes="density",
        words=DENSITIES,
        cited=_LEGEND,
        note="5 is the normal male breast: flag male",
    ),
    Words(column="massshape", becomes="finding", words=SHAPE_FINDINGS, cited=_NOTEBOOK),
    Words(column="massshape", becomes="shape", words=SHAPES, cited=_LEGEND),
    Words(column="massmargin", becomes="margin", words=MARGINS, cited=_LEGEND),
    Words(column="calcfind", becomes="calc_type", words=CALC_TYPES, cited=_LEGEND),
    Words(column="calcdistri", becomes="distribution", words=CALC_DISTRIBUTIONS, cited=_LEGEND),
    Words(column="side, bside", becomes="laterality", words=SIDES, cited=_README),
    Words(column="ImageLateralityFinal", becomes="laterality", words=LATERALITIES, cited=_README),
    Words(column="FinalImageType", becomes="modality", words=IMAGE_TYPES, cited=_README),
    Words(column="ViewPosition", becomes="view", words=VIEWS, cited="DICOM PS3.3 C.8.11.7"),
    Words(
        column="0_ViewCodeSequence_CodeMeaning",
        becomes="view",
        words=VIEW_MEANINGS,
        cited="DICOM PS3.16 CID 4014",
        note="where ViewPosition is empty",
    ),
)
