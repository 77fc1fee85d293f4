"""The registry of sources: named without being imported, one line for another one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from etl import sources
from schemas.errors import UsageError
from schemas.release import HeaderIndex
from tests.sources.copies import copy_of, planned

TWELFTH = '''
"""A release of one film, as small as a source can be."""
from schemas.film import FileRef, Film
from schemas.release import Licence, ReleaseInfo, TissueRule
from schemas.vocabulary import Modality

RELEASE = ReleaseInfo(
    key="twelfth", title="Twelfth", modalities=(Modality.FFDM,),
    licence=Licence(key="x", title="x", redistributable=True, weights_releasable=True),
    citation="x", url="x", how_to_get="x", tissue=TissueRule.DIGITAL,
)

def plan(release, index):
    for entry in release.entries:
        yield Film(
            source="twelfth", film_key=entry.path, patient_key="1", modality=Modality.FFDM,
            files=(FileRef(role="image", path=entry.path, size=entry.size),), licence="x",
        )

def files_to_index(release): return ()
def resolve(film, header): return film
def verify(release, index): yield from ()
'''


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("mais", "did you mean 'mias'"),
        ("cbis", "did you mean 'cbis_ddsm'"),
        ("INBREAST-1.0", "the sources are bcdr, bcs_dbt, cbis_ddsm, "),
        ("zzzz", "there is no source 'zzzz': the sources are bcdr, "),
    ],
)
def test_an_unknown_source_is_refused_with_the_nearest(key, hint):
    with pytest.raises(UsageError, match=hint):
        sources.source(key)


def test_another_source_is_one_file_and_one_line(tmp_path, monkeypatch):
    (tmp_path / "twelfth_source.py").write_text(TWELFTH)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sources.SOURCES, "twelfth", "twelfth_source")
    module = sources.source("twelfth")
    (film,) = planned(module, copy_of(tmp_path / "copy", {}, ["a.dcm"]))
    assert (film.film_key, module.RELEASE.title) == ("a.dcm", "Twelfth")
    assert list(module.verify(copy_of(tmp_path / "copy", {}), HeaderIndex())) == []


def test_planning_needs_no_pixel_library():
    code = (
        "import sys, etl.sources as s\n"
        "assert 'etl.sources.mias' not in sys.modules\n"
        "[s.source(key) for key in s.SOURCES]\n"
        "heavy = {'cv2', 'torch', 'apache_beam', 'pydicom', 'google.cloud.storage'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout.strip() == "[]"
