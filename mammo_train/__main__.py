"""`python -m mammo_train` is `mammo-train`."""

from __future__ import annotations

import sys

from mammo_train.cli import main

if __name__ == "__main__":
    sys.exit(main())
