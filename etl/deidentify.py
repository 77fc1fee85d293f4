"""What of a release may reach a corpus, and the names that stand for what may not.

Three rules. Header values: a closed list of keywords, none of which names a person, a day or an
object. A release's own words (`raw`): five fields, and no word that looks like a date, a UID or a
person. Ids: with a key they become HMAC-SHA256 pseudonyms (RFC 2104), which nobody without the key
can recompute; file paths and film keys then live in the private folder only, as they always do for
releases that may not be passed on, whose examinations, pairs and lesions are digests in any case.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import stat
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from schemas.errors import UsageError
from schemas.film import RawWords

__all__ = [
    "PRIVATE_COLUMNS",
    "PSEUDONYM_COLUMNS",
    "SAFE_KEYWORDS",
    "clean_device",
    "clean_raw",
    "clean_word",
    "is_private",
    "load_key",
    "pseudonym",
    "safe_detail",
    "safe_header",
    "split_private",
    "veiled",
]

SAFE_KEYWORDS = frozenset(
    {
        "Modality",
        "Laterality",
        "ImageLaterality",
        "FrameLaterality",
        "ViewPosition",
        "PatientOrientation",
        "BodyPartExamined",
        "PresentationIntentType",
        "BreastImplantPresent",
        "PartialView",
        "LossyImageCompression",
        "Manufacturer",
        "ManufacturerModelName",
        "FieldOfViewHorizontalFlip",
        "EstimatedRadiographicMagnificationFactor",
        "PixelSpacing",
        "ImagerPixelSpacing",
        "NominalScannedPixelSpacing",
        "SliceThickness",
        "SpacingBetweenSlices",
        "Rows",
        "Columns",
        "NumberOfFrames",
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
        "PixelPaddingValue",
        "PixelPaddingRangeLimit",
        "WindowCenter",
        "WindowWidth",
        "VOILUTFunction",
        "RescaleSlope",
        "RescaleIntercept",
        "PresentationLUTShape",
        "ViewCodeValue",
        "ViewCodeMeaning",
        "ViewModifierCodeValue",
        "ViewModifierCodeMeaning",
        "TransferSyntaxUID",
    }
)
"""Header values that may leave a file: nothing of PS3.15 annex E's identifying attributes."""

PRIVATE_COLUMNS = ("film_key", "source_files")
"""Manifest columns that are null wherever `is_private` holds; `private/` keeps them."""

PSEUDONYM_COLUMNS = ("sample_id", "patient_id", "exam_id", "pair_key", "lesion_key")
"""Columns of manifest and lesions whose values are pseudonyms where a key is given."""

SHORTEST_KEY = 32
"""Bytes: as long as the digest (RFC 2104, section 3)."""

_FORBIDDEN = re.compile(
    r"""
      (?<!\d)(?:19|20)\d{2}[-/.]?(?:0[1-9]|1[0-2])[-/.]?(?:0[1-9]|[12]\d|3[01])(?!\d)  # 2020-01-31
    | (?<!\d)\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2})(?!\d)                             # 31.1.2020
    | (?<![\w.])\d+(?:\.\d+){4,}(?![\w.])                                              # a UID
    | \^                                                                               # DOE^JANE
    | \S@\S                                                                            # an address
    """,
    re.X,
)
_MAKERS = re.compile(
    r"""\b(?: agfa | canon | carestream | cytocare | dilon | eizo | esaote | fischer | fona
    | fuji\w* | ge | general\s+electric | genoray | giotto | hitachi | hologic | howtek | icad
    | icr\w* | ims | instrumentarium | kodak | konica\w* | lorad | lumisys | medi-?future
    | metaltronica | microdose | minolta | neusoft | phantom | philips | planmeca | planmed | r2
    | raffo | schick | sectra | shimadzu | siemens | sino\w* | toshiba | trex | united\s+imaging
    | villa | xcounter )\b""",
    re.X | re.I,
)
"""Makers of mammographs, scanners and digitisers, as words of their names."""
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


def safe_header(header: Mapping[str, str]) -> dict[str, str]:
    """Return the values of `SAFE_KEYWORDS` that also look safe."""
    kept = {key: header[key] for key in sorted(SAFE_KEYWORDS & header.keys())}
    # a transfer syntax is a UID of the standard, not of a patient
    return {
        key: text
        for key, text in kept.items()
        if key == "TransferSyntaxUID" or clean_word(text) is not None
    }


def clean_word(text: str | None) -> str | None:
    """Return a release's word, or None where it is empty or holds a date, UID, name or address."""
    if text is None or not text.strip() or _FORBIDDEN.search(text):
        return None
    return text.strip()


def clean_device(maker: str | None, model: str | None) -> tuple[str | None, str | None]:
    """Return maker and model of a device; both None where the maker is none that we know.

    The two are free text in a header, and a person or clinic is sometimes written there. A model's
    words cannot be listed; beside a known maker they are taken, unless `clean_word` refuses them.
    """
    name = clean_word(maker)
    if name is None or not _MAKERS.search(name):
        return None, None
    return name, clean_word(model)


def safe_detail(detail: str, *, stage: str, reason: str, hidden: Iterable[str] = ()) -> str:
    """Return why a film was rejected, without what a private release's files and tables hold.

    Parameters
    ----------
    detail
        The whole sentence; it stays in the private folder.
    stage
        Details of the stage `plan` quote tables and folders: they become one sentence by reason.
    hidden
        Names of the film, its patient and its files, to be replaced in the others. What stands in
        quotation marks comes from a file, too.
    """
    if stage == "plan":
        return f"planning refused it ({reason}): the plan in the private folder says why"
    for word in sorted(filter(None, hidden), key=len, reverse=True):
        detail = detail.replace(word, "the file")
    return _QUOTED.sub("a value", detail)


def veiled(kind: str, value: str) -> str:
    """Return a name for one of a private release's keys where no secret is given.

    Equal values get equal names. Without a secret, whoever holds the release can find the value;
    the corpus alone does not show it.
    """
    return hashlib.sha256(f"{kind}\0{value}".encode()).hexdigest()[:12]


def clean_raw(words: RawWords) -> RawWords:
    """Return the release's own words without those that `clean_word` refuses."""
    return RawWords(**{key: clean_word(text) for key, text in asdict(words).items()})


def load_key(file: str | Path) -> bytes:
    """Return the secret of a key file: its bytes without blanks around them.

    Warns where others than the owner may read the file.

    Raises
    ------
    UsageError
        The file cannot be read, or the key has fewer than 32 bytes.
    """
    path = Path(file)
    try:
        key = path.read_bytes().strip()
        mode = path.stat().st_mode
    except OSError as error:
        raise UsageError(
            f"--pseudonym-key {path} cannot be read ({error.strerror}): give a file with at least "
            f"{SHORTEST_KEY} random bytes, e.g. from `openssl rand -hex 32`"
        ) from error
    if len(key) < SHORTEST_KEY:
        raise UsageError(
            f"--pseudonym-key {path} holds {len(key)} bytes, at least {SHORTEST_KEY} are needed: "
            "make one with `openssl rand -hex 32`"
        )
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        warnings.warn(
            f"the pseudonym key {path} can be read by others: run `chmod 600` on it", stacklevel=2
        )
    return key


def pseudonym(key: bytes, kind: str, value: str, digits: int = 12) -> str:
    """Return the keyed name of a value: equal values of one kind get equal names.

    Parameters
    ----------
    key
        From `load_key`.
    kind
        What is named (`patient`, `exam`, ...): the same text under another kind has another name.
    value
        What the name stands for.
    digits
        Hex digits of the HMAC-SHA256 to keep; 12 as in every sample_id.
    """
    message = f"{kind}\0{value}".encode()
    return hmac.new(key, message, "sha256").hexdigest()[:digits]


def is_private(*, redistributable: bool, keyed: bool) -> bool:
    """Say whether film keys and file paths of a sample must stay out of the version."""
    return keyed or not redistributable


def split_private(row: Mapping[str, Any], *, keyed: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a manifest row as it may be published, and what the private folder keeps of it.

    The second is empty where nothing is private; else it joins by sample_id.
    """
    if not is_private(redistributable=bool(row["redistributable"]), keyed=keyed):
        return dict(row), {}
    public = {name: None if name in PRIVATE_COLUMNS else value for name, value in row.items()}
    private = {name: row[name] for name in PRIVATE_COLUMNS if name in row}
    return public, {"sample_id": row["sample_id"], **private}


RAW_FIELDS = tuple(item.name for item in fields(RawWords))
"""The five fields of a release's own words that a corpus keeps."""
