"""A source that reads coordinates, sides or roles wrongly does not get past its own tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from etl.sources import SOURCES


@pytest.mark.timeout(280)
@pytest.mark.parametrize("key", sorted(SOURCES))
def test_no_way_to_spoil_a_source_goes_unnoticed(
    key: str, shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Needs the real tables, from which some of the counts are taken."""
    del shared
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutations", key],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=270,
    )
    with capsys.disabled():
        print(f"\n{done.stdout.strip().splitlines()[-1]}" if done.stdout else done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
