from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from beam_jobs.cli import main

PROJECT = Path(__file__).parents[2]
COMMANDS = [
    *("sources", "verify-release", "index", "plan", "estimate", "run", "validate", "audit"),
    *("show", "card", "diff", "export-coco", "gc", "phantoms"),
]


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """Return what was said on stderr: one line, no traceback."""
    err = capsys.readouterr().err
    assert err.startswith("mammo-etl: ")
    assert "Traceback" not in err
    return err


def test_help_lists_what_is_built_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    listed = [
        line.split()[1] for line in shown.splitlines() if line.startswith("│ ") and line[2] != " "
    ]
    assert sorted(word for word in listed if not word.startswith("-")) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"Example: mammo-etl {command}" in capsys.readouterr().out


def test_sources_say_how_to_get_them_and_under_which_licence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["sources"]) == 0
    shown = capsys.readouterr().out
    for word in ("mias", "cbis_ddsm", "Creative Commons", "http"):
        assert word in shown


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        ("rum", 2, "run"),
        ("run --output out", 2, "--release"),
        ("run --release mias=/nowhere", 2, "--output"),
        ("run --release mais=/nowhere --output out", 2, "did you mean 'mias'"),
        ("run --release mias --output out", 2, "write KEY=PATH"),
        ("run --release mias=a --release mias=b --output out", 2, "twice"),
        ("run --release mias=/nowhere --output out", 1, "/nowhere"),
        ("run --release mias=/nowhere --output out --worker 3", 2, "did you mean --workers"),
        ("run --release mias=/nowhere --output out --workers 0", 2, "at least 1"),
        ("run --release mias=/nowhere --output out --pixel-mm 0", 2, "--pixel-mm"),
        ("run --release mias=/nowhere --output out --payload jpg", 2, "jpg"),
        ("run --release mias=/nowhere --output out --base v-1", 2, "no such version"),
        ("run --release mias=s3://a/b --output out", 2, "s3://"),
        ("plan --release mias=/nowhere --output out --pseudonym-key none", 1, "/nowhere"),
        ("validate out", 1, "mammo-etl run"),
        ("audit out", 1, "mammo-etl run"),
        ("show out --output sheet.png", 1, "mammo-etl run"),
        ("card out", 1, "mammo-etl run"),
        ("diff out out", 1, "mammo-etl run"),
        ("export-coco out --output a.json", 1, "mammo-etl run"),
        ("export-coco out --output a.json --images", 2, "needs a folder"),
        ("estimate --release mias=/nowhere", 1, "/nowhere"),
        ("phantoms --output out --sources emboss", 2, "emboss"),
        ("phantoms --output out --patients 0", 2, "at least 1"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_a_status(
    words: str,
    status: int,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == status
    assert sentence in said(capsys)


def test_the_entry_point_imports_nothing_heavy() -> None:
    code = (
        "import sys; import beam_jobs.cli; "
        "print(sorted({'apache_beam', 'cv2', 'pydicom', 'pandas', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_child_imports_no_beam() -> None:
    code = "import sys; import beam_jobs.child; print('apache_beam' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_phantoms_go_in_and_a_corpus_comes_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["phantoms", "--output", "films", "--sources", "mias", "--patients", "2"]) == 0
    assert main(["verify-release", "mias=films/mias"]) == 0
    assert main(["plan", "--release", "mias=films/mias", "--output", "out"]) == 0
    assert "mias" in capsys.readouterr().out
    run = [
        "run",
        "--release",
        "mias=films/mias",
        "--output",
        "out",
        "--workers",
        "2",
        "--tag",
        "first",
    ]
    assert main(run) == 0
    assert "out/v-" in capsys.readouterr().out
    assert main(["validate", "out", "--deep"]) == 0
    assert main(["audit", "out"]) == 0
    assert "0 samples leak" in capsys.readouterr().out
    assert main(["show", "out", "--output", "sheet.png"]) == 2
    assert "sheet.png would hold pixels that may not be passed on" in said(capsys)
    assert main(["show", "out", "--output", "sheet.png", "--acknowledge-licence"]) == 0
    assert (tmp_path / "sheet.png").stat().st_size > 10_000
    assert main(["gc", "out"]) == 0
    shard = next((tmp_path / "out/shards").rglob("*.tar"))
    data = bytearray(shard.read_bytes())
    data[600] ^= 1
    shard.chmod(0o644)
    shard.write_bytes(data)
    assert main(["validate", "out"]) == 1
    assert "has 1 problems" in said(capsys)
