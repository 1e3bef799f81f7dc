"""JSON lines, Parquet, Arrow, dataset folders: one record, one document; one broken line, one error."""

import bz2
import errno
import gzip
import hashlib
import io
import json
import lzma
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.plugins import PluginMistake
from pipeline.sources import columns, jsonl, lines
from pipeline.sources.columns import read_batches
from pipeline.sources.run import find_files
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


PACK = {
    "": lambda data: data,
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: zstd(data[:100]) + zstd(data[100:]),  # two frames, as parallel compressors write them
}


def zstd(data: bytes) -> bytes:
    packed = pa.BufferOutputStream()
    with pa.CompressedOutputStream(packed, "zstd") as stream:
        stream.write(data)
    return packed.getvalue().to_pybytes()


@pytest.mark.parametrize("suffix", PACK)
def test_a_broken_line_is_one_error(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"a.jsonl{suffix}").write_bytes(PACK[suffix](b"".join(LINES)))
    documents, rejected = read_all("jsonl", tmp_path, id_field="id", meta_fields=["lang"])
    assert list(documents) == ["1", "5"]
    assert reasons(rejected) == [*["error:malformed"] * 4, "quality:no_text", "error:malformed"]
    assert (documents["1"].url, documents["1"].meta) == ("http://a.example/", {"lang": "en", "page": "a.example"})
    assert documents["5"].meta == {}
    offset = sum(map(len, LINES[:-1]))
    assert documents["5"].origin == (f"a.jsonl{suffix}:0+{offset}" if suffix else f"a.jsonl:{offset}")


@pytest.mark.parametrize("charset", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_another_unicode_form_is_known_by_its_byte_order_mark(
    charset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In pieces that cut characters; lines end at "\\n" alone."""
    monkeypatch.setattr(lines, "PIECE_BYTES", 7)
    monkeypatch.setattr(jsonl, "SPLIT_BYTES", 50)
    texts = ["é 🖕", "line\u2028separator \u0a0a", "half \ud83d", "end"]
    raw = "\ufeff" + "\n".join(json.dumps({"text": text}, ensure_ascii=False) for text in texts)
    (tmp_path / "a.jsonl").write_bytes(raw.encode(charset, "surrogatepass"))
    documents, rejected = read_all("jsonl", tmp_path)
    assert [document.text for document in documents.values()] == texts
    assert not rejected
    (tmp_path / "a.jsonl").write_bytes(raw.encode(charset, "surrogatepass")[:-1])
    documents, rejected = read_all("jsonl", tmp_path)
    assert [document.text for document in documents.values()] == texts[:-1]
    assert reasons(rejected)[-1] == "error:damaged"


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_a_truncated_file_keeps_what_came_before(suffix: str, tmp_path: Path) -> None:
    data = b"".join(json.dumps({"text": f"document {n} {hash_of(n)}"}).encode() + b"\n" for n in range(11_000))
    (tmp_path / f"a.jsonl{suffix}").write_bytes(PACK[suffix](data)[:-200])
    documents, rejected = read_all("jsonl", tmp_path)
    assert 1000 < len(documents) < 11_000
    assert reasons(rejected)[-1] == "error:damaged"
    assert set(reasons(rejected)[:-1]) <= {"error:malformed"}, "at most the line that was cut"


def hash_of(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


@pytest.mark.parametrize("piece", [1, 7, 64, 100, 1000])
def test_a_large_file_is_read_in_ranges_and_every_line_once(
    piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"".join(LINES))
    whole = read_all("jsonl", tmp_path)
    monkeypatch.setattr(jsonl, "SPLIT_BYTES", piece)
    assert (
        len(jsonl.splits(jsonl.Config(name="jsonl"), find_files(jsonl.Config(name="jsonl"), tmp_path)[0])) > 100 / piece
    )
    assert read_all("jsonl", tmp_path) == whole


def test_a_line_longer_than_a_range_is_read_by_the_range_in_which_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "SPLIT_BYTES", 100)
    monkeypatch.setattr(lines, "PIECE_BYTES", 30)
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 1000)
    texts = ["a" * 950, "b", "c" * 350, "d" * 5000, "e"]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    documents, rejected = read_all("jsonl", tmp_path)
    assert [document.text for document in documents.values()] == [texts[i] for i in (0, 1, 2, 4)]
    assert [(record.reason, record.detail) for record in rejected] == [("too_large", "5013 bytes")]


def test_a_text_too_large_for_the_splitter_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "MAX_TEXT_BYTES", 100)
    texts = ["a" * 100, "b" * 101, "é" * 50, "é" * 51]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    pq.write_table(pa.table({"text": texts}), tmp_path / "b.parquet")
    documents, rejected = read_all("jsonl", tmp_path)
    assert [document.text for document in documents.values()] == [texts[0], texts[2]] * 2
    details = ["101 bytes of text, 100 are read", "102 bytes of text, 100 are read"]
    assert [(record.reason, record.detail) for record in rejected] == [("too_large", said) for said in details * 2]


def test_a_line_without_end_is_not_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 1000)
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "' + b"x" * 5000 + b'"}\n' + LINES[0])
    documents, rejected = read_all("jsonl", tmp_path)
    assert [document.text for document in documents.values()] == ["first"]
    assert list(documents) == ["a.jsonl:5013"]
    assert reasons(rejected) == ["error:too_large"]


def test_parquet(tmp_path: Path) -> None:
    table = pa.table({"text": [f"document {n}" for n in range(10)] + [None], "n": list(range(11))})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=4)
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no")
    documents, rejected = read_all("jsonl", tmp_path, "*.parquet", meta_fields=["n"])
    assert [document.text for document in documents.values()] == [f"document {n}" for n in range(10)]
    assert documents["a.parquet:10"].meta == {"n": "9"}
    assert reasons(rejected) == ["quality:no_text", "error:damaged"]


def test_of_a_large_row_group_little_is_held_at_a_time(tmp_path: Path) -> None:
    draw = random.Random(0)
    texts = [draw.randbytes(1000).hex() for _ in range(40_000)]  # 40 MB packed
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet", use_dictionary=False, row_group_size=40_000)
    before = pa.total_allocated_bytes()
    rows = read_batches(tmp_path / "a.parquet", {"text"})
    next(rows)
    assert pa.total_allocated_bytes() - before < 16 << 20


REPEATED = pa.DictionaryArray.from_arrays(pa.array([None] + [0] * 300, pa.int32()), ["y" * 1_000_000])
PLAIN = REPEATED.dictionary_decode()


@pytest.mark.parametrize(
    ("table", "wanted", "encoding"),
    [
        (pa.table({"text": REPEATED}), "text", {}),
        (pa.table({"text": PLAIN}), "text", {"text": "DELTA_BYTE_ARRAY"}),
        (pa.table({"a": pa.StructArray.from_arrays([pa.nulls(301), PLAIN], ["n", "b"])}), "a.b", {}),
        (pa.table({"a": pa.ListArray.from_arrays(list(range(301)), PLAIN[1:])}), "a", {}),
    ],
    ids=["dictionary", "delta", "struct", "list"],
)
def test_a_value_that_is_stored_once_and_repeated_by_every_row_is_no_bomb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: pa.Table, wanted: str, encoding: dict[str, str]
) -> None:
    """The file has some kilobytes; its rows are 300 MB."""
    monkeypatch.setattr(columns, "BATCH_BYTES", 4_000_000)
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, compression="zstd", use_dictionary=not encoding, column_encoding=encoding or None)
    assert path.stat().st_size < 1 << 20
    sizes = [batch.num_rows for _, batch in read_batches(path, {wanted})]
    assert max(sizes) <= 4
    assert sum(sizes) == table.num_rows
    pq.write_table(pa.table({"text": [f"short {n}" for n in range(5000)]}), path)
    assert [batch.num_rows for _, batch in read_batches(path, {"text"})] == [1000] * 5


def test_a_parquet_row_that_is_not_utf8_is_one_error(tmp_path: Path) -> None:
    rows = pa.array([b"one", b"\xff\xfe", b"two"], pa.binary())
    pq.write_table(pa.table({"text": pa.Array.from_buffers(pa.string(), 3, rows.buffers())}), tmp_path / "a.parquet")
    documents, rejected = read_all("jsonl", tmp_path, "*.parquet")
    assert [document.text for document in documents.values()] == ["one", "two"]
    assert [(record.key, record.reason) for record in rejected] == [("a.parquet:2", "malformed")]


def test_a_field_of_a_field(tmp_path: Path) -> None:
    rows = [{"a": {"b": "nested", "n": 1}}, {"a": None}, {"a.b": "flat", "a": {"b": "nested"}}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.table({"a": [row.get("a") for row in rows], "x": [1, 2, 3]}), tmp_path / "b.parquet")
    documents, rejected = read_all("jsonl", tmp_path, text_field="a.b", meta_fields=["a.n"])
    assert [document.text for document in documents.values()] == ["nested", "flat", "nested", "nested"]
    assert documents["a.jsonl:0"].meta == documents["b.parquet:1"].meta == {"a.n": "1"}
    assert [record.detail for record in rejected] == ["no field 'a.b'; it has a", "no field 'a.b'; it has a, x"]


def test_one_page_is_one_whatever_the_file(tmp_path: Path) -> None:
    urls = ["http://www.a.example/1/?utm_source=x", "https://a.example/1#top", "ftp://a.example/1", "", None]
    rows = [{"text": f"text {number}", "link": {"to": url}} for number, url in enumerate(urls)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "b.parquet")
    write_arrow(tmp_path / "c.arrow", pa.Table.from_pylist(rows), stream=True)
    documents, _ = read_all("jsonl", tmp_path, url_field="link.to")
    assert [document.meta for document in documents.values()] == [{"page": "a.example/1"}] * 2 + [{}] * 3 + (
        [{"page": "a.example/1"}] * 2 + [{}] * 3) * 2  # fmt: skip
    assert next(iter(documents.values())).url == urls[0]
    documents, _ = read_all("jsonl", tmp_path)
    assert not any(document.meta for document in documents.values())
    with pytest.raises(PluginMistake, match="'page' of `meta` is made of the URL"):
        read_all("jsonl", tmp_path, meta_fields=["page"])


def test_rows_of_one_id_and_text_but_two_urls_are_two_documents(tmp_path: Path) -> None:
    for name in ("a", "b"):
        row = {"id": "1", "text": "one text", "url": f"https://{name}.example/"}
        pq.write_table(pa.Table.from_pylist([row]), tmp_path / f"{name}.parquet")
    found = [read_all("jsonl", tmp_path, f"{name}.parquet", id_field="id")[0]["1"].doc_id for name in ("a", "b", "a")]
    assert found[0] == found[2] != found[1]


@pytest.mark.parametrize("form", ["parquet", "arrow", "stream.arrow"])
def test_a_table_without_the_text_field_names_its_columns(form: str, tmp_path: Path) -> None:
    table = pa.table({"content": ["The weir was opened."], "url": ["https://a.example/"], "n": [1]})
    if form == "parquet":
        pq.write_table(table, tmp_path / "a.parquet")
    else:
        write_arrow(tmp_path / f"a.{form}", table, stream="stream" in form)
    for settings in ({}, {"url_field": "", "title_field": "", "date_field": ""}):
        documents, rejected = read_all("jsonl", tmp_path, **settings)
        assert (documents, [record.detail for record in rejected]) == (
            {}, ["no field 'text'; it has content, url, n"])  # fmt: skip


def write_arrow(path: Path, table: pa.Table, stream: bool, compression: str | None = None, rows: int = 4) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.OSFile(str(path), "wb") as file, new(file, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=rows)


TABLE = pa.table({"n": list(range(11)), "text": [f"document {n}" for n in range(10)] + [None]})


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("compression", [None, "zstd"])
def test_arrow(stream: bool, compression: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_arrow(tmp_path / "a.arrow", TABLE, stream, compression)
    whole = read_all("jsonl", tmp_path, meta_fields=["n"])
    assert [document.text for document in whole[0].values()] == [f"document {n}" for n in range(10)]
    assert (whole[0]["a.arrow:10"].meta, whole[0]["a.arrow:10"].origin) == ({"n": "9"}, "a.arrow:9")
    assert reasons(whole[1]) == ["quality:no_text"]
    monkeypatch.setattr("pipeline.sources.base.group.__defaults__", (1,))  # every record batch a range of its own
    config = jsonl.Config(name="jsonl", meta_fields=("n",))
    parts = jsonl.splits(config, find_files(config, tmp_path)[0])
    assert [(part.start, part.end) for part in parts] == [(0, 1), (1, 2), (2, 3)]
    assert read_all("jsonl", tmp_path, meta_fields=["n"]) == whole


@pytest.mark.parametrize("stream", [False, True])
def test_a_truncated_arrow_file_is_one_error(stream: bool, tmp_path: Path) -> None:
    write_arrow(tmp_path / "a.arrow", TABLE, stream)
    data = (tmp_path / "a.arrow").read_bytes()
    (tmp_path / "a.arrow").write_bytes(data[: len(data) * 2 // 3])
    documents, rejected = read_all("jsonl", tmp_path)
    assert len(documents) == (4 if stream else 0), "a file without its footer tells nothing"
    assert reasons(rejected) == ["error:damaged"]


def test_arrow_offsets_that_lead_out_of_the_file_are_an_error_and_not_a_crash(tmp_path: Path) -> None:
    write_arrow(tmp_path / "a.arrow", TABLE.select(["text"]).slice(0, 4), stream=True)
    data = bytearray((tmp_path / "a.arrow").read_bytes())
    offsets = b"".join(number.to_bytes(4, "little") for number in (0, 10, 20, 30, 40))
    at = data.index(offsets)
    data[at + 8 : at + 12] = (-(10**9)).to_bytes(4, "little", signed=True)
    (tmp_path / "a.arrow").write_bytes(data)
    documents, rejected = read_all("jsonl", tmp_path)
    assert (documents, reasons(rejected)) == ({}, ["error:damaged"])


def test_an_arrow_row_that_is_not_utf8_is_one_error(tmp_path: Path) -> None:
    rows = pa.array([b"one", b"\xff\xfe", b"two"], pa.binary())
    write_arrow(tmp_path / "a.arrow", pa.table({"text": pa.Array.from_buffers(pa.string(), 3, rows.buffers())}), True)
    documents, rejected = read_all("jsonl", tmp_path)
    assert [document.text for document in documents.values()] == ["one", "two"]
    assert [(record.key, record.reason) for record in rejected] == [("a.arrow:2", "malformed")]


def test_a_dataset_folder_as_save_to_disk_writes_it(tmp_path: Path) -> None:
    """Two splits of Arrow streams with descriptions beside them, and what `map` and `filter` leave there."""
    folder = tmp_path / "corpus"
    for split, start in (("train", 0), ("test", 8)):
        for number in range(2):
            rows = TABLE.slice(start + number, 1)
            write_arrow(folder / split / f"data-{number:05}-of-00002.arrow", rows, stream=True)
        (folder / split / "dataset_info.json").write_text('{"features": {"text": {"dtype": "string"}}}')
        (folder / split / "state.json").write_text('{"_data_files": [{"filename": "data-00000-of-00002.arrow"}]}')
    write_arrow(folder / "train/cache-0123456789abcdef.arrow", TABLE, stream=True)
    (folder / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    documents, rejected = read_all("jsonl", tmp_path, "corpus")
    assert {key: document.text for key, document in documents.items()} == {
        "test/data-00000-of-00002.arrow:1": "document 8", "test/data-00001-of-00002.arrow:1": "document 9",
        "train/data-00000-of-00002.arrow:1": "document 0", "train/data-00001-of-00002.arrow:1": "document 1",
    }  # fmt: skip
    assert reasons(rejected) == ["quality:not_data"] * 6


def test_wide_rows_are_read_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "BATCH_BYTES", 3_000_000)
    pq.write_table(
        pa.table({"text": [f"{n}" + "x" * 1_000_000 for n in range(8)]}),
        tmp_path / "a.parquet",
        compression="none",
        use_dictionary=False,
    )
    batches = list(columns.read_batches(tmp_path / "a.parquet", {"text"}))
    assert max(batch.num_rows for _, batch in batches) <= 3
    assert [first for first, _ in batches] == [sum(b.num_rows for _, b in batches[:i]) for i in range(len(batches))]


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

    monkeypatch.setitem(lines._OPEN, "gzip", lambda _: io.BufferedReader(FailingDisk()))
    monkeypatch.setattr(columns.pq, "ParquetFile", fail)
    for name in ("a.jsonl.gz", "b.parquet"):
        with pytest.raises(OSError, match="Input/output error") as error:
            read_all("jsonl", tmp_path, name)
        assert error.value.errno == errno.EIO


@pytest.mark.real
def test_real_jsonl(real_data: Path) -> None:
    documents, rejected = read_all("jsonl", real_data, "dedup/*.jsonl.gz", "news/*.jsonl.gz", id_field="id")
    assert (len(documents), rejected) == (1010, [])
