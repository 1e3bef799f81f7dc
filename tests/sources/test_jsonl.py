"""JSON lines and Parquet: one record, one document; one broken line, one error."""

import errno
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.sources import jsonl
from tests.sources.reading import read_all, reasons

LINES = [
    b'{"id": 1, "text": "first", "url": "http://a.example/", "lang": "en"}\n',
    b"{broken\n",
    b"[1, 2]\n",
    b'{"id": 2, "text": 5}\n',
    b'{"id": 3, "other": "x"}\n',
    b'{"id": 4, "text": "  "}\n',
    b"\xff\xfe\n",
    b"\n",
    b'{"id": 5, "text": "half a pair: \\ud83d"}',
]


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
def test_a_broken_line_is_one_error(suffix: str, tmp_path: Path) -> None:
    data = b"".join(LINES)
    (tmp_path / f"a.{suffix}").write_bytes(gzip.compress(data, mtime=0) if suffix.endswith("gz") else data)
    documents, rejected = read_all("jsonl", tmp_path, id_field="id", meta_fields=["lang"])
    assert list(documents) == ["1", "5"]
    assert reasons(rejected) == [*["error:malformed"] * 4, "quality:no_text", "error:malformed"]
    assert (documents["1"].url, documents["1"].meta) == ("http://a.example/", {"lang": "en"})
    assert documents["5"].origin == f"a.{suffix}:{sum(map(len, LINES[:-1]))}"


def test_a_truncated_gzip_keeps_what_came_before(tmp_path: Path) -> None:
    data = gzip.compress(b"".join(json.dumps({"text": f"document {n}"}).encode() + b"\n" for n in range(1000)))
    (tmp_path / "a.jsonl.gz").write_bytes(data[:-100])
    documents, rejected = read_all("jsonl", tmp_path)
    assert 100 < len(documents) < 1000
    assert reasons(rejected) == ["error:damaged"]


def test_a_line_without_end_is_not_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "MAX_LINE_BYTES", 1000)
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "' + b"x" * 5000 + b'"}\n' + LINES[0])
    documents, rejected = read_all("jsonl", tmp_path)
    assert [document.text for document in documents.values()] == ["first"]
    assert list(documents) == ["a.jsonl:2"]
    assert reasons(rejected) == ["error:too_large"]


def test_parquet(tmp_path: Path) -> None:
    table = pa.table({"text": [f"document {n}" for n in range(10)] + [None], "n": list(range(11))})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=4)
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no")
    documents, rejected = read_all("jsonl", tmp_path, "*.parquet", meta_fields=["n"])
    assert [document.text for document in documents.values()] == [f"document {n}" for n in range(10)]
    assert documents["a.parquet:10"].meta == {"n": "9"}
    assert reasons(rejected) == ["quality:no_text", "error:damaged"]


def test_a_parquet_row_that_is_not_utf8_is_one_error(tmp_path: Path) -> None:
    rows = pa.array([b"one", b"\xff\xfe", b"two"], pa.binary())
    pq.write_table(pa.table({"text": pa.Array.from_buffers(pa.string(), 3, rows.buffers())}), tmp_path / "a.parquet")
    documents, rejected = read_all("jsonl", tmp_path, "*.parquet")
    assert [document.text for document in documents.values()] == ["one", "two"]
    assert [(record.key, record.reason) for record in rejected] == [("a.parquet:2", "malformed")]


class FailingDisk(io.RawIOBase):
    """Two good lines, then an I/O error."""

    def __init__(self) -> None:
        self.lines = [LINES[0], LINES[0]]

    def readable(self) -> bool:
        return True

    def readinto(self, room: Any) -> int:
        if not self.lines:
            raise OSError(errno.EIO, "Input/output error")
        line = self.lines.pop()
        room[: len(line)] = line
        return len(line)


def test_an_error_of_the_disk_is_raised_so_that_the_split_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(LINES[0]))
    (tmp_path / "b.parquet").write_bytes(b"PAR1")

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(jsonl.gzip, "open", lambda *_: io.BufferedReader(FailingDisk()))
    monkeypatch.setattr(jsonl.pq, "ParquetFile", fail)
    for name in ("a.jsonl.gz", "b.parquet"):
        with pytest.raises(OSError, match="Input/output error") as error:
            read_all("jsonl", tmp_path, name)
        assert error.value.errno == errno.EIO


@pytest.mark.real
def test_real_jsonl(real_data: Path) -> None:
    documents, rejected = read_all("jsonl", real_data, "dedup/*.jsonl.gz", "news/*.jsonl.gz", id_field="id")
    assert (len(documents), rejected) == (1010, [])
