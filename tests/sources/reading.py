"""Read files through a source plugin, as a split does, without Ray."""

from pathlib import Path
from typing import Any

from pipeline.core.plugins import parse
from pipeline.core.schema import Document, Rejected
from pipeline.sources.base import PACKAGE, plugin
from pipeline.sources.run import find_files


def read_all(name: str, folder: Path, *paths: str, **settings: Any) -> tuple[dict[str, Document], list[Rejected]]:
    """Documents by key, and what was rejected, in order; every id occurs once."""
    config = parse(PACKAGE, {"name": name, "paths": list(paths) or ["**"], **settings})
    source = plugin(config)
    records = [
        record
        for file in find_files(config, folder)
        for part in source.splits(config, file)
        for record in source.read(config, part)
    ]
    documents = {record.key: record for record in records if isinstance(record, Document)}
    rejected = [record for record in records if isinstance(record, Rejected)]
    assert len(documents) + len(rejected) == len(records), "two documents have the same key"
    assert len({record.doc_id for record in records}) == len(records)
    return documents, rejected


def reasons(rejected: list[Rejected]) -> list[str]:
    return [f"{record.kind}:{record.reason}" for record in rejected]
