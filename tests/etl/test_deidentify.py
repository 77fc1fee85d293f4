from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path

import pytest

from etl import deidentify
from etl.deidentify import (
    clean_raw,
    clean_word,
    load_key,
    pseudonym,
    safe_header,
    split_private,
)
from etl.readers.dicom_header import HEADER_KEYWORDS
from schemas.age import age_in_years
from schemas.errors import UsageError
from schemas.film import RawWords

KEY = bytes(range(32))

# DICOM PS3.15 table E.1-1, what the basic profile removes or replaces among the values we read.
IDENTIFYING = {
    "PatientID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "StudyDescription",
    "SeriesDescription",
    "PatientAge",
    "PatientSex",
    "AcquisitionTime",
    "ContentTime",
    "DerivationDescription",
    "ContrastBolusAgent",
}


def test_no_identifying_value_is_on_the_allow_list() -> None:
    assert set(HEADER_KEYWORDS) >= IDENTIFYING
    assert not deidentify.SAFE_KEYWORDS & IDENTIFYING
    named = [word for word in deidentify.SAFE_KEYWORDS if "Date" in word or "Name" in word]
    assert named == ["ManufacturerModelName"]


def test_safe_headers_lose_ids_and_odd_values_of_safe_keywords() -> None:
    header = {
        "Modality": "MG",
        "PatientID": "P1",
        "Manufacturer": "Doe^Jane",
        "ViewPosition": "CC",
        "TransferSyntaxUID": "1.2.840.10008.1.2.4.90",
        "BodyPartExamined": "BREAST 2011-03-04",
    }
    assert safe_header(header) == {
        "Modality": "MG",
        "ViewPosition": "CC",
        "TransferSyntaxUID": "1.2.840.10008.1.2.4.90",
    }


@pytest.mark.parametrize(
    "word",
    [
        "2020-01-31",
        "seen 31.12.1999",
        "20200131",
        "1/2/98",
        "1.2.840.113619.2.66.1",
        "DOE^JANE",
        "jane@clinic.example",
        "",
        "  ",
    ],
)
def test_dates_uids_names_and_addresses_are_dropped(word: str) -> None:
    assert clean_word(word) is None


@pytest.mark.parametrize(
    "word",
    [
        "BENIGN_WITHOUT_CALLBACK",
        "4A",
        "26%-50%",
        "Mass - spiculated, 3.5 cm",
        "R CC",
        "CIRC 595 864 68",
        "1.5",
        "Grade 2/3",
    ],
)
def test_words_of_findings_are_kept(word: str) -> None:
    assert clean_word(f" {word} ") == word


def test_raw_words_are_cleaned_field_by_field() -> None:
    words = RawWords(label="MALIGNANT", finding="biopsy 2010-05-06", status="CI")
    assert clean_raw(words) == RawWords(label="MALIGNANT", status="CI")
    assert deidentify.RAW_FIELDS == ("label", "density", "view", "finding", "status")


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("045Y", 45),
        ("61", 61),
        (" 61.9 ", 61),
        ("090Y", 90),
        ("101Y", 90),
        ("732.0m", 61),
        ("1080M", 90),
        ("000Y", None),
        ("", None),
        (None, None),
        ("old", None),
        ("-5", None),
    ],
)
def test_ages_are_full_years_and_90_is_the_last(text: str | None, age: int | None) -> None:
    assert age_in_years(text) == age


def test_pseudonyms_are_hmac_sha256_of_kind_and_value() -> None:
    reference = hmac.new(KEY, b"patient\0mias:1", hashlib.sha256).hexdigest()
    assert pseudonym(KEY, "patient", "mias:1") == reference[:12]
    assert pseudonym(KEY, "patient", "mias:1", digits=64) == reference


def test_kind_key_and_value_each_change_the_pseudonym() -> None:
    names = {
        pseudonym(key, kind, value)
        for key in (KEY, KEY[::-1])
        for kind in ("patient", "exam")
        for value in ("1", "11")
    }
    assert len(names) == 8


def test_a_key_file_is_read_without_the_blanks_around_it(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"0123456789abcdef0123456789abcdef\n")
    file.chmod(0o600)
    assert load_key(file) == b"0123456789abcdef0123456789abcdef"


def test_a_key_that_others_can_read_is_warned_about(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(KEY)
    file.chmod(0o644)
    with pytest.warns(UserWarning, match="can be read by others: run `chmod 600`"):
        load_key(str(file))


def test_short_and_missing_keys_are_refused(tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_bytes(b"secret")
    with pytest.raises(UsageError, match="holds 6 bytes, at least 32 are needed"):
        load_key(short)
    with pytest.raises(UsageError, match=r"cannot be read .*openssl rand -hex 32"):
        load_key(tmp_path / "none")


ROW = {
    "sample_id": "mias-0123456789ab",
    "redistributable": True,
    "film_key": "mdb001",
    "source_files": ["mdb001.pgm"],
    "pathology": "benign",
}


def test_rows_that_may_be_shared_are_published_whole() -> None:
    assert split_private(ROW, keyed=False) == (ROW, {})


@pytest.mark.parametrize(
    ("redistributable", "keyed"), [(True, True), (False, False), (False, True)]
)
def test_file_names_go_to_the_private_folder(redistributable: bool, keyed: bool) -> None:
    row = {**ROW, "redistributable": redistributable}
    public, private = split_private(row, keyed=keyed)
    assert public == {**row, "film_key": None, "source_files": None}
    assert private == {
        "sample_id": "mias-0123456789ab",
        "film_key": "mdb001",
        "source_files": ["mdb001.pgm"],
    }


def test_private_columns_are_nullable_columns_of_the_manifest() -> None:
    from schemas.manifest import MANIFEST_SCHEMA

    for name in deidentify.PRIVATE_COLUMNS:
        assert MANIFEST_SCHEMA.field(name).nullable


@pytest.mark.parametrize(
    ("maker", "model", "kept"),
    [
        ("HOLOGIC, Inc.", "Selenia Dimensions", ("HOLOGIC, Inc.", "Selenia Dimensions")),
        ("GE MEDICAL SYSTEMS", "Senographe DS", ("GE MEDICAL SYSTEMS", "Senographe DS")),
        ("FUJIFILM Corporation", None, ("FUJIFILM Corporation", None)),
        ("SIEMENS", "of Doe^Jane", ("SIEMENS", None)),
        ("Doe Clinic", "Selenia", (None, None)),
        ("George", "bought 2011-03-04", (None, None)),
        (None, "Selenia", (None, None)),
    ],
)
def test_devices_are_kept_where_their_maker_is_known(maker, model, kept) -> None:
    assert deidentify.clean_device(maker, model) == kept


def test_details_of_plans_are_not_quoted_and_others_lose_names_and_values() -> None:
    plan = deidentify.safe_detail("row 'Doe' of jane/t.csv", stage="plan", reason="bad_row")
    assert plan == "planning refused it (bad_row): the plan in the private folder says why"
    told = deidentify.safe_detail(
        "a/b.dcm: photometric is 'DOE' in b.dcm",
        stage="decode",
        reason="not_grey",
        hidden=("b.dcm", "a/b.dcm", ""),
    )
    assert told == "the file: photometric is a value in the file"


def test_veils_differ_by_kind_and_value_and_hide_both() -> None:
    names = {deidentify.veiled(kind, key) for kind in ("exam", "pair") for key in ("1.2", "1.3")}
    assert len(names) == 4
    assert all(re.fullmatch("[0-9a-f]{12}", name) for name in names)
