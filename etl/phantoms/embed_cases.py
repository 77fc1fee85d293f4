"""Who is in a phantom EMBED release: exams, findings and images, the first eight with the traps."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from etl.phantoms.scene import draw_pathology
from etl.phantoms.texture import generator

__all__ = ["KEY", "ExamCase", "FindingCase", "ImageCase", "plan_patient"]

KEY = "embed"
SCREENING = "MG Screening Bilateral w/CAD"
STANDARD = [("L", "CC"), ("L", "MLO"), ("R", "CC"), ("R", "MLO")]


@dataclass(frozen=True, kw_only=True)
class FindingCase:
    """One row of the clinical table.

    Attributes
    ----------
    side, bside
        As the table writes them; empty, L, R or B.
    pathology
        What is drawn, where `drawn`; `severity` is what the row says of the specimen.
    wait
        Days from exam to specimen.
    true_asses
        What the row counts as, where that is not `asses`.
    """

    side: str
    asses: str
    drawn: bool = False
    pathology: str = "benign"
    severity: str = ""
    bside: str = ""
    wait: int = 16
    true_asses: str = ""
    implant: str = ""


@dataclass(frozen=True, kw_only=True)
class ImageCase:
    """One image.

    Attributes
    ----------
    boxed
        The table has a box around each lesion of the image.
    chest
        `left` or `right`, where the chest wall lies in the file; empty: as the side hangs.
    tagged
        The file has PatientOrientation.
    box
        `mirrored`: against the release's rule; `black`: beside the breast either way.
    """

    side: str
    view: str
    kind: str = "2D"
    boxed: bool = False
    chest: str = ""
    tagged: bool = True
    box: str = ""
    spot_mag: str = ""
    description: str = ""
    repeat_of: int = 0
    later: bool = False
    traps: tuple[str, ...] = ()

    @property
    def chest_left(self) -> bool:
        """The chest wall lies at the left of the stored pixels."""
        return self.chest == "left" if self.chest else self.side == "L"


@dataclass(frozen=True, kw_only=True)
class ExamCase:
    """One exam: its rows and images; `listed` is whether the clinical table has it."""

    desc: str = SCREENING
    findings: tuple[FindingCase, ...] = ()
    images: tuple[ImageCase, ...] = ()
    vendor: str = "HOLOGIC, Inc."
    implants: bool = False
    male: bool = False
    listed: bool = True


@dataclass
class _Draw:
    seed: int
    index: int
    count: int = field(default=0)

    def biopsied(self, side: str, asses: str = "A", **options: str) -> FindingCase:
        """Return a drawn finding whose specimen agrees with what is drawn."""
        self.count += 1
        rng = generator(self.seed, KEY, self.index, "pathology", self.count)
        pathology = draw_pathology(rng)
        severity = str(rng.integers(0, 2) if pathology == "malignant" else rng.integers(4, 6))
        return FindingCase(
            side=side,
            asses=asses,
            drawn=True,
            pathology=pathology,
            severity=severity,
            bside=options.pop("bside", side),
            **options,  # type: ignore[arg-type]
        )


def _views(boxed: str = "") -> tuple[ImageCase, ...]:
    return tuple(ImageCase(side=side, view=view, boxed=side == boxed) for side, view in STANDARD)


def _negative() -> FindingCase:
    return FindingCase(side="", asses="N")


def plan_patient(index: int, seed: int, *, traps: bool, damage: bool) -> list[ExamCase]:
    """Return a patient's exams; those of index 0 to 7 carry the traps."""
    draw = _Draw(seed, index)
    if not traps or index >= len(_TRAPS):
        rng = generator(seed, KEY, index, "exam")
        side = "L" if rng.uniform() < 0.5 else "R"
        if rng.uniform() < 0.3:
            return [ExamCase(findings=(_negative(),), images=_views())]
        return [ExamCase(findings=(draw.biopsied(side),), images=_views(side))]
    exams = _TRAPS[index](draw)
    return exams if damage else [_undamaged(exam) for exam in exams]


def _undamaged(exam: ExamCase) -> ExamCase:
    broken = {"absent", "truncated", "no_row", "screen_save"}
    return replace(exam, images=tuple(x for x in exam.images if not broken & set(x.traps)))


def _one_side(draw: _Draw) -> list[ExamCase]:
    """Return a one-sided recall: the other breast is normal by implication."""
    return [ExamCase(findings=(draw.biopsied("L"),), images=_views("L"))]


def _c_views(draw: _Draw) -> list[ExamCase]:
    """Return mirrored boxes, copied to the C-view of one view."""
    copy = ImageCase(side="R", view="CC", kind="cview", boxed=True, traps=("c_view",))
    plain = ImageCase(side="L", view="MLO", kind="cview", traps=("c_view",))
    return [ExamCase(findings=(draw.biopsied("R"),), images=(*_views("R"), copy, plain))]


def _repeated(draw: _Draw) -> list[ExamCase]:
    """Return a row without side, a repeated view and, a year later, an exam without row."""
    again = ImageCase(side="L", view="CC", later=True, traps=("repeat",))
    first, *others = _views()
    first = replace(first, traps=("repeated",))
    later = ExamCase(images=(ImageCase(side="R", view="CC", traps=("no_finding_row",)),))
    return [
        ExamCase(findings=(_negative(),), images=(first, *others, again)),
        replace(later, listed=False),
    ]


def _two_boxes(draw: _Draw) -> list[ExamCase]:
    """Return a one-sided work-up: two findings, two boxes, a spot view, a high-risk specimen."""
    first = FindingCase(side="R", asses="S", drawn=True, severity="2", bside="R")
    second = FindingCase(side="R", asses="B", drawn=True)
    images = (
        ImageCase(side="R", view="CC", boxed=True, traps=("two_boxes",)),
        ImageCase(side="R", view="MLO", spot_mag="1.0", description="R MLO spot", traps=("spot",)),
        ImageCase(side="L", view="CC", traps=("not_examined",)),
    )
    return [
        ExamCase(desc="MG Diagnostic Right w/CAD", findings=(first, second), images=images),
    ]


def _implants(draw: _Draw) -> list[ExamCase]:
    """Return implants, a finding in both breasts, and a spot view that GE does not mark."""
    both = FindingCase(side="B", asses="B", implant="1")
    spot = ImageCase(side="L", view="ML", description="L ML MAG", traps=("spot",))
    moved = ImageCase(side="R", view="CCID", traps=("implant_displaced",))
    return [
        ExamCase(
            findings=(both,),
            images=(*_views(), spot, moved),
            vendor="GE MEDICAL SYSTEMS",
            implants=True,
        )
    ]


def _tagless(draw: _Draw) -> list[ExamCase]:
    """Return films without PatientOrientation, and an addended exam."""
    left = draw.biopsied("L")
    right = draw.biopsied("R", asses="N", true_asses="A")
    images = tuple(
        ImageCase(side=side, view=view, boxed=view == "CC", tagged=False, traps=("tagless",))
        for side, view in STANDARD
    )
    return [ExamCase(findings=(left, right), images=images)]


def _turned(draw: _Draw) -> list[ExamCase]:
    """Return files that hang the other way, boxes against the rule, and one beside the breast."""
    findings = (draw.biopsied("L"), draw.biopsied("R"))
    images = (
        ImageCase(side="L", view="CC", boxed=True, chest="right", traps=("flipped",)),
        ImageCase(side="L", view="MLO", boxed=True, box="black", traps=("suspect",)),
        ImageCase(side="R", view="CC", boxed=True, chest="left", traps=("unflipped",)),
        ImageCase(side="R", view="MLO", boxed=True, box="mirrored", traps=("mirrored",)),
        ImageCase(side="R", view="XCCL", boxed=True, traps=("other_view",)),
    )
    return [ExamCase(findings=findings, images=images)]


def _damaged(draw: _Draw) -> list[ExamCase]:
    """Return a man without assessment, a cancer of a later year, and files that are not right."""
    man = ExamCase(
        desc="MG Diagnostic Left w/CAD",
        findings=(FindingCase(side="L", asses="X"),),
        images=(
            ImageCase(side="L", view="CC", traps=("male",)),
            ImageCase(side="L", view="MLO", traps=("truncated",)),
        ),
        male=True,
    )
    cancer = FindingCase(side="R", asses="N", severity="0", bside="R", wait=500)
    later = ExamCase(
        findings=(cancer,),
        images=(
            ImageCase(side="R", view="CC", traps=("later_cancer",)),
            ImageCase(side="R", view="MLO", traps=("absent",)),
            ImageCase(side="L", view="CC", traps=("no_row",)),
            ImageCase(side="R", view="ML", kind="ROI_SS", traps=("screen_save",)),
        ),
        male=True,
    )
    return [man, later]


_TRAPS = (
    _one_side,
    _c_views,
    _repeated,
    _two_boxes,
    _implants,
    _tagless,
    _turned,
    _damaged,
)
