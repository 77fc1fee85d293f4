"""One small release of each kind, drawn once for all tests of this room."""

from __future__ import annotations

import pytest

from etl.phantoms import cbis_ddsm, mias

SEED = 5


@pytest.fixture(scope="session")
def mias_release(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantoms") / "mias"
    return root, mias.write(root, 8, SEED)


@pytest.fixture(scope="session")
def cbis_release(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantoms") / "cbis_ddsm"
    return root, cbis_ddsm.write(root, 8, SEED, scale=0.3)
