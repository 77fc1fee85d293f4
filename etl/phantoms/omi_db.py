"""A phantom OMI-DB release: NBSS and ImageDB JSON, header JSON, and mammograms as DICOM.

Layout `<root>/data/<client>/…`, `<root>/images/<client>/<study>/<image>.dcm` as the owner's parser
reads it (omidb 0.13.1); client numbers begin at 9000001. Pictures for presentation have 12 bits and
a black background, those for processing 14 bits and MONOCHROME1, as detectors give them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from etl.phantoms import marks
from etl.phantoms.anatomy import draw_patient
from etl.phantoms.dicom import uid
from etl.phantoms.film import Film, draw_film
from etl.phantoms.insert import Site
from etl.phantoms.omi_cases import plan_client
from etl.phantoms.omi_episodes import KEY, Client, Growth, Image, Round
from etl.phantoms.omi_files import Picture, header_json, write_mammogram
from etl.phantoms.scene import Drawn, add_lesion
from etl.phantoms.texture import generator
from etl.phantoms.truth import FilmTruth, LesionTruth, Truth, box_of, save_mask
from schemas.errors import UsageError

__all__ = ["write"]

MOST_PATIENTS = 9_999
ROWS, COLUMNS = 640, 512
DETECTOR_MM = 180.0
"""Height of the image in millimetres, whatever the number of rows."""

VENDORS = (
    ("HOLOGIC, Inc.", "Selenia Dimensions"),
    ("HOLOGIC, Inc.", "Lorad Selenia"),
    ("GE MEDICAL SYSTEMS", "Senographe Essential"),
    ("SIEMENS", "Mammomat Inspiration"),
)
EXPECT = {
    "absent": ("absent", "absent"),
    "truncated": ("reject", "truncated"),
    "strange_view": ("reject", "unknown_word"),
    "unlisted": ("reject", "no_table_row"),
}
MARK_FLAGS = (
    "ArchitecturalDistortion",
    "BenignClassification",
    "Dystrophic",
    "FatNecrosis",
    "FocalAsymmetry",
    "Mass",
    "MassClassification",
    "MilkOfCalcium",
    "OtherBenignCluster",
    "PlasmaCellMastitis",
    "Skin",
    "SuspiciousCalcifications",
    "SutureCalcification",
    "Vascular",
    "WithCalcification",
)

Json = dict[str, Any]


@dataclass
class _Release:
    root: Path
    seed: int
    scale: float
    upper: bool
    truth: Truth
    files: dict[str, list[str]] = field(default_factory=dict)

    def folder(self, kind: str) -> str:
        return f"FFDM/{kind.upper()}" if self.upper else kind

    @property
    def shape(self) -> tuple[int, int]:
        return round(ROWS * self.scale), round(COLUMNS * self.scale)

    @property
    def spacing(self) -> float:
        return round(DETECTOR_MM / self.shape[0], 6)


def write(
    root: Path,
    patients: int = 8,
    seed: int = 0,
    *,
    scale: float = 1.0,
    upper: bool = False,
    traps: bool = True,
    damage: bool | None = None,
) -> Truth:
    """Write a release and its truth.

    Parameters
    ----------
    root
        Folder of the release; the truth is written beside it (`etl.phantoms.truth`).
    patients
        1 to 9999. The first patients of a larger release are the same bytes.
    scale
        1 draws images of 640 x 512 pixels.
    upper
        `FFDM/DATA` and `FFDM/IMAGES` above the clients instead of `data` and `images`.
    traps
        Put the release's known oddities into the first eight clients.
    damage
        Also leave one image out and cut one short; by default where there are traps.

    Raises
    ------
    UsageError
        For an impossible number of patients.
    """
    if not 1 <= patients <= MOST_PATIENTS:
        raise UsageError(f"a phantom release holds 1 to {MOST_PATIENTS} patients, not {patients}")
    release = _Release(root, seed, scale, upper, Truth(KEY, seed, patients))
    spoil = traps if damage is None else damage
    for index in range(patients):
        client = plan_client(index, seed, traps=traps)
        if not spoil:
            _mend(client)
        _write_client(release, client, index)
    release.truth.save(root)
    return release.truth


def _mend(client: Client) -> None:
    for one in client.rounds:
        for image in one.images:
            kept = [trap for trap in image.traps if trap not in ("absent", "truncated")]
            image.traps = tuple(kept)


def _write_client(release: _Release, client: Client, index: int) -> None:
    studies: Json = {}
    for number, one in enumerate(client.rounds):
        study = uid(release.seed, KEY, index, number, "study")
        day = one.day.isoformat()
        entry: Json = {"StudyDate": day.replace("-", "") if client.digits else day}
        if one.linked:
            entry["EpisodeID"] = one.key
        for position, image in enumerate(one.images):
            shot = _Shot(release, client, one, image, study, (index, number, position))
            entry |= shot.write()
        studies[study] = entry
    if client.empty_keys:
        studies[""] = {"StudyDate": None}
        next(series for series in entry.values() if isinstance(series, dict))[""] = {}
    folder = release.root / release.folder("data") / client.name
    names = [f"{kind}_{client.name}.json" for kind in ("nbss", "imagedb")]
    if client.capitals:
        names = [f"{kind}_{client.name}.json" for kind in ("NBSS", "IMAGEDB")]
    _save(folder / names[0], client.nbss())
    _save(folder / names[1], {"Site": "phan", "STUDIES": studies})


def _save(path: Path, content: Json, length: int | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1) + "\n"
    path.write_text(text[:length], encoding="utf-8", newline="\n")


class _Shot:
    """One exposure: drawn, written, and noted in the truth."""

    def __init__(
        self,
        release: _Release,
        client: Client,
        one: Round,
        image: Image,
        study: str,
        path: tuple[int, int, int],
    ) -> None:
        self.release, self.client, self.round, self.image = release, client, one, image
        self.study, self.path = study, (KEY, *path)
        self.uid = uid(release.seed, *self.path, "image")
        self.raw_uid = self.uid if image.raw else uid(release.seed, *self.path, "raw")
        self.index = path[0]
        self.growths = one.growths.get(image.side, [])

    # ---- pixels

    def draw(self) -> tuple[Film, dict[int, Drawn]]:
        """Return the film, and its lesions by their number."""
        release, image = self.release, self.image
        patient = draw_patient(generator(release.seed, KEY, "patient", self.index))
        film = draw_film(
            release.seed,
            patient,
            self.path,
            release.shape,
            side=image.side,
            view=image.view,
            px_per_mm=1 / release.spacing,
        )
        taken: list[Site] = []
        drawn = {}
        for growth in self.growths:
            if growth.plan is not None:
                lesion = add_lesion(
                    self._streams(growth.number), film, taken, growth.plan, growth.drawn
                )
                if lesion is not None:
                    drawn[growth.number] = lesion
        film.image[~film.breast] = 0
        marks.film_letters(generator(release.seed, *self.path, "marks"), film)
        return film, drawn

    def _streams(self, number: int) -> Callable[[str], np.random.Generator]:
        return lambda purpose: generator(self.release.seed, *self.path, "lesion", number, purpose)

    # ---- files

    def write(self) -> Json:
        """Write the exposure's files and return its series for the ImageDB file."""
        film, drawn = self.draw()
        truth = self._truth(film)
        marked = self._lesions(truth, drawn)
        self.release.truth.films.append(truth)
        series = {self._series("shown"): {self.uid: marked or None}}
        if self.image.raw:
            self._write_files(film, self.uid, raw=True)
        else:
            self._write_files(film, self.uid, raw=False)
        if self.image.twin:
            self._write_files(film, self.raw_uid, raw=True)
            series[self._series("raw")] = {self.raw_uid: None}
        return {} if "unlisted" in self.image.traps else series

    def _series(self, word: str) -> str:
        return uid(self.release.seed, *self.path, "series", word)

    def _picture(self, instance: str, *, raw: bool) -> Picture:
        traps, image = self.image.traps, self.image
        maker, model = VENDORS[self.index % len(VENDORS)]
        named = image.twin and not raw and "unnamed_twin" not in traps
        return Picture(
            client=self.client.name,
            study=self.study,
            series=self._series("raw" if raw else "shown"),
            instance=instance,
            day=self.round.day.strftime("%Y%m%d"),
            time=f"10{self.path[-1]:02d}00",
            side=image.side,
            view="QQ" if "strange_view" in traps else image.view,
            raw=raw,
            dark=raw or self.client.dark,
            spot=image.spot,
            hide_side="described_side" in traps,
            spacing_mm=self.release.spacing,
            maker=maker,
            model=model,
            source=self.raw_uid if named else None,
        )

    def _write_files(self, film: Film, instance: str, *, raw: bool) -> None:
        release, traps = self.release, self.image.traps
        picture = self._picture(instance, raw=raw)
        place = f"{self.client.name}/{self.study}"
        path = release.root / release.folder("images") / place / f"{instance}.dcm"
        data = write_mammogram(path, _levels(film, raw=raw), picture)
        if "truncated" in traps:
            path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
        if "absent" in traps:
            path.unlink()
        if "no_json" in traps:
            return
        ending = ".dcm.json" if self.client.dotted else ".json"
        header = release.root / release.folder("data") / place / f"{instance}{ending}"
        content = header_json(data)
        cut = json.dumps(content, indent=1).find('"00280100"') if "cut_json" in traps else None
        _save(header, content, cut)

    # ---- truth

    def _truth(self, film: Film) -> FilmTruth:
        image, one, release = self.image, self.round, self.release
        pathology, basis = one.labels[image.side]
        rows, columns = film.image.shape
        place = f"{self.client.name}/{self.study}/{self.uid}.dcm"
        truth = FilmTruth(
            film_key=self.uid,
            path=f"{release.folder('images')}/{place}",
            patient=self.client.name,
            side=image.side,
            view=image.view,
            rows=rows,
            columns=columns,
            pathology=pathology,
            label_basis=basis,
            annotation="complete" if pathology == "normal" else "none",
            modality="FFDM",
            exam=self.study,
            pair=self.uid if image.twin else None,
            age=64,
            nipple=[round(film.nipple[0], 2), round(film.nipple[1], 2)],
            skin=[[round(x, 2), y] for x, y in film.skin[::8].tolist()],
            breast_mask=save_mask(release.root, f"{self._name()}.breast", film.breast),
            px_per_mm=film.px_per_mm,
            flags=sorted(self._flags()),
            traps=list(image.traps),
        )
        for trap in image.traps:
            truth.expect, truth.reason = EXPECT.get(trap, (truth.expect, truth.reason))
        return truth

    def _name(self) -> str:
        return "-".join(str(part) for part in self.path[1:])

    def _flags(self) -> set[str]:
        image = self.image
        flags = set(self.round.flags.get(image.side, ()))
        if image.raw:
            flags.add("processing_only")
        if image.spot:
            flags.add("spot")
        if any(self._link(growth) == "UNLINKED" for growth in self._marked()):
            flags.add("unlinked_geometry")
        return flags

    def _marked(self) -> list[Growth]:
        return [growth for growth in self.growths if self.image.view in growth.marked]

    def _link(self, growth: Growth) -> str:
        return growth.link.get(self.image.view, str(growth.number))

    def _lesions(self, truth: FilmTruth, drawn: dict[int, Drawn]) -> Json:
        """Note every lesion in the truth and return the marks of the ImageDB file."""
        boxes: Json = {}
        linked: set[int] = set()
        for growth in self._marked():
            if growth.number not in drawn:
                continue
            key = str(10_000 + 100 * self.index + 10 * self.path[-1] + growth.number)
            link = self._link(growth)
            numbers = {int(part) for part in link.split(",") if part.isdecimal()}
            linked |= numbers
            boxes[key], outline = self._mark(key, link, drawn[growth.number])
            name = f"mark-{len(boxes)}"
            told = ("unknown", "unknown") if not numbers else (growth.pathology, growth.basis)
            truth.lesions.append(
                self._lesion(growth, drawn[growth.number], name, told, key=key, outline=outline)
            )
        for growth in self.growths:
            if growth.number not in linked:
                told = (growth.pathology, growth.basis)
                name = f"nbss-{growth.number}"
                truth.lesions.append(self._lesion(growth, drawn.get(growth.number), name, told))
        if truth.lesions:
            whole = len(boxes) == len(truth.lesions)
            truth.annotation = "complete" if whole else "partial" if boxes else "none"
        return boxes

    def _lesion(
        self,
        growth: Growth,
        drawn: Drawn | None,
        name: str,
        told: tuple[str, str],
        *,
        key: str | None = None,
        outline: list[float] | None = None,
    ) -> LesionTruth:
        mask = None
        if drawn is not None:
            mask = save_mask(self.release.root, f"{self._name()}.{name}", drawn.mask)
        return LesionTruth(
            lesion_id=name,
            kind=drawn.lesion.kind if drawn else "calcification",
            form=drawn.lesion.form if drawn else "none",
            pathology=told[0],
            label_basis=told[1],
            raw={"number": str(growth.number)} | ({"mark": key} if key else {}),
            mask=mask,
            box=box_of(drawn.mask) if drawn else None,
            area=int(drawn.mask.sum()) if drawn else 0,
            geometry="box" if outline else None,
            outline={"values": outline} if outline else None,
        )

    def _mark(self, key: str, link: str, drawn: Drawn) -> tuple[Json, list[float]]:
        """Return a mark about a drawn lesion, and the box that it means in corner coordinates.

        X and Y are the first and last pixel of the box; Width and Height are somebody else's.
        """
        x0, y0, x1, y1 = box_of(drawn.mask) or [0, 0, 1, 1]
        rows, columns = drawn.mask.shape
        x0, y0, x1, y1 = max(x0 - 3, 0), max(y0 - 2, 0), min(x1 + 4, columns), min(y1 + 1, rows)
        ys = (y1 - 1, y0) if "falling_corners" in self.image.traps else (y0, y1 - 1)
        mark: Json = dict.fromkeys(MARK_FLAGS)
        mark |= {
            "Conspicuity": "Obvious",
            "Height": str(y1 - y0 - 6),
            "LesionID": 6000 + int(key),
            "LinkedNBSSLesionNumber": link,
            "MarkID": int(key),
            "Width": str((x1 - x0) * 3 // 4),
            "X1": str(x0),
            "X2": str(x1 - 1),
            "Y1": str(ys[0]),
            "Y2": str(ys[1]),
        }
        if drawn.lesion.kind == "mass":
            mark["Mass"] = 1
            mark["MassClassification"] = (
                "spiculated" if drawn.lesion.form == "spiculated" else "well_defined"
            )
        else:
            mark["SuspiciousCalcifications"] = "SuspiciousCalcifications"
        return dict(sorted(mark.items())), [float(x0), float(y0), float(x1), float(y1)]


def _levels(film: Film, *, raw: bool) -> npt.NDArray[np.uint16]:
    """Return stored levels: 12 bits on black; 14 bits and the detector's noise for processing."""
    if raw:
        levels = 0.02 + 0.9 * np.clip(film.image, 0, 1)
        return np.asarray(np.rint(levels * np.float32(2**14 - 1)), dtype=np.uint16)
    levels = np.where(film.breast, np.clip(film.image, 0.01, 1), np.clip(film.image, 0, 1))
    return np.asarray(np.rint(levels * np.float32(2**12 - 1)), dtype=np.uint16)
