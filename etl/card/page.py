"""The data card: one HTML file that opens without a network, written for a clinician."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from etl.card.figures import LABEL_COLOURS, bars, histogram, stacked
from etl.card.meanings import meanings
from schemas.corpus import Corpus
from schemas.rejects import REMEDIES, RejectReason
from schemas.release import Words
from schemas.vocabulary import (
    Annotation,
    LabelBasis,
    Modality,
    Pathology,
    QualityFlag,
    SpacingSource,
    Split,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CARD_COLUMNS", "page"]

CARD_COLUMNS = (
    "source", "patient_id", "modality", "view", "laterality", "manufacturer", "age", "pathology",
    "label_basis", "label_scope", "birads", "density", "annotation", "annotation_kind", "split",
    "native_height", "native_width", "native_pixel_mm", "spacing_source", "height", "width", "p50",
    "breast_fraction", "quality_flags", "duplicate_group",
)  # fmt: skip
"""Columns of the manifest that the card reads."""

_UNSAID = "not said"
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{margin-bottom:0}h2{margin-top:2.2rem;border-bottom:1px solid #ccc;padding-bottom:.2rem}
.warn{background:#fff4e0;border-left:4px solid #d99a2b;padding:.6rem 1rem}
table{border-collapse:collapse;margin:.6rem 0;font-size:13.5px}
th,td{border-bottom:1px solid #e3e3e3;padding:.25rem .6rem;text-align:left;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
svg{display:block;margin:.6rem 0;max-width:100%}svg text{font:12px system-ui,sans-serif;fill:#333}
.row{display:flex;flex-wrap:wrap;gap:1rem}img{max-width:100%;background:#000}
.key span{display:inline-block;width:.8em;height:.8em;margin:0 .3em 0 1em}
.no{color:#a3302b;font-weight:600}.small{font-size:13px;color:#555}
"""

_CAVEATS = (
    "Nothing here was labelled by this project. Every label is its release's own word, mapped to "
    "one vocabulary; the column raw keeps the word itself.",
    "A breast of which a release says nothing is unknown, never normal.",
    "BI-RADS without biopsy: 1 is normal, 2 and 3 are benign, 5 is malignant, 0 and 4 are unknown.",
    "label_basis says on what a label rests. A biopsy and an opinion are not equally sure: report "
    "results by basis, and do not mix them in one figure without saying so.",
    "label_scope says what a label is said of: a label of a patient or an exam need not hold for "
    "this image.",
    "Releases differ in machines, populations and selection, and cancers are far more frequent "
    "than in screening: prevalence, and figures that depend on it, do not carry over to a clinic.",
)

_SIZES = np.arange(0, 6001, 250).tolist()
_SPACINGS = np.round(np.arange(0, 0.2201, 0.01), 3).tolist()
_AGES = list(range(20, 96, 5))
_GREYS = np.arange(0, 65537, 4096).tolist()


def page(
    corpus: Corpus,
    *,
    words: Mapping[str, Sequence[Words]] | None = None,
    sheets: Mapping[str, bytes] | None = None,
) -> bytes:
    """Return the page.

    Parameters
    ----------
    words
        How each source's words become the corpus's (`etl.sources`), for the caveats.
    sheets
        Contact sheets by source (PNG): only what may be shown to the page's readers.

    Returns
    -------
    bytes
        UTF-8 HTML, self-contained; the same for the same version and pictures.
    """
    frame = corpus.frame(columns=CARD_COLUMNS)
    parts = [
        _head(corpus),
        _contents(corpus),
        _labels(frame),
        _what(frame),
        _annotation(frame),
        _shapes(frame),
        _harmonisation(words or {}),
        _licences(corpus),
        _flags(frame),
        _lost(corpus),
        _audit(corpus, frame),
        _sheets(sheets or {}, corpus),
        _citations(corpus),
    ]
    title = f"Data card of {corpus.version}"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f"<body>{''.join(parts)}</body></html>\n"
    ).encode()


# ---- pieces


def _table(head: Sequence[str], rows: Iterable[Sequence[object]], text: int = 1) -> str:
    """Return a table; columns from `text` on are numbers."""

    def cells(row: Sequence[object], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=n' if n >= text else ''}>{_cell(value)}</{tag}>"
            for n, value in enumerate(row)
        )

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f"<table><thead><tr>{cells(head, 'th')}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else escape(str(value))


def _list(sentences: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in sentences)}</ul>"


def _crossed(frame: pd.DataFrame, row: str, column: str) -> dict[str, dict[str, int]]:
    """Return counts by row and column words; nulls are `not said`."""
    words = (frame[name].astype(object).fillna(_UNSAID).tolist() for name in (row, column))
    out: dict[str, dict[str, int]] = {}
    for (first, second), count in sorted(Counter(zip(*words, strict=True)).items()):
        out.setdefault(str(first), {})[str(second)] = count
    return out


def _matrix(frame: pd.DataFrame, row: str, column: str, order: Sequence[str] = ()) -> str:
    crossed = _crossed(frame, row, column)
    found = {word for counts in crossed.values() for word in counts}
    names = [word for word in order if word in found]
    names += sorted(found - set(names))
    rows = (
        [name, *(counts.get(word, 0) for word in names), sum(counts.values())]
        for name, counts in crossed.items()
    )
    return _table([row, *names, "all"], rows)


def _counts(column: pd.Series) -> dict[str, int]:
    counts = Counter(column.astype(object).fillna(_UNSAID).tolist())
    return {str(word): n for word, n in sorted(counts.items(), key=lambda p: (-p[1], str(p[0])))}


# ---- sections


def _head(corpus: Corpus) -> str:
    counts = [summary.counts for summary in corpus.dataset.sources.values()]
    return (
        f"<h1>Data card</h1><p class=small>Version <code>{corpus.version}</code> of a corpus of "
        f"breast images: {sum(c.made for c in counts):,} images of "
        f"{sum(c.patients for c in counts):,} patients from {len(counts)} releases, "
        f"{sum(c.lesions for c in counts):,} lesions.</p>"
        "<p class=warn><strong>For research only.</strong> Neither this corpus nor anything "
        "learnt from it is a medical device, and none of its labels is a diagnosis.</p>"
    )


def _contents(corpus: Corpus) -> str:
    rows = []
    for key, summary in corpus.dataset.sources.items():
        c = summary.counts
        split = (c.by_split.get(side, 0) for side in Split)
        rows.append([f"{summary.title} ({key})", c.made, c.patients, c.lesions, *split])
        rows[-1] += [c.rejected, c.absent]
    head = ["release", "images", "patients", "lesions", *Split, "rejected", "absent"]
    note = (
        "<p class=small>A patient is on one side only. Official test sets stay test sets; "
        "official training sets are never tested on. Rejected: in the release, but unusable. "
        "Absent: named by a table and not in the copy that was read.</p>"
    )
    return f"<h2>What is inside</h2>{_table(head, rows)}{note}"


def _labels(frame: pd.DataFrame) -> str:
    key = "".join(
        f'<span style="background:{colour}"></span>{word}' for word, colour in LABEL_COLOURS.items()
    )
    bases = meanings(LabelBasis)
    found = [word for word in LabelBasis if (frame["label_basis"] == word).any()]
    return (
        f"<h2>Labels</h2><p class=key>{key}</p>"
        + stacked(_crossed(frame, "source", "pathology"), "Labels by release", LABEL_COLOURS)
        + "<h3>What the labels rest on</h3>"
        + _matrix(frame, "label_basis", "pathology", list(Pathology))
        + _list(f"{word}: {bases.get(word, '')}" for word in found)
        + "<h3>By release</h3>"
        + _matrix(frame, "source", "label_basis", list(LabelBasis))
        + "<h3>What a label is said of</h3>"
        + _matrix(frame, "source", "label_scope")
        + "<h3>BI-RADS and density</h3>"
        + _matrix(frame, "source", "birads")
        + _matrix(frame, "source", "density")
    )


def _what(frame: pd.DataFrame) -> str:
    kinds = meanings(Modality)
    found = [word for word in Modality if (frame["modality"] == word).any()]
    return (
        "<h2>Images</h2>"
        + _matrix(frame, "source", "modality", list(Modality))
        + _list(f"{word}: {kinds.get(word, '')}" for word in found)
        + "<h3>Projection and side</h3>"
        + _matrix(frame, "source", "view")
        + _matrix(frame, "source", "laterality")
        + "<h3>Manufacturer</h3>"
        + bars(_counts(frame["manufacturer"]), "Images by manufacturer")
        + "<h3>Age</h3>"
        + histogram(_floats(frame["age"]), _AGES, "Age", "years")
    )


def _annotation(frame: pd.DataFrame) -> str:
    return (
        "<h2>Drawn lesions</h2>"
        + _matrix(frame, "source", "annotation", list(Annotation))
        + _list(f"{word}: {sentence}" for word, sentence in meanings(Annotation).items())
        + "<h3>How they are drawn</h3>"
        + _matrix(frame, "source", "annotation_kind")
    )


def _floats(column: pd.Series) -> npt.NDArray[np.float64]:
    return np.asarray(column.astype("float64"), np.float64)


def _shapes(frame: pd.DataFrame) -> str:
    spacing = np.array(
        [np.nan if value is None else value[0] for value in frame["native_pixel_mm"]]
    )
    figures = (
        histogram(_floats(frame["native_height"]), _SIZES, "Rows as published", "px"),
        histogram(_floats(frame["height"]), _SIZES, "Rows of the standard image", "px"),
        histogram(spacing, _SPACINGS, "Pixel as published", "mm"),
        histogram(_floats(frame["p50"]), _GREYS, "Median grey level in the breast", ""),
    )
    return (
        f"<h2>Sizes and grey levels</h2><div class=row>{''.join(figures)}</div>"
        "<h3>Where the pixel spacing came from</h3>"
        + _matrix(frame, "source", "spacing_source", list(SpacingSource))
        + "<p class=small>Where it is absent, millimetres are nominal: the breast's long side is "
        "taken for 204.8 mm.</p>"
    )


def _harmonisation(words: Mapping[str, Sequence[Words]]) -> str:
    parts = [f"<h2>How to read the labels</h2>{_list(_CAVEATS)}"]
    for source, tables in sorted(words.items()):
        notes = [
            f"{table.column} becomes {table.becomes} ({table.cited}): {table.note}"
            for table in tables
            if table.note
        ]
        if notes:
            parts.append(f"<h3>{escape(source)}</h3>{_list(notes)}")
    return "".join(parts)


def _licences(corpus: Corpus) -> str:
    rows = []
    for key, summary in corpus.dataset.sources.items():
        passed = "yes" if summary.redistributable else "<span class=no>no</span>"
        weights = "yes" if summary.weights_releasable else "<span class=no>no</span>"
        rows.append(
            f"<tr><td>{escape(key)}</td><td>{escape(summary.licence_title)}</td>"
            f"<td>{passed}</td><td>{weights}</td></tr>"
        )
    return (
        "<h2>Licences and what they forbid</h2><table><thead><tr><th>release</th><th>licence</th>"
        "<th>pixels may be passed on</th><th>weights may be released</th></tr></thead><tbody>"
        f"{''.join(rows)}</tbody></table><p class=small>Of a release whose pixels may not be "
        "passed on, neither the shards nor pictures made from them may be shared, and this page "
        "shows none unless its maker said that its readers hold the licence.</p>"
    )


def _flags(frame: pd.DataFrame) -> str:
    said = meanings(QualityFlag)
    pairs = zip(frame["source"].tolist(), frame["quality_flags"].tolist(), strict=True)
    counts = Counter((str(source), str(flag)) for source, flags in pairs for flag in flags)
    rows = [(*pair, said.get(pair[1], ""), count) for pair, count in sorted(counts.items())]
    if not rows:
        return "<h2>Known defects</h2><p>No image carries a flag.</p>"
    return f"<h2>Known defects</h2>{_table(['release', 'flag', 'meaning', 'images'], rows, 3)}"


def _lost(corpus: Corpus) -> str:
    rows = [
        (key, reason, REMEDIES[RejectReason(reason)], count)
        for key, summary in corpus.dataset.sources.items()
        for reason, count in summary.counts.by_reject_reason.items()
    ]
    absent = sum(summary.counts.absent for summary in corpus.dataset.sources.values())
    table = _table(["release", "reason", "what to do", "films"], rows, 3) if rows else ""
    return (
        f"<h2>What did not come in</h2>{table or '<p>No film was rejected.</p>'}"
        f"<p>{absent:,} films are named by a table and were not in the copies that were read.</p>"
    )


def _audit(corpus: Corpus, frame: pd.DataFrame) -> str:
    groups = frame["duplicate_group"].nunique()
    leaks = sum(QualityFlag.AUDIT_LEAK in flags for flags in frame["quality_flags"])
    settings = ", ".join(f"{key} {value:g}" for key, value in sorted(corpus.dataset.audit.items()))
    return (
        "<h2>Audit</h2>"
        f"<p>{groups:,} images are in the corpus more than once; {leaks:,} samples stand on "
        "another side of the split than their copy, and the trainer leaves them out. Images are "
        "compared within a side, a view and a kind of image; the audit reports what it finds and "
        f"proves no absence ({escape(settings) or 'no settings'}).</p>"
    )


def _sheets(sheets: Mapping[str, bytes], corpus: Corpus) -> str:
    parts = ["<h2>Pictures</h2>"]
    for source, png in sorted(sheets.items()):
        data = base64.b64encode(png).decode()
        parts.append(
            f'<h3>{escape(source)}</h3><img alt="contact sheet of {escape(source)}" '
            f'src="data:image/png;base64,{data}">'
        )
    hidden = [key for key in corpus.dataset.sources if key not in sheets]
    if hidden:
        parts.append(
            f"<p>No picture of {escape(', '.join(hidden))}: the licence does not let pixels be "
            "passed on, or no picture was asked for.</p>"
        )
    else:
        parts.append("<p class=small>Red: malignant, green: benign, yellow: unknown.</p>")
    return "".join(parts)


def _citations(corpus: Corpus) -> str:
    cited = "".join(
        f"<li>{escape(summary.citation)} (<a href={escape(summary.url)!r}>"
        f"{escape(summary.url)}</a>)</li>"
        for summary in corpus.dataset.sources.values()
    )
    return f"<h2>What to cite</h2><ul>{cited}</ul>"
