"""One picture a release: the stored image with the release's geometry beside the standard image.

`python -m demo.gallery [--output docs/pictures]` draws phantom releases, plans and standardises a
few films of each, and writes SOURCE.png. On the left are the stored pixels with the shape that the
drawer of the phantom knows (green); on the right the standard image with what the corpus says of
the same lesions (red malignant, green benign, yellow unknown). Both must lie on the same lesion.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Ellipse, Polygon, Rectangle

from etl import phantoms
from etl.phantoms.truth import FilmTruth, LesionTruth, load_mask
from etl.pixels.encode import decode_image
from etl.pixels.files import Files
from etl.pixels.placement import Placement
from etl.pixels.standardise import loaded, standardise
from etl.sources import SOURCES, source
from schemas.film import FileRef, Film
from schemas.release import HeaderIndex, Release, Source
from schemas.sample import Sample
from schemas.spec import Spec

FILMS = 3
COLOURS = {"malignant": "#ff4040", "benign": "#40e060", "unknown": "#ffd000", "normal": "#60b0ff"}


class Reader:
    """A film's bytes, and those of runs of slices, from a release on disk."""

    def __init__(self, release: Release) -> None:
        self.release = release

    def __call__(self, ref: FileRef) -> bytes:
        """Return a file."""
        return self.release.read(ref.path)

    def members(self, ref: FileRef) -> tuple[FileRef, ...]:
        """Return the files of a run of slices."""
        from etl.readers.runs import slice_files

        entries = slice_files(self.release.entries, ref.path).entries
        return tuple(FileRef(role=ref.role, path=entry.path, size=entry.size) for entry in entries)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pictures."""
    parser = argparse.ArgumentParser(prog="python -m demo.gallery", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("docs/pictures"))
    parser.add_argument("sources", nargs="*", help="release keys; default all")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    for key in options.sources or sorted(SOURCES):
        with tempfile.TemporaryDirectory() as folder:
            path = options.output / f"{key}.png"
            _draw(key, Path(folder), path)
            print(path)
    return 0


def _draw(key: str, folder: Path, path: Path) -> None:
    truth = phantoms.write(folder, [key], patients=8, seed=0)[key]
    release = Release.open(str(folder / key))
    module = source(key)
    truths = {film.film_key: film for film in truth.films}
    planned = {
        item.film_key: item
        for item in module.plan(release, _index(module, release))
        if isinstance(item, Film)
    }
    chosen = _chosen([truths[name] for name in planned])
    figure, axes = plt.subplots(2, len(chosen), figsize=(3.2 * len(chosen), 6.6), squeeze=False)
    for column, film in enumerate(chosen):
        made = _standard(module, release, planned[film.film_key])
        if not isinstance(made, Sample):
            raise SystemExit(f"{film.film_key} of {key} gives no sample: {made}")
        stored = _stored(release, planned[film.film_key])
        _show_stored(axes[0, column], stored, film, folder / key)
        _show_standard(axes[1, column], made)
    axes[0, 0].set_ylabel("stored, as drawn", color="black")
    axes[1, 0].set_ylabel("standard, as the corpus says", color="black")
    figure.suptitle(f"{module.RELEASE.title}: phantoms", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=80, metadata={"Software": None})
    plt.close(figure)


def _index(module: Source, release: Release) -> HeaderIndex:
    from etl.readers.dicom import read_header

    wanted = module.files_to_index(release)
    return HeaderIndex({path: read_header(release.read(path), whole=True) for path in wanted})


def _chosen(films: Sequence[FilmTruth]) -> list[FilmTruth]:
    """Return films with lesions, odd ones first, each from another patient where there are any."""
    good = [film for film in films if film.expect == "sample" and "suspect" not in film.traps]
    drawn = [film for film in good if any(one.geometry for one in film.lesions)] or good
    drawn.sort(key=lambda film: (not film.upside_down, not film.traps, film.film_key))
    chosen: list[FilmTruth] = []
    for film in drawn:
        if film.patient not in {other.patient for other in chosen}:
            chosen.append(film)
    return (chosen + [film for film in drawn if film not in chosen])[:FILMS]


def _standard(module: Source, release: Release, film: Film) -> Any:
    return standardise(film, Reader(release), Spec(), module.RELEASE, module.resolve)


def _stored(release: Release, film: Film) -> npt.NDArray[Any]:
    picture = loaded(film, Files(Reader(release)))
    return picture.array if not picture.inverted else picture.array.max() - picture.array


def _show_stored(axes: Axes, pixels: npt.NDArray[Any], film: FilmTruth, root: Path) -> None:
    low, high = np.percentile(pixels[pixels > pixels.min()], (1, 99.8))
    axes.imshow(pixels, cmap="gray", vmin=low, vmax=high)
    for lesion in film.lesions:
        _mark(axes, lesion, root)
    words = [film.film_key[-28:], ", ".join(film.traps)[:34]]
    axes.set_title("\n".join(filter(None, words)), fontsize=7)
    axes.set_xticks([])
    axes.set_yticks([])


def _mark(axes: Axes, lesion: LesionTruth, root: Path) -> None:
    """Draw the release's geometry; imshow's pixel centres lie at whole numbers."""
    look: dict[str, Any] = {"fill": False, "edgecolor": "#40e060", "linewidth": 1.0}
    shape = lesion.outline
    if shape is None:
        if lesion.mask and lesion.geometry:
            axes.contour(load_mask(root, lesion.mask), [0.5], colors="#40e060", linewidths=0.9)
        return
    for ring in shape.get("rings", ()):
        axes.add_patch(Polygon(np.array(ring) - 0.5, **look))
    values = [float(value) for value in shape.get("values", ())]
    if lesion.geometry == "box":
        x0, y0, x1, y1 = values
        axes.add_patch(Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, **look))
    elif lesion.geometry == "circle":
        axes.add_patch(Circle((values[0] - 0.5, values[1] - 0.5), values[2], **look))
    elif lesion.geometry == "ellipse":
        x, y, rx, ry, angle = values
        axes.add_patch(Ellipse((x - 0.5, y - 0.5), 2 * rx, 2 * ry, angle=angle, **look))
    elif lesion.geometry == "point":
        axes.plot(values[0] - 0.5, values[1] - 0.5, "+", color="#40e060", markersize=7)


def _show_standard(axes: Axes, sample: Sample) -> None:
    row = sample.row
    axes.imshow(decode_image(sample.image), cmap="gray")
    placement = Placement.from_row(row)
    for lesion in sample.lesions:
        for ring in lesion["rings_native"] or ():
            points = np.asarray(placement.to_standard(np.array(ring, dtype=float))) - 0.5
            colour = COLOURS[str(lesion["pathology"])]
            if len(points) == 1:
                axes.plot(*points[0], "+", color=colour, markersize=7)
            else:
                axes.add_patch(Polygon(points, fill=False, edgecolor=colour, linewidth=1.0))
    axes.set_title(
        f"{row['modality']} {row['laterality'] or ''} {row['view'] or ''} {row['orientation']}\n"
        f"{row['pathology']} ({row['label_basis']}), {row['annotation']}",
        fontsize=7,
    )
    axes.set_xticks([])
    axes.set_yticks([])


if __name__ == "__main__":
    raise SystemExit(main())
