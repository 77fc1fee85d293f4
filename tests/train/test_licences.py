"""What weights learnt from, and whether they may be released, stands beside them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import schemas
from mammo_train.cli import main
from mammo_train.config import load_config
from mammo_train.licences import describe, known_licences, licences_of, merged
from tests.train.corpus import tiny_films, write_corpus
from tests.train.test_stages import QUICK

FREE = {"licence": "CC-BY-3.0", "weights_releasable": True, "citation": "Lee 2017"}
CLOSED = {"licence": "MIAS-research", "weights_releasable": False, "citation": "Suckling 1994"}


def corpus_of(root: Path, closed_patients: set[str]) -> str:
    """Write films of two releases; patients named are of the one with the closed licence."""
    films = [
        replace(
            film,
            source="mias" if film.patient in closed_patients else "cbis_ddsm",
            row=CLOSED if film.patient in closed_patients else FREE,
        )
        for film in tiny_films(20)
    ]
    write_corpus(str(root), films)
    return str(root)


def test_only_releases_that_were_learnt_from_decide(tmp_path: Path) -> None:
    corpus = schemas.open(corpus_of(tmp_path, {"p000"}))
    ids = corpus.frame("split = 'train'", ["sample_id", "source"])
    free = licences_of(corpus, ids[ids["source"] == "cbis_ddsm"]["sample_id"])
    assert free == {
        "weights_releasable": True,
        "releases": {"cbis_ddsm": {**FREE, "films": 22}},
    }
    both = licences_of(corpus, ids["sample_id"])
    assert not both["weights_releasable"]
    assert both["releases"]["mias"] == {**CLOSED, "films": 2}
    assert describe(free) == "weights may be released: yes"
    assert describe(both) == "weights may be released: no, they learnt from mias (MIAS-research)"
    assert merged([free, both]) == both
    assert merged([free, free]) == free


def test_nothing_learnt_is_nothing_that_may_be_released(tmp_path: Path) -> None:
    corpus = schemas.open(corpus_of(tmp_path, set()))
    assert licences_of(corpus, []) == {"weights_releasable": False, "releases": {}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose U-Net learns from both releases."""
    base = tmp_path_factory.mktemp("licences")
    corpus = corpus_of(base / "corpus", {"p000", "p001"})
    where = ["--data", corpus, "--work", str(base / "work"), "--workers", "0"]
    options = []
    for word, value in zip(QUICK[::2], QUICK[1::2], strict=True):
        if not word.startswith("--pretrain"):
            options += [word, value]
    assert main(["segment", *where, *options]) == 0
    return base


def states(run: Path, stage: str) -> list[dict]:
    folder = run / "work/stages" / stage / "checkpoints"
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*/state.json"))]


def test_config_and_every_checkpoint_name_the_licences(run: Path) -> None:
    config = yaml.safe_load((run / "work/config.yaml").read_text())["licences"]
    assert config["weights_releasable"] is False
    assert set(config["stages"]) == {"segment"}
    assert set(config["releases"]) == {"cbis_ddsm", "mias"}
    assert states(run, "segment")
    for state in states(run, "segment"):
        told = state["licences"]
        assert told["weights_releasable"] is False
        assert told["releases"] == config["releases"]
        assert told["releases"]["mias"]["licence"] == "MIAS-research"


def test_the_section_is_no_option_and_the_config_is_read_without_it(run: Path) -> None:
    path = run / "work/config.yaml"
    assert load_config(path).segment.base_channels == 4
    assert known_licences(path)["segment"]["releases"]["mias"]["films"] == 4
    assert known_licences(run / "none.yaml") == {}
