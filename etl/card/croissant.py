"""croissant.json: the version in the words of MLCommons Croissant 1.1, with its RAI vocabulary.

https://mlcommons.org/croissant/1.1 and http://mlcommons.org/croissant/RAI/1.0. Paths are relative
to the file, so a copied corpus still describes itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from schemas.columns import Column
from schemas.corpus import Corpus
from schemas.dataset import SourceSummary
from schemas.lesions import LESION_COLUMNS
from schemas.manifest import MANIFEST_COLUMNS
from schemas.receipt import about_receipt

__all__ = ["croissant"]

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_HOME = "../.."
"""From `cards/<version>/` to the corpus."""
_TABLES = {"manifest": MANIFEST_COLUMNS, "lesions": LESION_COLUMNS}
_URL = "https://mlcommons.org/croissant/"
"""Of the format: a corpus that lies on a disk has no page of its own."""

Json = dict[str, Any]


def croissant(corpus: Corpus) -> bytes:
    """Return the file's bytes: sorted keys, indented for people, one final newline."""
    sources = corpus.dataset.sources
    tars = {key: list(_tars(corpus, summary)) for key, summary in sources.items()}
    made = sum(summary.counts.made for summary in sources.values())
    document = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": f"mammo-corpus-{corpus.version}",
        "conformsTo": [
            "http://mlcommons.org/croissant/1.1",
            "http://mlcommons.org/croissant/RAI/1.0",
        ],
        "description": (
            f"{made} images of breasts from {len(sources)} public releases in one form, with "
            "labels, what each label rests on, and lesions in native and standard coordinates. "
            "Research use only; not a medical device."
        ),
        "version": f"1.0.0+{corpus.version}",
        "url": _URL,
        "creator": [
            {"@type": "sc:Organization", "name": summary.title, "url": summary.url}
            for summary in sources.values()
        ],
        "license": sorted({summary.licence_title for summary in sources.values()}),
        "citeAs": "; ".join(summary.citation for summary in sources.values()),
        "keywords": ["mammography", "breast imaging", "segmentation", "classification"],
        "isLiveDataset": False,
        **_responsible(sources),
        "distribution": [
            *(file for key in sources for file in _table_files(corpus, key)),
            *(tar for key in sources for tar in tars[key]),
            *(_members(key, tars[key], sources[key].spec) for key in sources if tars[key]),
        ],
        "recordSet": [
            *(_record_set(kind, key) for key in sources for kind in _TABLES),
            *(_images(key) for key in sources if tars[key]),
        ],
    }
    return json.dumps(document, sort_keys=True, indent=1).encode() + b"\n"


def _responsible(sources: dict[str, SourceSummary]) -> Json:
    private = sorted(key for key, summary in sources.items() if not summary.redistributable)
    kept = sorted(key for key, summary in sources.items() if not summary.weights_releasable)
    return {
        "rai:dataCollection": "Read from the releases as published: "
        + "; ".join(f"{summary.title} ({summary.url})" for summary in sources.values()),
        "rai:dataPreprocessingProtocol": [
            "Oriented so that the chest wall is on the left, cropped to the breast, background "
            "blackened, grey levels windowed to 16 bits, area-averaged to the standard pixel; "
            "nothing is enlarged.",
        ],
        "rai:dataAnnotationProtocol": [
            "Each label is the release's own; label_basis says on what it rests (biopsy, "
            "follow-up, BI-RADS, a reader's opinion, implied, ...). No label was added.",
        ],
        "rai:dataLimitations": [
            "Unlabelled is unknown, never normal. BI-RADS 4 without biopsy is unknown.",
            "Labels of different basis are not equally sure; compare within a basis.",
            "Releases differ in machine, population and selection: a network can tell them apart.",
            f"Pixels that may not be passed on: {', '.join(private) or 'none'}.",
            f"Weights learnt from these may not be released: {', '.join(kept) or 'none'}.",
        ],
        "rai:dataBiases": [
            "Cancers are far more frequent than in screening; most releases are of one country.",
        ],
        "rai:dataUseCases": [
            "Research on detection, segmentation and classification of breast lesions; never "
            "diagnosis.",
        ],
        "rai:personalSensitiveInformation": [
            "Health data of persons, de-identified by their publishers; age in years, 90 or more "
            "as 90; no dates.",
        ],
    }


def _table_files(corpus: Corpus, source: str) -> Iterator[Json]:
    for kind in _TABLES:
        path = f"{corpus.version}/{kind}/{source}.parquet"
        data = corpus.store.read(path)
        yield {
            "@type": "cr:FileObject",
            "@id": f"{kind}-{source}.parquet",
            "name": f"{kind}-{source}.parquet",
            "contentUrl": f"{_HOME}/{path}",
            "contentSize": f"{len(data)} B",
            "encodingFormat": "application/x-parquet",
            "sha256": hashlib.sha256(data).hexdigest(),
        }


def _tars(corpus: Corpus, summary: SourceSummary) -> Iterator[Json]:
    for receipt in summary.receipts:
        about = about_receipt(corpus.store.read(receipt), receipt)
        if about["shard"]:
            yield {
                "@type": "cr:FileObject",
                "@id": about["shard"],
                "name": about["shard"].rpartition("/")[2],
                "contentUrl": f"{_HOME}/{about['shard']}",
                "contentSize": f"{about['tar_size']} B",
                "encodingFormat": "application/x-tar",
                "sha256": about["tar_sha256"],
            }


def _members(source: str, tars: list[Json], spec: Json) -> Json:
    payload = spec.get("payload", "png")
    return {
        "@type": "cr:FileSet",
        "@id": f"images-{source}",
        "name": f"images-{source}",
        "description": f"16-bit grey {payload}, named by sample_id; masks (*.mask.png) and facts "
        "(*.json) lie beside them",
        "containedIn": [{"@id": tar["@id"]} for tar in tars],
        "encodingFormat": f"image/{payload}",
        "includes": f"{source}-????????????.{payload}",
    }


def _record_set(kind: str, source: str) -> Json:
    name = f"{kind}-{source}"
    keys = ("sample_id",) if kind == "manifest" else ("sample_id", "lesion_id")
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"One row a {'sample' if kind == 'manifest' else 'lesion'} of {source}",
        "key": [{"@id": f"{name}/{key}"} for key in keys],
        "field": [
            _field(column, name)
            for column in _TABLES[kind]
            if not pa.types.is_struct(column.type)  # readers of the format know no structs
        ],
    }


def _field(column: Column, record_set: str) -> Json:
    meaning = column.meaning + (f" [{column.unit}]" if column.unit else "")
    if column.words is not None:
        meaning += f"; one of {', '.join(column.words)}"
    field: Json = {
        "@type": "cr:Field",
        "@id": f"{record_set}/{column.name}",
        "name": column.name,
        "description": meaning,
        "dataType": _data_type(column.type),
        "source": {
            "fileObject": {"@id": f"{record_set}.parquet"},
            "extract": {"column": column.name},
        },
    }
    if pa.types.is_list(column.type):
        field |= {"isArray": True, "arrayShape": "-1"}
    return field


def _data_type(kind: pa.DataType) -> str:
    while pa.types.is_list(kind):
        kind = kind.value_type
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    return "sc:Float" if pa.types.is_floating(kind) else "sc:Text"


def _images(source: str) -> Json:
    name, files = f"pictures-{source}", {"fileSet": {"@id": f"images-{source}"}}
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"Standard images of {source} by sample_id",
        "key": [{"@id": f"{name}/sample_id"}],
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/sample_id",
                "name": "sample_id",
                "description": "Key of the sample",
                "dataType": "sc:Text",
                "source": {
                    **files,
                    "extract": {"fileProperty": "filename"},
                    "transform": {"regex": "^([^.]*)"},
                },
                "references": {"field": {"@id": f"manifest-{source}/sample_id"}},
            },
            {
                "@type": "cr:Field",
                "@id": f"{name}/image",
                "name": "image",
                "description": "The standard image",
                "dataType": "sc:ImageObject",
                "source": {**files, "extract": {"fileProperty": "content"}},
            },
        ],
    }
