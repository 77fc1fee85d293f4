"""Run the benchmarks by name, or all of them."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import time
from collections.abc import Sequence

NAMES = (
    "speed",
    "memory",
    "kill",
    "learning",
    "audit",
    "planning",
    "planning_embed",
    "real_mias",
    "loader",
    "generalise",
    "pretraining",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; 1 where a bound was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    names = [name.replace("-", "_") for name in parser.parse_args(arguments).names] or list(NAMES)
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; choose from {', '.join(NAMES)}")
    missed: list[str] = []
    for name in names:
        print(f"\n## {name}\n\n{_machine()}\n", flush=True)
        began = time.monotonic()
        missed += importlib.import_module(f"benchmarks.{name}").main()
        print(f"\n`python -m benchmarks {name}` took {time.monotonic() - began:.0f} s", flush=True)
    for sentence in missed:
        print(f"MISSED {sentence}")
    return 1 if missed else 0


def _machine() -> str:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    day = time.strftime("%Y-%m-%d")
    return f"{day}, {platform.machine()}, {os.cpu_count()} cores, load {load} at the start"


if __name__ == "__main__":
    sys.exit(main())
