"""WARC and ARC records: every packing, cut into ranges, damaged in every place."""

import io
import random
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from fastwarc.stream_io import ZstdWriter, zstd_train_dictionary_from_samples

from pipeline.sources.base import InputFile
from pipeline.sources.web import warc, warc_packing
from pipeline.sources.web.warc import Record, records, splits
from pipeline.sources.web.warc_packing import ZSTD
from tests.sources.warcs import http, member, record

PAGES = [record(http(random.Random(n).randbytes(200 + 37 * n)), f"http://a.example/{n}") for n in range(60)]
PACKINGS = ("plain", "gz", "gz in one", "zstd", "zstd in one")


def pack(parts: list[bytes], packing: str) -> bytes:
    if packing == "plain":
        return b"".join(parts)
    if "one" in packing:
        parts = [b"".join(parts)]
    packed = [member(part) if "gz" in packing else pa.compress(part, codec="zstd", asbytes=True) for part in parts]
    return b"".join(packed)


def write(folder: Path, data: bytes) -> InputFile:
    path = folder / "a.warc"
    path.write_bytes(data)
    return InputFile(path, path.name, path.name, len(data), 0)


def read(file: InputFile) -> list[Record]:
    return [record for part in splits(file) for record in records(part)]


def told(found: list[Record]) -> list[str]:
    """Numbers of the pages, and errors."""
    return [one.error or one.url.rpartition("/")[2] for one in found]


ALL = [str(number) for number in range(60)]


@pytest.mark.parametrize("packing", PACKINGS)
def test_every_record_is_in_one_range(packing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path, pack(PAGES, packing))
    whole = read(file)
    assert told(whole) == ALL
    assert [one.block for one in whole] == [page.partition(b"\r\n\r\n")[2][:-4] for page in PAGES]
    for limit in (1, 700, 5_000, 20_000):
        monkeypatch.setattr(warc, "SPLIT_BYTES", limit)
        parts = splits(file)
        assert [replace(one, origin="") for one in read(file)] == [replace(one, origin="") for one in whole]
        assert packing == "zstd" or read(file) == whole, "of zstd, what decompresses from the start of the range counts"
        assert parts[0].start == 0
        assert parts[-1].end is None
        assert sum(part.num_bytes for part in parts) == file.num_bytes
        can_be_split = packing in ("plain", "gz", "zstd")
        assert len(parts) == 1 if not can_be_split else len(parts) > (30 if limit == 1 else 1)


@pytest.mark.parametrize("packing", PACKINGS)
def test_pieces_of_any_size(packing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path, pack(PAGES, packing))
    whole = read(file)
    for name in ("PIECE_BYTES", "READ_BYTES"):
        monkeypatch.setattr(warc_packing, name, 61)
        assert read(file) == whole


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_truncated_file_keeps_its_whole_records(packing: str, tmp_path: Path) -> None:
    data = pack(PAGES, packing)
    for cut in (1, 3, 40, 150, 900):
        found = told(read(write(tmp_path, data[:-cut])))
        errors = [one for one in found if one not in ALL]
        assert errors in (["truncated"], ["damaged"], [] if packing == "plain" and cut <= 4 else None), (cut, errors)
        kept = found[: len(found) - len(errors)]
        assert kept == ALL[: len(kept)]
        if "one" not in packing:
            assert len(kept) >= 58


@pytest.mark.parametrize("is_packed", [False, True])
def test_zstd_with_a_dictionary_in_its_first_frame(
    is_packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The IIPC's draft: a skippable frame of magic 0x184D2A5D holds it, packed or not; the others need it."""
    pages = [record(http(f"<p>The weir of page {n} was opened.</p>".encode() * 3), f"http://a.example/{n}")
             for n in range(60)]  # fmt: skip
    packed = io.BytesIO()
    dictionary = zstd_train_dictionary_from_samples(pages, 4096)
    writer = ZstdWriter(packed, dictionary=dictionary, compress_dictionary_frame=is_packed)
    for page in pages:
        writer.write(page)
        writer.finish()
    writer.flush()
    data = packed.getvalue()
    assert data.startswith(b"\x5d\x2a\x4d\x18")
    assert told(read(write(tmp_path, data))) == ALL
    size = 8 + int.from_bytes(data[4:8], "little")
    assert set(told(read(write(tmp_path, data[size:])))) == {"damaged"}, "without it nothing is read"
    broken = bytearray(data)
    broken[data.index(ZSTD, len(data) * 3 // 4) - 5] ^= 0xFF
    assert len(set(ALL) - set(told(read(write(tmp_path, bytes(broken)))))) == 1
    monkeypatch.setattr(warc, "SPLIT_BYTES", 300)
    file = write(tmp_path, data)
    assert len(splits(file)) > 3
    assert told(read(file)) == ALL


@pytest.mark.parametrize("packing", ["plain", "gz", "zstd"])
@pytest.mark.parametrize("where", ["start", "middle"])
def test_a_damaged_file_is_read_around_the_damage(packing: str, where: str, tmp_path: Path) -> None:
    sizes = [len(pack([page], packing)) for page in PAGES]
    hit = 0 if where == "start" else 30
    at = sum(sizes[:hit])
    data = bytearray(pack(PAGES, packing))
    data[at : at + 60] = bytes(60)
    found = told(read(write(tmp_path, bytes(data))))
    assert [one for one in found if one in ALL] == [one for one in ALL if one != str(hit)]
    errors = [one for one in found if one not in ALL]
    assert len(errors) == 1
    assert errors[0] in ("damaged", "truncated")


def with_length(page: bytes, length: object) -> bytes:
    head, _, rest = page.partition(b"Content-Length: ")
    return head + b"Content-Length: " + str(length).encode() + b"\r\n" + rest.partition(b"\r\n")[2]


@pytest.mark.parametrize(
    ("length", "errors"),
    [
        (10, ["damaged"]),  # what lies behind is no record
        (1000, ["truncated"]),
        (3000, ["truncated"]),  # reaches over three records
        ("", ["malformed"]),
        ("-1", ["malformed"]),
        ("1e3", ["malformed"]),
        ("9" * 40, ["malformed"]),
    ],
)
@pytest.mark.parametrize("packing", ["plain", "gz", "gz in one"])
def test_a_length_that_lies_costs_one_record(length: object, errors: list[str], packing: str, tmp_path: Path) -> None:
    parts = [*PAGES[:3], with_length(PAGES[3], length), *PAGES[4:]]
    found = read(write(tmp_path, pack(parts, packing)))
    assert [one for one in told(found) if one not in ALL] == errors
    others = [one for one in told(found) if one in ALL and one != "3"]
    assert others == [one for one in ALL if one != "3"]
    (error,) = (one for one in found if one.error)
    assert "bytes" in error.detail


def test_too_large_records_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warc, "MAX_RECORD_BYTES", 50_000)
    large = record(bytes(60_000), "http://a.example/large")
    for packing in PACKINGS:
        found = read(write(tmp_path, pack([PAGES[0], large, PAGES[1]], packing)))
        assert told(found) == ["0", "too_large", "1"], packing
        assert found[1].detail == "60000 bytes, 60000 passed over"
        assert found[1].url == "http://a.example/large"


def test_a_length_beyond_the_end_of_the_file(tmp_path: Path) -> None:
    """Of a plain file nobody can tell where the next record begins: one error says how much is lost."""
    (found,) = read(write(tmp_path, with_length(PAGES[0], 10**12) + PAGES[1]))
    lost = len(PAGES[0].partition(b"\r\n\r\n")[2]) + len(PAGES[1])
    assert (found.error, found.detail) == ("truncated", f"1000000000000 bytes, {lost} passed over")


def test_a_bomb_is_left_at_the_next_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warc, "MAX_PASSED_BYTES", 1 << 20)
    bombs = [record(bytes(30 << 20), "http://a.example/bomb"), PAGES[1][:-2] + bytes(30 << 20)]
    file = write(tmp_path, b"".join(map(member, [PAGES[0], *bombs, PAGES[2]])))
    found = read(file)
    assert told(found) == ["0", "too_large", "1", "damaged", "2"]
    assert "more than 1048576 bytes that are no record to keep" in found[3].detail
    assert found[1].detail.startswith("31457280 bytes, 1")


def test_arc(tmp_path: Path) -> None:
    one, two = http(b"<p>one"), http(b"<p>two")
    first = b"filedesc://a.arc 127.0.0.1 20140216050221 text/plain 10\n2 0 Crawl\n\n"
    urls = (b"http://a.example/1", b"http://a.example/a page")
    version_1 = [first] + [
        b"%s 93.184.216.119 20140216050221 text/html %d\n%s\n" % (url, len(body), body)
        for url, body in zip(urls, (one, two), strict=True)
    ]
    version_2 = [first] + [
        b"%s 93.184.216.119 20140216050221 text/html 200 - - 0 a.arc %d\n%s\n" % (url, len(body), body)
        for url, body in zip(urls, (one, two), strict=True)
    ]
    for parts in (version_1, version_2):
        for packing in ("plain", "gz", "zstd"):
            found = read(write(tmp_path, pack(parts, packing)))
            assert [(record.kind, record.url) for record in found] == [
                ("filedesc", "filedesc://a.arc"), ("response", urls[0].decode()), ("response", urls[1].decode()),
            ]  # fmt: skip
            assert [record.block for record in found[1:]] == [one, two]
            assert found[1].date == "2014-02-16T05:02:21Z"


def test_headers_in_every_form(tmp_path: Path) -> None:
    head = (
        "WARC/1.1\nwarc-type:RESPONSE\nWARC-Target-URI: <http://a.example/\u00e4>\nX: a\n b\nX: c\nContent-Length:4\n\n"
    )
    (found,) = read(write(tmp_path, b"\r\n" + head.encode() + b"page"))
    assert (found.kind, found.url, found.block) == ("response", "http://a.example/\u00e4", b"page")
    assert found.headers["x"] == "a b"


def test_mutated_files_never_raise_and_end(tmp_path: Path) -> None:
    rng = random.Random(0)
    for packing in ("plain", "gz", "zstd"):
        data = pack(PAGES[:10], packing)
        for _ in range(60):
            mutated = bytearray(data)
            for _ in range(rng.randrange(1, 6)):
                at = rng.randrange(len(mutated))
                mutated[at : at + rng.randrange(40)] = rng.randbytes(rng.randrange(40))
            found = read(write(tmp_path, bytes(mutated)))
            assert len(found) < 40
            assert len({one.origin for one in found}) == len(found)
