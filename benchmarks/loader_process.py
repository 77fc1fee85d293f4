"""A contender's process, from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Answer", "Process"]

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Answer:
    """What a contender delivered: seconds, and rows and digests of pixels in their order."""

    seconds: float
    rows: list[int]
    digests: list[str]

    @property
    def by_row(self) -> list[str]:
        """Digests in the order of the rows' numbers."""
        return [digest for _, digest in sorted(zip(self.rows, self.digests, strict=True))]

    def refuse_unless_all(self, count: int) -> None:
        """Refuse an epoch that did not show every film once."""
        if sorted(self.rows) != list(range(count)):
            raise SystemExit(f"an epoch showed {len(set(self.rows))} of {count} films")


class Process:
    """Runs `benchmarks.loader_contenders` until it is closed."""

    def __init__(
        self,
        kind: str,
        place: str,
        python: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = kind
        command = [str(python or sys.executable), "-m", "benchmarks.loader_contenders", kind, place]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(environment or {}), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def epoch(
        self, workers: int, decoded: bool, number: int, *, start: int = 0, digest: bool = False
    ) -> Answer:
        """Have one epoch delivered, from batch `start` on."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the process has no pipes")
        asked = {"workers": workers, "decoded": decoded, "epoch": number}
        asked |= {"start": start, "digest": digest}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.kind} ended with {self._process.wait()}")
        return Answer(**json.loads(line))

    def close(self) -> None:
        """End it: it ends by itself when there are no more questions."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
