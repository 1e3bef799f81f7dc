"""Read files through a source plugin, as a split does, without Ray; list them as another process does."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from pipeline.core.plugins import parse
from pipeline.core.schema import Document, Rejected
from pipeline.sources.base import PACKAGE, SourceConfig, plugin
from pipeline.sources.run import find_files
from tests.processes import ROOT


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


def source(*paths: str, **settings: Any) -> SourceConfig:
    """A section of jsonl."""
    config = parse(PACKAGE, {"name": "jsonl", "paths": list(paths), **settings})
    assert isinstance(config, SourceConfig)
    return config


def reasons(rejected: list[Rejected]) -> list[str]:
    return [f"{record.kind}:{record.reason}" for record in rejected]


LIST = """
import sys
from pipeline.core.errors import UserError
from pipeline.core.plugins import parse
from pipeline.sources.run import find_files
config = parse("pipeline.sources", {"name": "jsonl", "paths": [sys.argv[2]]})
try:
    print(*(file.name for file in find_files(config, sys.argv[1])))
except UserError as error:
    print(error)
"""
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE")


def listed(input: str, pattern: str, **environment: str) -> str:
    """The names of the files, or why there are none, in a process that begins with these variables."""
    ours = {name: value for name, value in os.environ.items() if name not in CERTIFICATES}
    command = [sys.executable, "-c", LIST, input, pattern]
    done = subprocess.run(command, cwd=ROOT, env=ours | environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()
