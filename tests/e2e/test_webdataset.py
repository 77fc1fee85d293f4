"""The shards without this project, and README's snippets as they are written."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import schemas
from tests.e2e.conftest import PROJECT


def snippets(language: str) -> list[str]:
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def execute(code: str, folder: Path) -> str:
    """Run a snippet in a folder, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def folder(corpus_root: Path, tmp_path: Path) -> Path:
    """A folder that holds the corpus as `corpus`, as README writes it."""
    (tmp_path / "corpus").symlink_to(corpus_root)
    return tmp_path


def test_webdataset_reads_what_the_manifest_s_offsets_point_to(
    corpus_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WDS_SECURE", "1")
    import webdataset

    corpus = schemas.open(str(corpus_root))
    rows = {row["sample_id"]: row for row in corpus.table().to_pylist()}
    shards = sorted({str(corpus_root / row["shard"]) for row in rows.values()})
    seen = set()
    for sample in webdataset.WebDataset(shards, shardshuffle=False):
        row = rows[sample["__key__"]]
        seen.add(row["sample_id"])
        for name, kind in (("image", "png"), ("mask", "mask.png"), ("json", "json")):
            if row[f"{name}_offset"] is None:
                assert kind not in sample
                continue
            place = (row["shard"], row[f"{name}_offset"], row[f"{name}_size"])
            assert sample[kind] == corpus.store.read_range(*place)
        image = cv2.imdecode(np.frombuffer(sample["png"], np.uint8), cv2.IMREAD_UNCHANGED)
        assert (image.dtype, image.shape) == (np.uint16, (row["height"], row["width"]))
        assert json.loads(sample["json"])["pathology"] == row["pathology"]
    assert seen == set(rows)


def test_readme_s_loop_over_the_shards_runs_as_written(folder: Path) -> None:
    [code] = [text for text in snippets("python") if "webdataset" in text]
    code += "print(image.dtype, image.ndim, sorted(facts)[0], 'mask' in globals())\n"
    assert execute(code, folder).split() == ["uint16", "2", "age", "True"]


def test_readme_s_query_runs_as_written(folder: Path) -> None:
    [code] = [text for text in snippets("python") if "schemas.open" in text]
    assert "list_contains(findings, 'mass')" in code
    code += "print(len(films), set(films['modality']), any('mass' in f for f in films['findings']))"
    count, *rest = execute(code, folder).split()
    assert int(count) > 5
    assert rest == ["{'SFM'}", "True"]


def test_readme_s_pandas_line_reads_the_manifest(folder: Path, corpus_root: Path) -> None:
    [code] = [text for text in snippets("python") if "read_parquet" in text]
    [local] = [line for line in code.splitlines() if 'read_parquet("corpus/' in line]
    version = schemas.open(str(corpus_root)).version
    line = re.sub(r"v-[0-9a-f]{12}", version, local)
    assert line != local
    out = execute(
        f"import pandas as pd\nframe = {line}\nprint(len(frame), frame.columns[0])", folder
    )
    rows = schemas.open(str(corpus_root)).table()
    assert out.split() == [str(rows.num_rows), "sample_id"]
