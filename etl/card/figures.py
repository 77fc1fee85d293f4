"""Figures of the card as inline SVG: bars and histograms, no script, no font of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from schemas.vocabulary import Pathology

__all__ = ["LABEL_COLOURS", "bars", "histogram", "stacked"]

LABEL_COLOURS = {
    Pathology.NORMAL.value: "#7a9cc6",
    Pathology.BENIGN.value: "#4f9d69",
    Pathology.MALIGNANT.value: "#c8443f",
    Pathology.UNKNOWN.value: "#d9b44a",
}
_PLAIN = "#5b7083"
_LINE, _LEFT, _WIDTH, _RIGHT = 22, 150, 420, 90


def bars(counts: Mapping[str, int], title: str) -> str:
    """Return one horizontal bar a word, with its count."""
    return stacked({word: {"": count} for word, count in counts.items()}, title, {"": _PLAIN})


def stacked(rows: Mapping[str, Mapping[str, int]], title: str, colours: Mapping[str, str]) -> str:
    """Return one horizontal bar a row, its parts side by side in their colours."""
    longest = max((sum(parts.values()) for parts in rows.values()), default=0) or 1
    height = _LINE * len(rows) + 4
    out = [_open(_LEFT + _WIDTH + _RIGHT, height, title)]
    for number, (name, parts) in enumerate(rows.items()):
        y, x = number * _LINE + 3, float(_LEFT)
        out.append(_text(_LEFT - 8, y + 13, name, "end"))
        for word, colour in colours.items():
            size = _WIDTH * parts.get(word, 0) / longest
            if size > 0:
                tip = f"<title>{escape(f'{name} {word}: {parts[word]}')}</title>"
                out.append(
                    f'<rect x="{x:.1f}" y="{y}" width="{size:.1f}" height="16" fill="{colour}">'
                    f"{tip}</rect>"
                )
            x += size
        out.append(_text(x + 6, y + 13, f"{sum(parts.values()):,}", "start"))
    return "".join([*out, "</svg>"])


def histogram(
    values: npt.NDArray[np.float64], edges: Sequence[float], title: str, unit: str
) -> str:
    """Return a histogram with the given edges; values beyond them count in the outer bins."""
    known = values[~np.isnan(values)]
    counts, _ = np.histogram(np.clip(known, edges[0], edges[-1]), np.asarray(edges))
    tallest = int(counts.max(initial=0)) or 1
    width, height = 300, 110
    step = width / len(counts)
    out = [_open(width + 20, height + 34, title)]
    for number, count in enumerate(counts):
        tall = height * int(count) / tallest
        tip = f"{edges[number]:g} to {edges[number + 1]:g} {unit}: {count}"
        out.append(
            f'<rect x="{10 + number * step:.1f}" y="{height - tall + 2:.1f}" '
            f'width="{max(step - 1, 1):.1f}" height="{tall:.1f}" fill="{_PLAIN}">'
            f"<title>{escape(tip)}</title></rect>"
        )
    out.append(f'<path d="M10 {height + 2.5}h{width}" stroke="#999"/>')
    middle = (edges[0] + edges[-1]) / 2
    for x, value, anchor in (
        (10, edges[0], "start"),
        (160, middle, "middle"),
        (310, edges[-1], "end"),
    ):
        out.append(_text(x, height + 16, f"{value:g}", anchor))
    note = f"{title}, {unit}" if unit else title
    known_of = f"{len(known):,} of {len(values):,} known"
    out.append(_text(160, height + 31, f"{note} ({known_of})", "middle"))
    return "".join([*out, "</svg>"])


def _open(width: float, height: float, title: str) -> str:
    return (
        f'<svg role="img" aria-label="{escape(title)}" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" xmlns="http://www.w3.org/2000/svg">'
    )


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'
