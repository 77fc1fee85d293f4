"""No single number may tell lesion from none, or malignant from benign: only the shape does.

Each AUROC below is of one number alone (a mean, a spread, an extreme, a size, a place). All must
lie between 0.4 and 0.6; `pytest -s` prints them. The last tests show that the measure would see a
lesion that is simply added to its film.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from etl.phantoms import cbis_ddsm, mias
from etl.phantoms.cbis_cases import plan_patient
from etl.phantoms.insert import find_site
from etl.phantoms.lesions import draw_lesion, draw_plan
from etl.phantoms.scene import draw_pathology
from etl.phantoms.texture import generator
from etl.phantoms.truth import box_of

SEED = 11
PATCH_MM = 25


@dataclass
class Study:
    """Rows of numbers: films with their label, lesion and background patches with theirs."""

    films: list[dict] = field(default_factory=list)
    lesions: list[dict] = field(default_factory=list)
    background: list[dict] = field(default_factory=list)


def summary(values, prefix):
    low, mid, high = np.percentile(values, [5, 50, 95])
    return {
        f"{prefix} mean": values.mean(),
        f"{prefix} sd": values.std(),
        f"{prefix} min": values.min(),
        f"{prefix} max": values.max(),
        f"{prefix} p05": low,
        f"{prefix} p50": mid,
        f"{prefix} p95": high,
    }


def window(image, x0, y0, x1, y1):
    return image[max(int(y0), 0) : int(y1), max(int(x0), 0) : int(x1)]


def film_numbers(film, image):
    ys, xs = np.nonzero(film.breast)
    return {
        **summary(image, "film"),
        **summary(image[film.breast], "breast"),
        "breast area": film.breast.sum(),
        "breast x": xs.mean() / image.shape[1],
        "breast y": ys.mean(),
        "rows": image.shape[0],
        "columns": image.shape[1],
        "file size": cv2.imencode(".png", image)[1].size,
    }


def site_numbers(film, image, site, box):
    half = PATCH_MM / 2 * film.px_per_mm
    x0, y0, x1, y1 = box
    return {
        **summary(window(image, *box), "box"),
        **summary(
            window(image, site.x - half, site.y - half, site.x + half, site.y + half), "patch"
        ),
        "box width": (x1 - x0) / film.px_per_mm,
        "box height": (y1 - y0) / film.px_per_mm,
        "from the nipple": np.hypot(site.x - film.nipple[0], site.y - film.nipple[1]),
        "y": site.y / image.shape[0],
    }


def collect(study, film, drawn, key, scale, added=0.0):
    """Measure one film; `added` brightens each lesion's mask, as a naive phantom would."""
    picture = film.image.copy()
    for one in drawn:
        picture[one.mask] += added
    image = np.clip(np.rint(picture * scale), 0, scale).astype(np.uint16)
    malignant = any(one.lesion.pathology == "malignant" for one in drawn)
    study.films.append({**film_numbers(film, image), "lesion": bool(drawn), "malignant": malignant})
    for one in drawn:
        study.lesions.append(
            {
                **site_numbers(film, image, one.site, box_of(one.mask)),
                "malignant": one.lesion.pathology == "malignant",
            }
        )
    taken = [one.site for one in drawn]
    for k in range(2):
        rng = generator(SEED, "background", key, k)
        plan = draw_plan(rng)
        found = find_site(rng, film, plan, taken)
        shape = draw_lesion(rng, plan, draw_pathology(rng), film.px_per_mm)
        if found is None:
            continue
        site = found[0]
        half = shape.mask.shape[0] // 2
        shrink = site.radius / (plan.radius_mm * film.px_per_mm)
        box = [site.x + (v - half) * shrink for v in box_of(shape.mask)[::2]]
        rows = [site.y + (v - half) * shrink for v in box_of(shape.mask)[1::2]]
        study.background.append(site_numbers(film, image, site, [box[0], rows[0], box[1], rows[1]]))


@pytest.fixture(scope="module")
def studies():
    fair, naive = Study(), Study()
    for number in range(1, 701):
        _, drawing = mias.draw(number, SEED, side_px=256)
        collect(fair, drawing.film, drawing.lesions, number, 255)
        if number <= 150:
            collect(naive, drawing.film, drawing.lesions, number, 255, added=0.12)
    films = Study()
    # One film a patient: two views of one abnormality are not two findings.
    for index in range(300):
        case = plan_patient(index, SEED, traps=False, damage=False)
        film, drawn, _ = cbis_ddsm.draw(case, case.films[0], SEED, 0.2)
        collect(films, film, drawn, index, 65535)
    return {"mias": fair, "cbis_ddsm": films, "naive": naive}


def aurocs(positive, negative, kind):
    names = [n for n in positive[0] if n in negative[0] and n not in ("lesion", "malignant")]
    truth = np.r_[np.ones(len(positive)), np.zeros(len(negative))]
    found = {}
    for name in names:
        values = [row[name] for row in (*positive, *negative)]
        found[name] = float(roc_auc_score(truth, values))
    print(f"\n{kind}: {len(positive)} against {len(negative)}")
    print("  " + "  ".join(f"{name} {value:.2f}" for name, value in found.items()))
    return found


def fair(found):
    return {name: round(value, 3) for name, value in found.items() if not 0.4 <= value <= 0.6}


def split(rows, word):
    return [row for row in rows if row[word]], [row for row in rows if not row[word]]


def test_no_number_of_a_film_tells_lesion_from_none(studies):
    lesion, normal = split(studies["mias"].films, "lesion")
    assert fair(aurocs(lesion, normal, "MIAS films, lesion against normal")) == {}


@pytest.mark.parametrize("key", ["mias", "cbis_ddsm"])
def test_no_number_of_a_film_tells_malignant_from_benign(studies, key):
    with_lesion, _ = split(studies[key].films, "lesion")
    found = aurocs(*split(with_lesion, "malignant"), f"{key} films, malignant against benign")
    assert fair(found) == {}


@pytest.mark.parametrize("key", ["mias", "cbis_ddsm"])
def test_no_number_of_a_patch_tells_lesion_from_other_tissue(studies, key):
    study = studies[key]
    found = aurocs(study.lesions, study.background, f"{key} patches, lesion against tissue")
    assert fair(found) == {}


@pytest.mark.parametrize("key", ["mias", "cbis_ddsm"])
def test_no_number_of_a_patch_tells_malignant_from_benign(studies, key):
    found = aurocs(
        *split(studies[key].lesions, "malignant"), f"{key} patches, malignant against benign"
    )
    assert fair(found) == {}


def test_size_of_the_drawn_mask_does_not_tell_malignant_from_benign():
    rows = []
    for k in range(600):
        plan = draw_plan(generator(SEED, "plan", k))
        pathology = draw_pathology(generator(SEED, "pathology", k))
        lesion = draw_lesion(generator(SEED, "shape", k), plan, pathology, 1.5)
        x0, y0, x1, y1 = box_of(lesion.mask)
        rows.append(
            {
                "malignant": pathology == "malignant",
                "radius": plan.radius_mm,
                "contrast": plan.contrast,
                "mask area": lesion.mask.sum(),
                "longer side": max(x1 - x0, y1 - y0),
                "shorter side": min(x1 - x0, y1 - y0),
            }
        )
    assert fair(aurocs(*split(rows, "malignant"), "drawn shapes")) == {}


def test_a_lesion_that_is_simply_added_would_be_noticed(studies):
    study = studies["naive"]
    found = aurocs(study.lesions, study.background, "added lesions against tissue")
    assert {"box mean", "box max", "box sd"} <= set(fair(found))
