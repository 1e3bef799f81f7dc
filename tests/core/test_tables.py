"""Documents files: what writing and reading them costs."""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.schema import Document, document_id
from pipeline.core.tables import DocumentWriter, read_documents


def test_of_a_large_documents_file_little_is_held_at_a_time(tmp_path: Path) -> None:
    draw = random.Random(0)
    with DocumentWriter(tmp_path, "sources") as writer:
        for number in range(40_000):
            text = draw.randbytes(500).hex()  # 20 MB packed
            writer.keep(Document(document_id("s", str(number), b""), "s", str(number), "", text))
    before = pa.total_allocated_bytes()
    documents = read_documents(tmp_path / "documents.parquet")
    assert next(documents).key == "0"
    assert pa.total_allocated_bytes() - before < 12 << 20


@pytest.mark.parametrize("place", ["text", "title", "key", "meta"])
def test_whatever_is_long_in_a_document_is_written_and_read_a_row_group_at_a_time(place: str, tmp_path: Path) -> None:
    """A row group held only as many as their texts told: 200 MB of titles were kept in memory to the end."""
    long = "\u00e9" * (10 << 20)  # 20 MB
    with DocumentWriter(tmp_path, "sources") as writer:
        for number in range(10):
            said = {"key": "", "text": "short", place: {"a": long} if place == "meta" else long}
            document = Document(document_id("s", str(number), b""), "s", origin="", **said)  # type: ignore[arg-type]
            writer.keep(document)
    groups = pq.read_metadata(tmp_path / "documents.parquet").num_row_groups
    assert groups == 3
    if place == "key":
        assert pq.read_metadata(tmp_path / "ledger.parquet").num_row_groups == groups
    before = pa.total_allocated_bytes()
    documents = read_documents(tmp_path / "documents.parquet")
    next(documents)
    assert pa.total_allocated_bytes() - before < 150 << 20, "all of it is 200 MB"
