"""`python -m beam_jobs` is `mammo-etl`."""

from __future__ import annotations

import sys

from beam_jobs.cli import main

if __name__ == "__main__":
    sys.exit(main())
