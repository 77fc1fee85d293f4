"""Make releases, a corpus, two networks, an evaluation and pictures; print each command first.

Real input: eight CBIS-DDSM films (see `demo.real_films`). Known truth: phantom MIAS and CBIS-DDSM
releases, drawn by code. Everything lands under one folder, and a second start goes on where the
first one ended.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from demo.arrange import add_real_films

ETL = (sys.executable, "-m", "beam_jobs")
TRAIN = (sys.executable, "-m", "mammo_train")
NAMES = {ETL: "mammo-etl", TRAIN: "mammo-train"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; the status of the first command that fails, else 0."""
    options = _parser().parse_args(arguments)
    out = Path(options.output)
    releases, corpus, model = out / "releases", out / "corpus", out / "model"
    mias, cbis = f"mias={releases / 'mias'}", f"cbis_ddsm={releases / 'cbis_ddsm'}"
    begin = time.monotonic()

    if not (releases / "complete").exists():
        _title("Two phantom releases in their true layout, and eight real CBIS-DDSM films")
        patients, seed = str(options.patients), str(options.seed)
        _run(ETL, "phantoms", "--output", releases, "--patients", patients, "--seed", seed)
        print(f"added {add_real_films(releases / 'cbis_ddsm')} real films")
        (releases / "complete").touch()

    _title("Releases in, corpus out")
    workers = ("--workers", str(options.workers))
    _run(ETL, "run", "--release", mias, "--release", cbis, "--output", corpus, *workers)
    _run(ETL, "validate", corpus, "--deep")
    # MIAS may not be passed on; these films of it are drawn by code
    sheet = out / "contact-sheet.png"
    _run(ETL, "show", corpus, "--output", sheet, "--acknowledge-licence")

    _title("A U-Net that finds lesions, a ResNet that classifies them")
    preset = ("--preset", options.preset)
    _run(TRAIN, "run", "--data", corpus, "--work", model, *preset)
    _run(TRAIN, "evaluate", "--data", corpus, "--work", model, "--output", out / "report")

    _farewell(out, time.monotonic() - begin)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--output", default="demo-out", help="folder for everything that is made")
    parser.add_argument("--patients", type=int, default=40, help="phantom patients a release")
    parser.add_argument("--seed", type=int, default=7, help="seed of the phantoms")
    parser.add_argument("--workers", type=int, default=2, help="processes that read films")
    parser.add_argument("--preset", default="smoke", help="smoke, small or base")
    return parser


def _title(text: str) -> None:
    print(f"\n=== {text}", flush=True)


def _run(program: tuple[str, ...], *arguments: str | Path) -> None:
    words = [str(argument) for argument in arguments]
    print(f"\n$ {NAMES[program]} {shlex.join(words)}", flush=True)
    done = subprocess.run([*program, *words], check=False)
    if done.returncode:
        sys.exit(done.returncode)


def _farewell(out: Path, seconds: float) -> None:
    print(
        f"""
=== Done in {seconds / 60:.1f} minutes. Research use only: not a medical device.

  {out}/contact-sheet.png   the corpus, lesions drawn
  {out}/corpus/             manifest (Parquet), lesions, shards (tar)
  {out}/model/              checkpoints, curves.png of each stage
  {out}/report/             metrics.json, test samples with truth, prediction, patch and score

Query it:
  python -c "import schemas; print(schemas.open('{out}/corpus').frame().groupby(
             ['source', 'split', 'pathology']).size())"

Your own films next (README.md says how to get them):
  mammo-etl run --release mias=PATH/all-mias --output corpus
  mammo-etl run --release cbis_ddsm=PATH/CBIS-DDSM --output corpus --workers 2
  mammo-train run --data corpus --work model --preset small"""
    )


if __name__ == "__main__":
    sys.exit(main())
