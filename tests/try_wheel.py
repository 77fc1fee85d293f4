"""Build the wheel, install its core alone in a fresh environment, and try it there.

Shows that `import schemas` and the two commands' help need none of the extras, that nothing from
the tests is installed, and that a command whose extra is missing says so in one sentence.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = {"schemas", "etl", "beam_jobs", "mammo_train"}

CORE = """
import sys
import schemas
from schemas.errors import MammoError
try:
    schemas.open("nowhere")
except MammoError as error:
    assert "no corpus at nowhere" in str(error), error
else:
    raise SystemExit("opening a folder without corpus did not fail")
heavy = {"apache_beam", "torch", "cv2", "pydicom"} & set(sys.modules)
assert not heavy, heavy
"""


def main() -> int:
    """Return 0 where everything holds; raise otherwise."""
    with tempfile.TemporaryDirectory() as folder:
        wheel = _build(Path(folder))
        _check_content(wheel)
        python = _install(wheel, Path(folder) / "env")
        _run(python, "-c", CORE)
        for command in ("mammo-etl", "mammo-train"):
            text = _run(python.parent / command, "--help")
            assert command in text, text
        (Path(folder) / "mdb001.pgm").write_bytes(b"P5 1 1 255 0")
        release = ("--release", f"mias={folder}", "--output", f"{folder}/out")
        _says_what_to_install(python.parent / "mammo-etl", "run", *release)
        data = ("--data", folder, "--work", f"{folder}/work")
        _says_what_to_install(python.parent / "mammo-train", "run", *data)
    print("wheel: built, installed alone, tried")
    return 0


def _says_what_to_install(*command: str | Path) -> None:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done
    assert "pip install" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr, done.stderr


def _build(folder: Path) -> Path:
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    return next(folder.glob("*.whl"))


def _check_content(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    rooms = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert rooms == ROOMS, f"the wheel holds {sorted(rooms)}"


def _install(wheel: Path, folder: Path) -> Path:
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    try:
        uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", python, wheel]
        subprocess.run(uv, check=True, capture_output=True)
    except subprocess.CalledProcessError:
        _run(python, "-m", "pip", "install", "--quiet", wheel)
    return python


def _run(*command: str | Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
