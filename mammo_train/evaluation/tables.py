"""The main figures of ``metrics.json`` for a terminal: all films together, then by source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mammo_train.evaluation.outcomes import GROUPS
from mammo_train.evaluation.segmentation import FALSE_RATES

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["group_table", "metrics_table"]

Row = tuple[str, dict[str, Any]]
RATE = "1"  # of the table by source


def metrics_table(found: dict[str, Any]) -> Table:
    """Lay the figures of all films together out, each with its interval and what it counts."""
    from rich.table import Table

    notes = [
        *found["notes"],
        f"Dice: {found['segment']['counted']['dice']}.",
        f"Lesions found: {found['segment']['counted']['lesion_sensitivity']}.",
        f"Films: {found['films']['counted']}. Their score: {found['films']['score']}.",
        "Intervals are 95 %, by patient.",
    ]
    caption = "\n".join(notes)
    title = f"{found['split']} split of {found['corpus']}"
    table = Table(title=title, caption=caption, caption_justify="left")
    table.add_column("figure")
    table.add_column("value [95 % interval]", justify="right")
    table.add_column("counted", justify="right")
    for name, figure in _rows(found):
        counts = ", ".join(f"{n} {what}" for what, n in figure["counts"].items())
        table.add_row(name, _text(figure), counts.replace("_", " "))
    return table


def group_table(found: dict[str, Any]) -> Table | None:
    """Lay the figures by source and by modality out; None where there is one of each."""
    from rich.table import Table

    parts = {name: found["segment"][f"by_{name}"] for name in ("source", "modality")}
    films = found["films"]["outcome"]
    named = {name: sorted({*parts[name], *films[f"by_{name}"]}) for name in parts}
    if all(len(words) < 2 for words in named.values()):
        return None
    table = Table(title=f"by source and modality, films: {GROUPS['outcome']}")
    titles = ("group", "Dice", f"found at {RATE} false a film", "AUROC films", "AUROC patients")
    for title in titles:
        table.add_column(title, justify="left" if title == "group" else "right")
    for name, words in named.items():
        for word in words:
            drawn, judged = parts[name].get(word), films[f"by_{name}"].get(word)
            table.add_row(
                word,
                _text(drawn["dice_per_film"]) if drawn else "-",
                _text(drawn["lesion_sensitivity"][RATE]) if drawn else "-",
                _text(judged["films"]["auroc"]) if judged else "-",
                _text(judged["patients"]["auroc"]) if judged else "-",
            )
        table.add_section()
    return table


def _rows(found: dict[str, Any]) -> Iterator[Row]:
    segment = found["segment"]
    yield "Dice a lesion film", segment["dice_per_film"]
    if len(segment["by_annotation_kind"]) > 1:
        for kind, part in segment["by_annotation_kind"].items():
            yield f"Dice a lesion film, drawn as {kind}", part["dice_per_film"]
    yield "false regions a normal film", segment["false_regions_per_normal_film"]
    for rate in FALSE_RATES:
        figure = segment["lesion_sensitivity"][f"{rate:g}"]
        yield f"lesions found at {rate:g} false regions a film", figure
    yield from _film_rows(found["films"])
    if "classifier" in found:
        yield from _patch_rows(found["classifier"])


def _film_rows(films: dict[str, Any]) -> Iterator[Row]:
    for group, labels in GROUPS.items():
        if not films[group]["bases"]:
            continue
        for unit in ("films", "patients"):
            part = films[group][unit]
            yield f"AUROC malignant vs rest, {unit}, {labels}", part["auroc"]
            yield f"average precision, {unit}, {labels}", part["average_precision"]


def _patch_rows(classifier: dict[str, Any]) -> Iterator[Row]:
    places = {"true_patches": "true places", "proposed_regions": "proposed regions"}
    for key, where in places.items():
        areas = classifier[key]
        yield f"AUROC malignant vs benign, {where}", areas["malignant_vs_benign_auroc"]
        birads = areas["malignant_vs_benign_auroc_birads"]
        if birads["counts"]["positives"] + birads["counts"]["negatives"]:
            yield f"AUROC malignant vs benign by BI-RADS, {where}", birads
        yield f"AUROC malignant vs rest, {where}", areas["malignant_vs_rest_auroc"]
        yield f"AUROC lesion vs background, {where}", areas["lesion_vs_background_auroc"]


def _text(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return "-"
    interval = f" [{figure['low']:.2f}, {figure['high']:.2f}]" if figure["low"] is not None else ""
    return f"{figure['value']:.3f}{interval}"
