"""Zip and tar, member by member: damage, lies, bombs, links, names that climb; nothing is written to disk."""

import bz2
import gzip
import lzma
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.sources.books import archives
from tests.sources.packing import tarred, zipped
from tests.sources.reading import read_all, reasons

STORY = b"It was a bright cold day in April, and the clocks were striking thirteen."
PARTS = {"b/one.txt": STORY, "../../up.txt": STORY, "/etc/three.txt": STORY, "cover.jpg": b"\xff\xd8"}
KEYS = ["b/one.txt", "../../up.txt", "/etc/three.txt"]
PACKINGS = {
    "zip": lambda parts: zipped(parts), "tar": tarred, "tar.gz": lambda parts: gzip.compress(tarred(parts), mtime=0),
    "tar.bz2": lambda parts: bz2.compress(tarred(parts)), "tar.xz": lambda parts: lzma.compress(tarred(parts)),
    "tgz": lambda parts: gzip.compress(tarred(parts), mtime=0),
}  # fmt: skip


@pytest.mark.parametrize("packing", PACKINGS)
def test_every_archive_gives_the_same_books(packing: str, tmp_path: Path) -> None:
    (tmp_path / f"a.{packing}").write_bytes(PACKINGS[packing](PARTS))
    documents, rejected = read_all("bookcorpus", tmp_path)
    assert list(documents) == [f"a.{packing}/{key}" for key in KEYS]
    assert {document.text for document in documents.values()} == {STORY.decode()}
    assert reasons(rejected) == ["quality:unknown_format"]
    assert [path.name for path in tmp_path.rglob("*")] == [f"a.{packing}"], "nothing is unpacked to disk"


def test_origin_is_the_place_of_the_member(tmp_path: Path) -> None:
    raw = tarred(PARTS)
    (tmp_path / "a.tar").write_bytes(raw)
    (tmp_path / "b.tgz").write_bytes(gzip.compress(raw))
    documents, _ = read_all("bookcorpus", tmp_path)
    _, _, offset = documents["a.tar/../../up.txt"].origin.partition(":")
    assert raw[int(offset) :].startswith(b"../../up.txt")
    assert documents["b.tgz/../../up.txt"].origin == f"b.tgz:0+{offset}"


@pytest.mark.parametrize("packing", ["zip", "tar"])
def test_equal_names_are_told_apart(packing: str, tmp_path: Path) -> None:
    data = PACKINGS[packing]({"a.txt": STORY, "b.txt": STORY + b" B"}).replace(b"b.txt", b"a.txt")
    if packing == "tar":  # the checksum of the header knows its name
        data = tarred({"a.txt": STORY})[:1024] + tarred({"a.txt": STORY + b" B"})
    (tmp_path / f"x.{packing}").write_bytes(data)
    documents, rejected = read_all("bookcorpus", tmp_path)
    assert (list(documents), rejected) == ([f"x.{packing}/a.txt", f"x.{packing}/a.txt (2)"], [])


def test_links_of_a_tar_are_no_books(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tarred({"a.txt": STORY}, links=("passwd.txt",)))
    documents, rejected = read_all("bookcorpus", tmp_path)
    assert list(documents) == ["a.tar/a.txt"]
    assert [(record.key, record.kind, record.reason) for record in rejected] == [
        ("a.tar/passwd.txt", "quality", "not_a_file")
    ]


@pytest.mark.parametrize(("cut", "num_kept"), [(3072, 3), (1536 + 50, 1), (2560 + 50, 2), (512 + 50, 0)])
@pytest.mark.parametrize("packing", ["tar", "tar.gz"])
def test_a_truncated_tar_keeps_what_came_before(packing: str, cut: int, num_kept: int, tmp_path: Path) -> None:
    raw = tarred(dict.fromkeys(KEYS, STORY)).rstrip(b"\0") + b"\0" * (512 - len(STORY)) + b"\0" * 1024
    stored = gzip.compress(raw, 0)  # one block, as it is
    (tmp_path / f"a.{packing}").write_bytes(raw[:cut] if packing == "tar" else stored[: stored.find(raw[:cut]) + cut])
    documents, rejected = read_all("bookcorpus", tmp_path)
    assert reasons(rejected) == ["error:damaged"]
    assert list(documents) == [f"a.{packing}/{key}" for key in KEYS[:num_kept]]


def test_the_checksum_of_what_a_tar_is_packed_in_is_met(tmp_path: Path) -> None:
    """It lies behind the end mark, where tarfile reads no further."""
    packed = bytearray(gzip.compress(tarred(dict.fromkeys(KEYS, STORY)) + b"\0" * 3_000_000))
    packed[-8] ^= 1
    (tmp_path / "a.tar.gz").write_bytes(packed)
    documents, rejected = read_all("bookcorpus", tmp_path)
    assert list(documents) == [f"a.tar.gz/{key}" for key in KEYS]
    assert reasons(rejected) == ["error:damaged"]
    assert rejected[0].detail.startswith("BadGzipFile: CRC check failed")


def test_a_header_that_cannot_be_read_ends_the_archive_with_an_error(tmp_path: Path) -> None:
    """tarfile by itself would end without a word."""
    raw = bytearray(tarred(dict.fromkeys(KEYS, STORY)))
    raw[1024 + 150] ^= 1  # in the checksum of the second header
    (tmp_path / "a.tar").write_bytes(raw)
    documents, rejected = read_all("bookcorpus", tmp_path)
    assert list(documents) == ["a.tar/b/one.txt"]
    assert [(record.key, record.reason) for record in rejected] == [("a.tar", "damaged")]
    assert "bad checksum" in rejected[0].detail


def test_long_names_and_pax_headers_are_read_up_to_a_limit(tmp_path: Path) -> None:
    long = "x" * 300 + ".txt"
    (tmp_path / "a.tar").write_bytes(tarred({long: STORY}))
    (tmp_path / "b.tar.xz").write_bytes(lzma.compress(tarred({"y" * (3 << 20): STORY})))
    documents, rejected = read_all("bookcorpus", tmp_path)
    assert list(documents) == [f"a.tar/{long}"]
    assert [(record.key, record.reason, record.detail) for record in rejected] == [
        ("b.tar.xz", "too_large", "headers of more than 1048576 bytes")
    ]


def test_a_member_that_is_too_large_is_passed_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_BOOK_BYTES", 1 << 20)
    parts = {"a.txt": STORY, "bomb.txt": b"\0" * (20 << 20), "c.txt": STORY}
    (tmp_path / "a.tar.bz2").write_bytes(bz2.compress(tarred(parts)))
    tracemalloc.start()
    documents, rejected = read_all("bookcorpus", tmp_path)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert list(documents) == ["a.tar.bz2/a.txt", "a.tar.bz2/c.txt"]
    assert [(record.key, record.reason) for record in rejected] == [("a.tar.bz2/bomb.txt", "too_large")]
    assert peak_bytes < 10 << 20
    monkeypatch.setattr(archives, "MAX_SKIP_BYTES", 10 << 20)
    documents, rejected = read_all("bookcorpus", tmp_path)
    assert list(documents) == ["a.tar.bz2/a.txt"]
    assert rejected[0].detail == "bomb.txt has 20971520 bytes, what follows it is not read"


def test_a_zip_with_too_large_a_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_DIRECTORY_BYTES", 5_000)
    (tmp_path / "a.zip").write_bytes(zipped({f"{number}.txt": b"" for number in range(100)}))
    _, rejected = read_all("bookcorpus", tmp_path)
    assert [(record.reason, record.detail) for record in rejected] == [
        ("too_large", "a directory of 5190 bytes, 5000 are read")
    ]


def with_zip64_end(packed: bytes) -> bytes:
    """The sizes in a record of zip64, which zipfile believes; the old record says 46 bytes."""
    end = packed[-22:]
    size, offset = (int.from_bytes(end[at : at + 4], "little") for at in (12, 16))
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 100, 100, size, offset)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(packed) - 22, 1)
    return packed[:-22] + record + locator + end[:12] + (46).to_bytes(4, "little") + end[16:]


@pytest.mark.parametrize(
    "hidden",
    [
        with_zip64_end,
        lambda packed: packed[:-6] + b"PK\5\6\0\0",  # an offset that looks like the beginning of the record
        lambda packed: packed[:-2] + (46).to_bytes(2, "little") + b"PK\5\6" + bytes(42),  # the same in a comment
    ],
    ids=["zip64", "offset", "comment"],
)
def test_the_size_of_a_directory_cannot_be_hidden(
    hidden: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What zipfile would read counts: then it is refused, or nothing is read of it."""
    packed = hidden(zipped({f"{number}.txt": STORY for number in range(100)}))
    (tmp_path / "a.zip").write_bytes(packed)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        num_members = len(archive.infolist())
    monkeypatch.setattr(archives, "MAX_DIRECTORY_BYTES", 5_000)
    documents, rejected = read_all("bookcorpus", tmp_path)
    assert len(documents) == 0
    assert num_members == 0 or reasons(rejected) == ["error:too_large"]


@pytest.mark.parametrize("packing", ["zip", "tar"])
def test_too_many_members(packing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBERS", 2)
    monkeypatch.setattr("pipeline.sources.bookcorpus.MAX_MEMBERS", 2)
    (tmp_path / f"a.{packing}").write_bytes(PACKINGS[packing](dict.fromkeys(KEYS, STORY)))
    documents, rejected = read_all("bookcorpus", tmp_path)
    assert len(documents) == 2
    assert reasons(rejected) == ["error:too_large"]


def test_a_member_with_a_password_is_encrypted(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.txt": STORY, "b.txt": STORY}))
    data[data.index(b"PK\1\2") + 8] |= 1  # the flag in the directory
    (tmp_path / "a.zip").write_bytes(data)
    documents, rejected = read_all("bookcorpus", tmp_path)
    assert list(documents) == ["a.zip/b.txt"]
    assert reasons(rejected) == ["error:encrypted"]


def test_a_zip_of_epubs_of_zips_is_read_one_level_deep(tmp_path: Path) -> None:
    inner = zipped({"a.txt": STORY})
    (tmp_path / "a.zip").write_bytes(zipped({"b.zip": inner, "c.txt": STORY}, zipfile.ZIP_STORED))
    documents, rejected = read_all("bookcorpus", tmp_path)
    assert list(documents) == ["a.zip/c.txt"]
    assert reasons(rejected) == ["quality:unknown_format"]
