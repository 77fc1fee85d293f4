"""`python -m tests.jobs.run_fake OUT alpha=PATH ... [--workers N] [--OPTION of Beam]`."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from beam_jobs.settings import Settings, parse_releases
from schemas.errors import MammoError


def settings(output: object, releases: list[str], **more: Any) -> Settings:
    """Return settings that use the fake sources and kernel."""
    from tests.jobs.fakes import KERNEL, REGISTRY

    return Settings(
        output=str(output),
        releases=parse_releases(releases),
        registry=REGISTRY,
        kernel=KERNEL,
        **{"workers": 1, **more},
    )


def main() -> int:
    """Run it as the command would."""
    from beam_jobs.job import run_job

    parser = argparse.ArgumentParser()
    parser.add_argument("output")
    parser.add_argument("releases", nargs="+")
    parser.add_argument("--workers", type=int, default=1)
    known, rest = parser.parse_known_args()
    try:
        result = run_job(settings(known.output, known.releases, workers=known.workers), rest)
    except MammoError as error:
        print(f"mammo-etl: {error}", file=sys.stderr)
        return 1
    made = sum(figures["shards_made"] for figures in result.report["sources"].values())
    print(f"{result.version} {made}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
