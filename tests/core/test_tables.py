"""Documents files: what reading them costs."""

import random
from pathlib import Path

import pyarrow as pa

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
