"""A phantom Breast-Cancer-Screening-DBT release: multi-frame volumes and nine csv tables.

Layouts, table titles and traps are those of the collection (Buda et al. 2021; doi
10.7937/E4WT-CD02). Boxes are given in the upright picture; volumes that are stored upside down are
turned only when their file is written. Patient numbers begin at DBT-P90001, which the collection
does not reach.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from etl.phantoms.anatomy import draw_patient
from etl.phantoms.bcs_cases import KEY, StudyCase, ViewCase, lesion_plans, plan_patient
from etl.phantoms.dicom import uid
from etl.phantoms.texture import generator
from etl.phantoms.tomosynthesis import AIR, GAIN, Focus, Volume, draw_volume, write_tomosynthesis
from etl.phantoms.truth import FilmTruth, LesionTruth, Truth, box_of, save_mask
from schemas.errors import UsageError

__all__ = ["LAYOUTS", "draw", "write"]

MOST_PATIENTS = 9_999
PX_PER_MM = 2.5
BRIGHT_GAIN = 2_600
ROOT = "Breast-Cancer-Screening-DBT"
SLAB = "slab"
LAYOUTS = ("descriptive", "classic", "series", "files", "idc", "cloud")
SPLITS = ("train", "validation", "test")
TITLES = {
    "labels": "PatientID,StudyUID,View,Normal,Actionable,Benign,Cancer",
    "boxes": "PatientID,StudyUID,View,Subject,Slice,X,Y,Width,Height,Class,AD,VolumeSlices",
    "file-paths": "PatientID,StudyUID,View,descriptive_path,classic_path",
}
CURRENT = {
    ("labels", "train"): "BCS-DBT-labels-train-v2.csv",
    ("labels", "validation"): "BCS-DBT-labels-validation-PHASE-2-Jan-2024.csv",
    ("labels", "test"): "BCS-DBT-labels-test-PHASE-2.csv",
    ("boxes", "train"): "BCS-DBT-boxes-train-v2.csv",
    ("boxes", "validation"): "BCS-DBT-boxes-validation-v2-PHASE-2-Jan-2024.csv",
    ("boxes", "test"): "BCS-DBT-boxes-test-v2-PHASE-2-Jan-2024.csv",
    ("file-paths", "train"): "BCS-DBT-file-paths-train-v2.csv",
    ("file-paths", "validation"): "BCS-DBT-file-paths-validation-v2.csv",
    ("file-paths", "test"): "BCS-DBT-file-paths-test-v2.csv",
}
LABELS = {
    "Cancer": ("malignant", "biopsy"),
    "Benign": ("benign", "biopsy"),
    "Actionable": ("unknown", "screening_outcome"),
    "Normal": ("normal", "screening_outcome"),
}
QUALITY = {"bright": "bits_mismatch", "repeat": "repeat", "beyond": "geometry_clipped"}


@dataclass(frozen=True)
class _Name:
    """What a volume is called, by tables and by folders."""

    patient: str
    study: str
    view: str
    study_uid: str
    series_uid: str
    number: int
    description: str

    @property
    def key(self) -> str:
        return f"{self.patient}/{self.study}/{self.view}"

    @property
    def file(self) -> str:
        return self.key.replace("/", "_")

    def descriptive(self, between: str = "") -> str:
        study = f"01-01-2000-{self.study}-{self.description}-{self.study_uid[-5:]}"
        series = f"{self.number}.000000-{between}{self.series_uid[-5:]}"
        return f"{ROOT}/{self.patient}/{study}/{series}/1-1.dcm"

    def classic(self) -> str:
        return f"{ROOT}/{self.patient}/{self.study_uid}/{self.series_uid}/1-1.dcm"

    def path(self, layout: str) -> str:
        """Return where the file lies; every other retriever's folders have NA in them."""
        newer = "NA-" if self.number % 2 else ""
        name = _uuid(self.series_uid)
        return {
            "descriptive": f"manifest-1617905855234/{self.descriptive(newer)}",
            "classic": f"manifest-1617905855234/{self.classic()}",
            "series": f"{self.series_uid}/1-1.dcm",
            "files": f"{self.series_uid}.dcm",
            "idc": f"breast_cancer_screening_dbt/{self.patient}/{self.study_uid}/"
            f"MG_{self.series_uid}/{name}.dcm",
            "cloud": f"{_uuid(name)}/{name}.dcm",
        }[layout]


def _uuid(text: str) -> str:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))


@dataclass
class _Release:
    root: Path
    layout: str
    seed: int
    scale: float
    labels: str
    slabs: bool
    tables: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    listed: list[str] = field(default_factory=list)

    def labelled(self, split: str) -> bool:
        return split == "train" or self.labels == "all"

    def row(self, kind: str, split: str, *cells: object) -> None:
        self.tables.setdefault((kind, split), []).append(",".join(str(cell) for cell in cells))


def draw(
    index: int, number: int, study: StudyCase, view: ViewCase, seed: int, scale: float = 1.0
) -> Volume:
    """Draw one volume of the `index`-th patient's study `number`, both counted from 0."""
    path: tuple[int | str, ...] = (KEY, index, number, view.view)
    rng = generator(seed, *path, "size")
    shape = (int(500 * scale), int(scale * rng.uniform(378, 400)))
    count = int(rng.integers(18, 26))
    return draw_volume(
        seed,
        draw_patient(generator(seed, KEY, "patient", index)),
        path,
        shape,
        side=view.view[0].upper(),
        view="CC" if "cc" in view.view else "MLO",
        px_per_mm=PX_PER_MM * scale,
        count=count,
        lesions=lesion_plans(seed, path, study.word, view, count),
        gain=BRIGHT_GAIN if "bright" in view.traps else GAIN,
    )


def write(
    root: Path,
    patients: int = 8,
    seed: int = 0,
    *,
    layout: str = "descriptive",
    labels: str = "all",
    spaced: bool = False,
    scale: float = 1.0,
    traps: bool = True,
    damage: bool | None = None,
    slabs: bool = False,
) -> Truth:
    """Write a release and its truth.

    Parameters
    ----------
    root
        Folder of the release; the truth is written beside it (`etl.phantoms.truth`).
    patients
        1 to 9999. The first patients of a larger release are the same bytes.
    layout
        One of `LAYOUTS`; `cloud` has no name that says anything.
    labels
        `all`, or `train`: downloads before January 2024 lack the others' labels and boxes.
    spaced
        Write table names as the older page served them: a space for the first hyphen.
    scale
        1 draws slices of about 500 x 390 pixels of 0.4 mm.
    traps
        Put the release's known oddities into the first eight patients.
    damage
        Also leave a volume out, cut one short and add one without row; by default with traps.
    slabs
        Record the truth of one slab of each volume too; the files are the same.

    Raises
    ------
    UsageError
        For an unknown layout or an impossible number of patients.
    """
    if layout not in LAYOUTS:
        raise UsageError(f"BCS-DBT has no layout {layout!r}; there are {', '.join(LAYOUTS)}")
    if not 1 <= patients <= MOST_PATIENTS:
        raise UsageError(f"a phantom release holds 1 to {MOST_PATIENTS} patients, not {patients}")
    spoil = traps if damage is None else damage
    release = _Release(root, layout, seed, scale, labels, slabs)
    truth = Truth(KEY, seed, patients)
    root.mkdir(parents=True, exist_ok=True)
    for index in range(patients):
        for number, study in enumerate(plan_patient(index, seed, traps=traps, damage=spoil)):
            for view in study.views:
                truth.films += _write_volume(release, index, number, study, view)
    if spoil:
        truth.films.append(_write_stranger(release))
    _write_tables(release, spaced=spaced)
    truth.save(root)
    return truth


def _name(release: _Release, index: int, number: int, study: StudyCase, view: ViewCase) -> _Name:
    where = (release.seed, KEY, index, number)
    rng = generator(*where, view.view, "series number")
    return _Name(
        patient=f"DBT-P{90_001 + index}",
        study=f"DBT-S{80_001 + 2 * index + number:05d}",
        view=view.view,
        study_uid=uid(*where, "study"),
        series_uid=uid(*where, view.view, "series"),
        number=int(rng.integers(10_000, 99_999)),
        description=study.description,
    )


def _write_volume(
    release: _Release, index: int, number: int, study: StudyCase, view: ViewCase
) -> list[FilmTruth]:
    name = _name(release, index, number, study, view)
    volume = draw(index, number, study, view, release.seed, release.scale)
    path = name.path(release.layout)
    if "absent" not in view.traps:
        _store(release, name, study.sex, volume, view.traps)
    descriptive = name.descriptive()
    release.row(
        *("file-paths", study.split, name.patient, name.study, name.view),
        *(descriptive, name.classic()),
    )
    if release.labelled(study.split):
        flags = (int(word == study.word) for word in ("Normal", "Actionable", "Benign", "Cancer"))
        release.row("labels", study.split, name.patient, name.study, name.view, *flags)
    boxes = _boxes(release, name, study, view, volume)
    return [
        _film_truth(release, name, study, view, volume, path, slice_name, boxes)
        for slice_name in _slice_names(release, boxes)
    ]


def _store(
    release: _Release, name: _Name, sex: str, volume: Volume, traps: tuple[str, ...]
) -> None:
    turn = -1 if "upside_down" in traps else 1
    frames = [volume.frame(number)[::turn, ::turn].copy() for number in range(volume.count)]
    path = release.root / name.path(release.layout)
    size = write_tomosynthesis(
        path,
        frames,
        patient_id=name.patient,
        sex=sex,
        study_id=name.study,
        description=name.description,
        study=name.study_uid,
        series=name.series_uid,
        number=name.number,
        view=volume.film.view,
        spacing_mm=1 / volume.film.px_per_mm,
        window=(AIR + volume.gain / 2, float(volume.gain)),
    )
    if "truncated" in traps:
        path.write_bytes(path.read_bytes()[: int(size * 0.6)])
    folder = name.path("descriptive").split("/", 1)[1].rpartition("/")[0].replace("/", "\\")
    release.listed.append(
        f"{name.series_uid},{ROOT},NO,https://doi.org/10.7937/E4WT-CD02,{name.patient},"
        f'{name.study_uid},{name.description},01-01-2000,,"HOLOGIC, Inc.",MG,'
        "Breast Tomosynthesis Image Storage,1.2.840.10008.5.1.4.1.1.13.1.3,1,"
        f"{size / 1e6:.2f} MB,.\\{folder},2024-01-18T12:00:00.000"
    )


@dataclass(frozen=True)
class _Boxed:
    """A lesion and the rectangle that the tables give it, in the upright picture."""

    focus: Focus
    box: tuple[int, int, int, int]
    distortion: int


def _boxes(
    release: _Release, name: _Name, study: StudyCase, view: ViewCase, volume: Volume
) -> list[_Boxed]:
    """Draw coarse rectangles about the lesions and write their rows, where they are published."""
    if not release.labelled(study.split):
        return []
    found = []
    width = volume.film.image.shape[1]
    for number, focus in enumerate(volume.foci):
        rng = generator(release.seed, KEY, name.key, "box", number)
        outer = box_of(focus.drawn.mask)
        assert outer is not None  # noqa: S101 - a rendered lesion covers its own centre
        margin = rng.integers(2, 7, size=4)
        x0, y0 = max(outer[0] - int(margin[0]), 0), max(outer[1] - int(margin[1]), 0)
        x1 = width + 9 if "beyond" in view.traps else min(outer[2] + int(margin[2]), width)
        y1 = min(outer[3] + int(margin[3]), volume.film.image.shape[0])
        found.append(_Boxed(focus, (x0, y0, x1, y1), int(rng.uniform() < 0.35)))
    for one in found:
        x0, y0, x1, y1 = one.box
        word = "cancer" if one.focus.drawn.lesion.pathology == "malignant" else "benign"
        release.row(
            *("boxes", study.split, name.patient, name.study, name.view, 0, one.focus.slice),
            *(x0, y0, x1 - x0, y1 - y0, word, one.distortion, volume.count),
        )
    return sorted(found, key=lambda one: (one.focus.slice, *one.box))


def _slice_names(release: _Release, boxes: list[_Boxed]) -> list[str]:
    numbers = sorted({one.focus.slice for one in boxes})
    names = [str(number) for number in numbers] if boxes else ["d0", "d1"]
    return [*names, SLAB] if release.slabs else names


def _stored(mask: npt.NDArray[np.bool_], view: ViewCase) -> npt.NDArray[np.bool_]:
    return np.ascontiguousarray(mask[::-1, ::-1]) if "upside_down" in view.traps else mask


def _film_truth(
    release: _Release,
    name: _Name,
    study: StudyCase,
    view: ViewCase,
    volume: Volume,
    path: str,
    slice_name: str,
    boxes: list[_Boxed],
) -> FilmTruth:
    film, turned = volume.film, "upside_down" in view.traps
    rows, columns = film.image.shape
    labelled = release.labelled(study.split)
    pathology, basis = LABELS[study.word] if labelled else ("unknown", "unknown")
    names = _slice_names(release, boxes)
    several = len(names) > 1

    def at(x: float, y: float) -> list[float]:
        return [round(columns - x, 2), round(rows - y, 2)] if turned else [round(x, 2), round(y, 2)]

    truth = FilmTruth(
        film_key=f"{name.key}/{slice_name}",
        path=path,
        patient=name.patient,
        side=film.side,
        view=film.view,
        official_split=study.split,
        patient_split=study.split,
        rows=rows,
        columns=columns,
        pathology=pathology,
        label_basis=basis,
        annotation="complete" if boxes or pathology == "normal" else "none",
        modality="DBT",
        frame_kind="slab" if slice_name == SLAB else "slice",
        frame=int(slice_name) if slice_name.isdecimal() else None,
        exam=name.study,
        pair=name.key if several else None,
        upside_down=turned,
        nipple=at(*film.nipple),
        skin=[at(x, y) for x, y in film.skin[::8].tolist()],
        breast_mask=save_mask(release.root, f"{name.file}.breast", _stored(film.breast, view)),
        px_per_mm=film.px_per_mm,
        traps=list(view.traps),
        flags=[QUALITY[trap] for trap in view.traps if trap in QUALITY],
    )
    if "beyond" in view.traps and not boxes:
        truth.flags.remove("geometry_clipped")
    if study.sex == "M":
        truth.flags.append("male")
    if boxes and slice_name != SLAB and _is_near(boxes):
        truth.annotation = "partial"
    truth.flags.sort()
    for fate in ("absent", "truncated"):
        if fate in view.traps:
            truth.expect, truth.reason = ("absent" if fate == "absent" else "reject"), fate
    truth.lesions = [
        _lesion_truth(release, name, view, number, one, (rows, columns))
        for number, one in enumerate(boxes, start=1)
        if slice_name in (SLAB, str(one.focus.slice))
    ]
    return truth


def _is_near(boxes: list[_Boxed]) -> bool:
    """Say whether lesions of two slices show on one another's."""
    first, last = boxes[0], boxes[-1]
    if first.focus.slice == last.focus.slice:
        return False
    reach = max((x1 - x0 + y1 - y0) / 2 for x0, y0, x1, y1 in (first.box, last.box)) ** 0.5
    return bool(last.focus.slice - first.focus.slice <= reach)


def _lesion_truth(
    release: _Release,
    name: _Name,
    view: ViewCase,
    number: int,
    one: _Boxed,
    size: tuple[int, int],
) -> LesionTruth:
    mask = _stored(one.focus.drawn.mask, view)
    x0, y0, x1, y1 = one.box
    x1 = min(x1, size[1])
    values = [x0, y0, x1, y1]
    if "upside_down" in view.traps:
        values = [size[1] - x1, size[0] - y1, size[1] - x0, size[0] - y0]
    lesion = one.focus.drawn.lesion
    return LesionTruth(
        lesion_id=str(number),
        kind=lesion.kind,
        form=lesion.form,
        pathology=lesion.pathology,
        label_basis="biopsy",
        raw={
            "Class": "cancer" if lesion.pathology == "malignant" else "benign",
            "AD": str(one.distortion),
        },
        mask=save_mask(release.root, f"{name.file}.{number}", mask),
        box=box_of(mask),
        area=int(mask.sum()),
        geometry="box",
        outline={"values": values},
        trap=next(iter(view.traps), None),
    )


def _write_stranger(release: _Release) -> FilmTruth:
    """Write a volume that no table has: a view that was never published."""
    study, view = StudyCase("Normal", ()), ViewCase("lcc")
    name = _name(release, 0, 1, study, view)
    volume = draw(0, 1, study, view, release.seed, release.scale)
    volume.count = 4
    _store(release, name, "F", volume, ())
    path = name.path(release.layout)
    return FilmTruth(
        film_key=path,
        path=path,
        patient=name.patient,
        side="L",
        view="CC",
        rows=volume.film.image.shape[0],
        columns=volume.film.image.shape[1],
        pathology="unknown",
        label_basis="unknown",
        annotation="none",
        modality="DBT",
        frame_kind="slice",
        expect="reject",
        reason="no_table_row",
        traps=["no_table_row"],
    )


def _write_tables(release: _Release, *, spaced: bool) -> None:
    for (kind, split), name in CURRENT.items():
        if kind == "file-paths" or release.labelled(split):
            rows = [TITLES[kind], *release.tables.get((kind, split), [])]
            written = name.replace("-DBT-", "-DBT ") if spaced else name
            text = "".join(f"{row}\n" for row in rows)
            (release.root / written).write_bytes(text.encode("ascii"))
    if release.layout == "descriptive":
        titles = (
            "Series UID,Collection,3rd Party Analysis,Data Description URI,Subject ID,Study UID,"
            "Study Description,Study Date,Series Description,Manufacturer,Modality,SOP Class Name,"
            "SOP Class UID,Number of Images,File Size,File Location,Download Timestamp"
        )
        folder = release.root / "manifest-1617905855234"
        text = "".join(f"{row}\r\n" for row in (titles, *release.listed))
        (folder / "metadata.csv").write_bytes(text.encode("ascii"))
        licence = "Phantom volumes, drawn by a program; free of any claim.\n"
        (folder / "LICENSE").write_bytes(licence.encode("ascii"))
