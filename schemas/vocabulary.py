"""The closed word lists of the corpus. A word that is not here cannot reach a manifest.

Every enumeration is a `StrEnum`: members compare equal to their text, so pandas users never meet
the classes. Each source maps its own words to these in tables beside their citation.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "Annotation",
    "AnnotationKind",
    "Birads",
    "CalcDistribution",
    "CalcType",
    "Density",
    "ExamKind",
    "Finding",
    "FrameKind",
    "GeometryFrame",
    "GeometryKind",
    "Intent",
    "LabelBasis",
    "LabelScope",
    "Laterality",
    "LesionFlag",
    "Margin",
    "MassShape",
    "Modality",
    "Orientation",
    "Pathology",
    "QualityFlag",
    "SpacingSource",
    "Split",
    "SplitOrigin",
    "View",
    "WindowKind",
    "birads_label",
    "birads_rank",
    "by_birads",
    "worst",
]


class Modality(StrEnum):
    """How the picture was made."""

    FFDM = "FFDM"
    """Full-field digital mammogram."""
    SFM = "SFM"
    """Screen-film mammogram, digitised."""
    DBT = "DBT"
    """Slice or slab of a digital breast tomosynthesis volume."""
    S2D = "S2D"
    """Two-dimensional image synthesised from tomosynthesis."""
    CESM_LE = "CESM_LE"
    """Low-energy image of a contrast-enhanced mammogram."""
    CESM_SUB = "CESM_SUB"
    """Subtracted (recombined) image of a contrast-enhanced mammogram."""
    MRI = "MRI"
    """Dynamic contrast-enhanced magnetic resonance image of one breast."""


class View(StrEnum):
    """Projection; DICOM CID 4014 view codes in their usual abbreviations."""

    CC = "CC"
    MLO = "MLO"
    ML = "ML"
    LM = "LM"
    LMO = "LMO"
    XCCL = "XCCL"
    XCCM = "XCCM"
    XCC = "XCC"
    FB = "FB"
    SIO = "SIO"
    ISO = "ISO"
    CV = "CV"
    AT = "AT"
    SPECIMEN = "SPECIMEN"


class Laterality(StrEnum):
    """The patient's side."""

    L = "L"
    R = "R"


class Pathology(StrEnum):
    """What the release says the breast or lesion is. Unlabelled is `unknown`, never `normal`."""

    NORMAL = "normal"
    BENIGN = "benign"
    MALIGNANT = "malignant"
    UNKNOWN = "unknown"


_PATHOLOGY_RANK = {
    Pathology.UNKNOWN: 0,
    Pathology.NORMAL: 1,
    Pathology.BENIGN: 2,
    Pathology.MALIGNANT: 3,
}


def worst(*pathologies: Pathology) -> Pathology:
    """Return the gravest of the words: malignant > benign > normal > unknown.

    >>> worst(Pathology.BENIGN, Pathology.MALIGNANT).value
    'malignant'
    """
    return max(pathologies, key=_PATHOLOGY_RANK.__getitem__, default=Pathology.UNKNOWN)


class LabelBasis(StrEnum):
    """On what the pathology rests."""

    BIOPSY = "biopsy"
    """Histology or surgery."""
    BIOPSY_OR_IMAGING = "biopsy_or_imaging"
    """Mostly histology, sometimes further imaging (CBIS-DDSM BENIGN)."""
    BIOPSY_OR_FOLLOW_UP = "biopsy_or_follow_up"
    """Histology or an uneventful follow-up; the release does not say which."""
    FOLLOW_UP = "follow_up"
    """No cancer at a later examination."""
    ASSESSMENT = "assessment"
    """Result of an assessment clinic without biopsy."""
    SCREENING_OUTCOME = "screening_outcome"
    """The screening round's outcome."""
    BIRADS = "birads"
    """A radiologist's BI-RADS category, by the one rule for all sources."""
    READER = "reader"
    """A radiologist's opinion without category."""
    IMPLIED = "implied"
    """Nothing was said about this breast, and the other one was worked up."""
    UNKNOWN = "unknown"
    """No basis is known."""


class LabelScope(StrEnum):
    """What the pathology is said of."""

    LESION = "lesion"
    IMAGE = "image"
    BREAST = "breast"
    EXAM = "exam"
    PATIENT = "patient"


class Birads(StrEnum):
    """BI-RADS assessment category (ACR BI-RADS Atlas, 5th edition)."""

    B0 = "0"
    B1 = "1"
    B2 = "2"
    B3 = "3"
    B4 = "4"
    B4A = "4A"
    B4B = "4B"
    B4C = "4C"
    B5 = "5"
    B6 = "6"


_BIRADS_RANK = {
    Birads.B0: 0.0,
    Birads.B1: 1.0,
    Birads.B2: 2.0,
    Birads.B3: 3.0,
    Birads.B4: 4.0,
    Birads.B4A: 4.2,
    Birads.B4B: 4.4,
    Birads.B4C: 4.6,
    Birads.B5: 5.0,
    Birads.B6: 6.0,
}


def birads_rank(category: Birads | None) -> float | None:
    """Return a number that sorts as the categories do (4 < 4A < 4B < 4C < 5), or None."""
    return None if category is None else _BIRADS_RANK[category]


_BY_BIRADS = {
    Birads.B1: Pathology.NORMAL,
    Birads.B2: Pathology.BENIGN,
    Birads.B3: Pathology.BENIGN,
    Birads.B5: Pathology.MALIGNANT,
    Birads.B6: Pathology.MALIGNANT,
}


def by_birads(category: Birads | None) -> tuple[Pathology, LabelBasis]:
    """Return what a category says where no biopsy is reported: the one rule for all sources.

    1 is normal, 2 and 3 benign, 5 malignant, 0 and 4 unknown; 6 is malignant on the basis of a
    biopsy, because that is its definition.

    >>> by_birads(Birads.B4A)
    (<Pathology.UNKNOWN: 'unknown'>, <LabelBasis.BIRADS: 'birads'>)
    """
    if category is None:
        return Pathology.UNKNOWN, LabelBasis.UNKNOWN
    basis = LabelBasis.BIOPSY if category is Birads.B6 else LabelBasis.BIRADS
    return _BY_BIRADS.get(category, Pathology.UNKNOWN), basis


_BIRADS_LABELS = {
    Birads.B0: (Pathology.UNKNOWN, LabelBasis.UNKNOWN),
    Birads.B1: (Pathology.NORMAL, LabelBasis.BIRADS),
    Birads.B2: (Pathology.BENIGN, LabelBasis.BIRADS),
    Birads.B3: (Pathology.BENIGN, LabelBasis.BIRADS),
    Birads.B4: (Pathology.UNKNOWN, LabelBasis.BIRADS),
    Birads.B4A: (Pathology.UNKNOWN, LabelBasis.BIRADS),
    Birads.B4B: (Pathology.UNKNOWN, LabelBasis.BIRADS),
    Birads.B4C: (Pathology.UNKNOWN, LabelBasis.BIRADS),
    Birads.B5: (Pathology.MALIGNANT, LabelBasis.BIRADS),
    Birads.B6: (Pathology.MALIGNANT, LabelBasis.BIOPSY),
}


def birads_label(category: Birads | None) -> tuple[Pathology, LabelBasis]:
    """Return what a BI-RADS category without biopsy says, by one rule for all sources.

    1 is normal, 2 and 3 are benign, 4 (A to C) is unknown, 5 is malignant; 6 is a cancer that a
    biopsy has proven (ACR BI-RADS Atlas, 5th edition). 0 and none say nothing.

    >>> [str(word) for word in birads_label(Birads.B6)]
    ['malignant', 'biopsy']
    """
    if category is None:
        return Pathology.UNKNOWN, LabelBasis.UNKNOWN
    return _BIRADS_LABELS[category]


class Density(StrEnum):
    """Breast composition in the letters of BI-RADS; `density_scale` says whose scale it was."""

    A = "A"
    B = "B"
    C = "C"
    D = "D"


class Finding(StrEnum):
    """Kind of a radiological finding."""

    MASS = "mass"
    CALCIFICATION = "calcification"
    ARCHITECTURAL_DISTORTION = "architectural_distortion"
    ASYMMETRY = "asymmetry"
    FOCAL_ASYMMETRY = "focal_asymmetry"
    LYMPH_NODE = "lymph_node"
    GLOBAL_ASYMMETRY = "global_asymmetry"
    DEVELOPING_ASYMMETRY = "developing_asymmetry"
    CYST = "cyst"
    DUCT = "duct"
    """Solitary dilated or tubular duct."""
    SKIN = "skin"
    ENHANCEMENT = "enhancement"
    """Enhancing mass on a contrast image."""
    NON_MASS_ENHANCEMENT = "non_mass_enhancement"
    POSTOPERATIVE = "postoperative"
    """Scar, flap, clips or seroma after surgery."""
    OTHER = "other"
    UNKNOWN = "unknown"


class MassShape(StrEnum):
    """Shape of a mass (BI-RADS, with the older words of DDSM)."""

    ROUND = "round"
    OVAL = "oval"
    LOBULATED = "lobulated"
    IRREGULAR = "irregular"
    ARCHITECTURAL_DISTORTION = "architectural_distortion"
    ASYMMETRIC_BREAST_TISSUE = "asymmetric_breast_tissue"
    FOCAL_ASYMMETRIC_DENSITY = "focal_asymmetric_density"
    LYMPH_NODE = "lymph_node"


class Margin(StrEnum):
    """Margin of a mass (BI-RADS)."""

    CIRCUMSCRIBED = "circumscribed"
    MICROLOBULATED = "microlobulated"
    OBSCURED = "obscured"
    ILL_DEFINED = "ill_defined"
    IRREGULAR = "irregular"
    """Not circumscribed, neither spiculated (margins on MRI and contrast mammograms)."""
    SPICULATED = "spiculated"


class CalcType(StrEnum):
    """Morphology of calcifications (BI-RADS, with the older words of DDSM)."""

    AMORPHOUS = "amorphous"
    BENIGN = "benign"
    """Typically benign, not said which."""
    COARSE = "coarse"
    COARSE_HETEROGENEOUS = "coarse_heterogeneous"
    DYSTROPHIC = "dystrophic"
    EGGSHELL = "eggshell"
    """Eggshell or rim."""
    FAT_NECROSIS = "fat_necrosis"
    FINE_LINEAR = "fine_linear"
    FINE_LINEAR_BRANCHING = "fine_linear_branching"
    FINE_PLEOMORPHIC = "fine_pleomorphic"
    LARGE_RODLIKE = "large_rodlike"
    LUCENT_CENTERED = "lucent_centered"
    MILK_OF_CALCIUM = "milk_of_calcium"
    OIL_CYST = "oil_cyst"
    PLEOMORPHIC = "pleomorphic"
    POPCORN = "popcorn"
    PUNCTATE = "punctate"
    ROUND = "round"
    ROUND_AND_REGULAR = "round_and_regular"
    SKIN = "skin"
    SUTURE = "suture"
    SUSPICIOUS = "suspicious"
    """Suspicious, not said which (OMI-DB)."""
    VASCULAR = "vascular"


class CalcDistribution(StrEnum):
    """Distribution of calcifications (BI-RADS)."""

    CLUSTERED = "clustered"
    DIFFUSELY_SCATTERED = "diffusely_scattered"
    LINEAR = "linear"
    REGIONAL = "regional"
    SEGMENTAL = "segmental"


class Annotation(StrEnum):
    """Whether everything that the release calls a lesion is drawn on this image."""

    COMPLETE = "complete"
    """Yes; a normal film is complete with nothing drawn."""
    PARTIAL = "partial"
    """Some lesions are drawn, at least one is not."""
    NONE = "none"
    """Nothing is drawn, and lesions may be there."""


class AnnotationKind(StrEnum):
    """How closely lesions are drawn; the coarsest of the image's lesions."""

    OUTLINE = "outline"
    COARSE_OUTLINE = "coarse_outline"
    CIRCLE = "circle"
    BOX = "box"
    POINT = "point"


class GeometryKind(StrEnum):
    """The release's own way to mark one lesion."""

    MASK = "mask"
    POLYGON = "polygon"
    POLYLINE = "polyline"
    ELLIPSE = "ellipse"
    CIRCLE = "circle"
    BOX = "box"
    POINT = "point"


class GeometryFrame(StrEnum):
    """In which picture a film's coordinates are given; `settle_frame` turns them into native."""

    NATIVE = "native"
    """Stored pixels of the image file, origin at the top-left corner of the top-left pixel."""
    DBT_UPRIGHT = "dbt_upright"
    """The volume turned by 180 degrees where its breast lies on the wrong side (BCS-DBT)."""
    EMBED_PNG = "embed_png"
    """EMBED's PNG copy, mirrored left to right for some views."""


class FrameKind(StrEnum):
    """What part of the file a sample is."""

    IMAGE = "image"
    SLICE = "slice"
    MIP = "mip"
    """Largest values along the slices."""
    SLAB = "slab"
    """Mean of all slices of a volume."""


class ExamKind(StrEnum):
    """Why the examination was made."""

    SCREENING = "screening"
    DIAGNOSTIC = "diagnostic"


class Intent(StrEnum):
    """Presentation Intent Type (0008,0068)."""

    PRESENTATION = "presentation"
    PROCESSING = "processing"


class SpacingSource(StrEnum):
    """Where the pixel spacing came from. It is never invented."""

    HEADER = "header"
    DOCUMENTED = "documented"
    ABSENT = "absent"


class Orientation(StrEnum):
    """What was done to the stored pixels so that the breast lies on the left edge."""

    IDENTITY = "identity"
    HFLIP = "hflip"
    VFLIP = "vflip"
    ROT180 = "rot180"


class WindowKind(StrEnum):
    """Which grey levels were stretched to 16 bits."""

    DEVICE = "device"
    """The file's own VOI transformation."""
    TISSUE = "tissue"
    """0.1-99.9 % of the grey levels inside the tissue."""
    NONE = "none"
    """Stored values as they are (already windowed, or asked for)."""


class Split(StrEnum):
    """Side of a patient."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


class SplitOrigin(StrEnum):
    """Who decided the side."""

    OFFICIAL = "official"
    HASH = "hash"


class QualityFlag(StrEnum):
    """Things to know about a sample; none of them removes it."""

    LABEL_CONFLICT = "label_conflict"
    """The release contradicts itself about this image's label."""
    DENSITY_CONFLICT = "density_conflict"
    """The release gives this patient two densities."""
    LATERALITY_CONFLICT = "laterality_conflict"
    """Table or file name and the picture disagree about the side."""
    OFFICIAL_SPLIT_CONFLICT = "official_split_conflict"
    """The patient is in more than one official split; the strictest was taken."""
    TWIN_FILM = "twin_film"
    """The same film exists under another id (shared pair_key)."""
    GEOMETRY_SUSPECT = "geometry_suspect"
    """At least one lesion lies where it cannot be; it is 255 in the mask."""
    GEOMETRY_CLIPPED = "geometry_clipped"
    """At least one lesion reaches beyond the image and was cut at its border."""
    GEOMETRY_DROPPED = "geometry_dropped"
    """A lesion's mask does not fit its film and was not used."""
    MASK_MISSING = "mask_missing"
    """A lesion's mask file is not in this copy."""
    MASK_EMPTY = "mask_empty"
    """A lesion's mask file marks no pixel."""
    MASK_RESIZED = "mask_resized"
    """A lesion's mask had another size of the same shape."""
    MASK_PADDED = "mask_padded"
    """A lesion's mask was a few pixels larger or smaller than its film."""
    ROLES_SWAPPED = "roles_swapped"
    """The files that the table calls mask and crop were told apart by content, the other way."""
    BREAST_UNSURE = "breast_unsure"
    """The tissue could not be told from the background; what touches the chest wall was kept."""
    LOSSY = "lossy"
    """Pixels went through a lossy code or a grey-level conversion before they reached us."""
    BITS_MISMATCH = "bits_mismatch"
    """Decoded values exceed BitsStored; the code stream was trusted."""
    EDITED_PIXELS = "edited_pixels"
    """The file says that an image editor saved it."""
    PROCESSING_ONLY = "processing_only"
    """Only the raw (for processing) image exists."""
    SPOT = "spot"
    """Spot compression or magnification view."""
    GEOMETRY_MIRRORED = "geometry_mirrored"
    """The lesions fit the breast only when mirrored against the release's rule."""
    UNLINKED_GEOMETRY = "unlinked_geometry"
    """A region is drawn that belongs to no finding of the release."""
    SLICE_ORDER_CONFLICT = "slice_order_conflict"
    """File names and InstanceNumber count the slices differently; InstanceNumber was used."""
    POSTOPERATIVE = "postoperative"
    """The breast shows the results of surgery."""
    PRIOR = "prior"
    """A later examination found cancer; this one counts neither as normal nor as malignant."""
    HIGH_RISK = "high_risk"
    """Histology is a high-risk or borderline lesion, counted as benign."""
    MALE = "male"
    """The patient is a man."""
    REPEAT = "repeat"
    """A later image of the same exam, side, view and kind exists."""
    AUDIT_DUPLICATE = "audit:duplicate"
    """The audit found this image under another id."""
    AUDIT_LEAK = "audit:leak"
    """The audit found this image on another side of the split."""


class LesionFlag(StrEnum):
    """Things to know about one lesion."""

    HIGH_RISK = "high_risk"
    UNLINKED = "unlinked"
    """A finding without geometry, or a geometry without finding."""
    SUSPECT = "suspect"
    """The geometry lies where it cannot be; 255 in the mask."""
    CLIPPED = "clipped"
    """The geometry reaches beyond the image."""
    ROUGH = "rough"
    """The release says that place or size is approximate."""
