"""Bad input of every kind, for every source: a row or a clear error, the rest unharmed, bounded memory, no litter."""

import bz2
import errno
import gzip
import io
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import UserError
from pipeline.core.ledger import Ledger
from pipeline.core.plugins import parse
from pipeline.core.schema import Document
from pipeline.core.shard_map import Workers
from pipeline.core.tables import read_documents
from pipeline.sources.base import PACKAGE, SourceConfig
from pipeline.sources.run import STAGE, _read, _splits, find_files, read_split, run
from tests.processes import ROOT
from tests.sources.packing import bomb, chapter, dump, make_epub, response, tarred, web_page, wiki_page, zipped

STORY = "It was a bright cold day in April, and the clocks were striking thirteen. Nobody in the street looked up."
LINE = json.dumps({"text": STORY}).encode() + b"\n"
WEB = web_page(*[STORY * 3] * 4)
NOISE = random.Random(0).randbytes(9999)  # which does not compress
PAGES = [wiki_page(f"Weir {number}", STORY) for number in range(40)]
RECORDS = [response(WEB, f"http://a.example/{number}") for number in range(40)]
LAUGHS = '<!DOCTYPE lolz [<!ENTITY a "ha">' + "".join(
    f'<!ENTITY {name} "{f"&{inner};" * 10}">' for inner, name in zip("abcdefghi", "bcdefghij", strict=True)
) + "]>"  # fmt: skip
EXTERNAL = '<!DOCTYPE x [<!ENTITY j SYSTEM "file:///etc/passwd">]>'
GOOD = {
    "jsonl": ("good.jsonl", LINE),
    "wikipedia": ("good.xml", dump(wiki_page("Good", STORY))),
    "cc_news": ("good.warc", response(WEB, "http://good.example/")),
    "bookcorpus": ("good.txt", STORY.encode()),
}


def parquet(**columns: Any) -> bytes:
    packed = io.BytesIO()
    pq.write_table(pa.table({"text": [f"document {number}" for number in range(1000)], **columns}), packed)
    return packed.getvalue()


def arrow(num_batches: int = 2, rows: int = 1000) -> bytes:
    packed = io.BytesIO()
    batch = pa.record_batch({"text": [f"document {number}" for number in range(rows)]})
    with pa.ipc.new_file(packed, batch.schema) as writer:
        for _ in range(num_batches):
            writer.write_batch(batch)
    return packed.getvalue()


# per source: file, bytes, least number of documents that are kept of it, number of errors
Case = tuple[str, bytes, int, int]
JSONL: list[Case] = [
    ("truncated.jsonl.gz", gzip.compress(LINE + NOISE.hex().encode() + b"\n" + LINE)[:-20], 1, 1),
    ("checksum.jsonl.gz", gzip.compress(LINE)[:-8] + b"\0" * 8, 1, 1),
    ("garbage.jsonl.gz", gzip.compress(LINE) + b"garbage", 1, 1),
    ("nul.jsonl", b'{"text": "a\\u0000b"}\n\0\0\0\n{"text": "\0"}\n' + LINE, 2, 2),
    ("utf-16.jsonl", '{"text": "é"}\n{"text": "è"}\n'.encode("utf-16-le"), 0, 2),
    ("mixed.jsonl", '{"text": "é"}\n'.encode() + '{"text": "é"}\n'.encode("latin-1"), 1, 1),
    ("deep.jsonl", b"[" * 100_000 + b"\n" + LINE, 1, 1),
    ("digits.jsonl", b'{"text": "x", "n": ' + b"9" * 5000 + b"}\n" + LINE, 1, 1),
    ("footer.parquet", parquet()[:-30] + b"\xff" * 22 + parquet()[-8:], 0, 1),
    ("length.parquet", parquet()[:-8] + b"\xff\xff\xff\x7fPAR1", 0, 1),
    ("truncated.parquet", parquet()[:-100], 0, 1),
    ("zone.parquet", parquet(date=pa.array([0] * 1000, pa.timestamp("s", tz="Mars/Phobos"))), 0, 1000),
]
WIKIPEDIA: list[Case] = [
    ("truncated.xml.bz2", b"".join(map(bz2.compress, (dump().partition(b"</media")[0], *PAGES)))[:-20], 39, 1),
    ("truncated.xml.gz", gzip.compress(dump(*PAGES, wiki_page("Noise", NOISE.hex())))[:-30], 39, 1),
    ("laughs.xml", LAUGHS.encode() + dump(PAGES[0], wiki_page("Bomb", "&j;"), PAGES[1]), 2, 1),
    ("external.xml", EXTERNAL.encode() + dump(PAGES[0], wiki_page("Bomb", "&j;"), PAGES[1]), 2, 1),
    ("nul.xml", dump(PAGES[0], wiki_page("Nul", "a\0b"), PAGES[1]), 2, 1),
    ("utf-16.xml", dump(*PAGES).decode().encode("utf-16"), 40, 0),
    ("nul-between.xml", b"\0" * 99 + dump(PAGES[0], b"\0" * 99, PAGES[1]) + b"\0" * 99, 2, 0),
    ("nul.xml.bz2", bz2.compress(dump(PAGES[0], wiki_page("Nul", "a\0b"), PAGES[1])) + b"\0" * 99, 2, 1),
    ("utf-16-laughs.xml", (LAUGHS.encode() + dump(PAGES[0], wiki_page("Bomb", "&j;"))).decode().encode("utf-16"), 1, 1),
    ("no-bytes.xml.bz2", bz2.compress(b""), 0, 1),
    ("no-bytes.xml.gz", gzip.compress(b""), 0, 1),
    ("mixed.xml", dump(PAGES[0], wiki_page("Mixed", "café ?").replace(b"?", b"\xe9"), PAGES[1]), 2, 1),
    ("text.xml", b"no dump", 0, 1),
]
CC_NEWS: list[Case] = [
    ("truncated.warc.gz", b"".join(map(gzip.compress, RECORDS))[:-100], 39, 1),
    ("truncated.warc", b"".join(RECORDS)[:-300], 39, 1),
    ("longer.warc", RECORDS[0] + response(WEB, "http://a.example/long", excess=5000), 1, 1),
    ("http-length.warc", response(WEB, "http://a.example/length", "Content-Length: 99999999") + RECORDS[0], 2, 0),
    ("http-short.warc", response(WEB, "http://a.example/length", "Content-Length: 3") + RECORDS[0], 2, 0),
    ("nul.warc", response(WEB.replace(b"cold", b"co\0ld"), "http://a.example/nul") + RECORDS[0], 2, 0),
    ("utf-16.warc", response(WEB.decode().encode("utf-16"), "http://a.example/utf-16") + RECORDS[0], 2, 0),
    ("mixed.warc", response(WEB + "é".encode() + b"\xe9", "http://a.example/mixed") + RECORDS[0], 2, 0),
    ("text.warc", b"no WARC\n" * 20, 0, 1),
]
BOOKCORPUS: list[Case] = [
    ("nul.txt", STORY.encode() + b"\0" * 100, 0, 1),
    ("utf-16.txt", STORY.encode("utf-16"), 1, 0),
    ("mixed.txt", (STORY * 20).encode() + "é".encode() + b"\xe9", 1, 0),
    ("up.zip", zipped({"../../up.txt": STORY.encode(), "/abs.txt": STORY.encode()}), 2, 0),
    ("up.tar", tarred({"../../up.txt": STORY.encode(), "/abs.txt": STORY.encode()}), 2, 0),
    ("truncated.txt.gz", gzip.compress(STORY.encode())[:-4], 0, 1),
    ("truncated.txt.bz2", bz2.compress(STORY.encode())[:-4], 0, 1),
    ("truncated.tar.gz", gzip.compress(tarred({"a.txt": STORY.encode(), "b.txt": NOISE}))[:-4000], 1, 1),
    ("truncated.zip", zipped({"a.txt": STORY.encode()})[:-30], 0, 1),
    ("laughs.epub", make_epub(**{"OEBPS/a.opf": LAUGHS + "<package>&j;</package>"}), 0, 1),
    ("page.epub", make_epub(**{"OEBPS/a.xhtml": LAUGHS + chapter("Two", "&j;")}), 1, 0),
    ("external.epub", make_epub(**{"OEBPS/a.xhtml": EXTERNAL + chapter("Two", "&j;")}), 1, 0),
    ("bomb.epub", bomb(make_epub(**{"OEBPS/a.xhtml": "@"}), "OEBPS/a.xhtml", 10 << 30), 0, 1),
    ("bomb.zip", bomb(zipped({"a.txt": STORY.encode(), "bomb.txt": b"@"}), "bomb.txt", 10 << 30), 1, 1),
]
BAD = {"jsonl": JSONL, "wikipedia": WIKIPEDIA, "cc_news": CC_NEWS, "bookcorpus": BOOKCORPUS}


def config(name: str, *paths: str) -> SourceConfig:
    parsed = parse(PACKAGE, {"name": name, "paths": list(paths) or ["**"], "max_error_rate": 1})
    assert isinstance(parsed, SourceConfig)
    return parsed


def read_folder(name: str, folder: Path, out: Path) -> tuple[list[Any], dict[str, int]]:
    """Documents and counts of the folder, read as one split."""
    splits = _splits(config(name), find_files(config(name), folder))
    out.mkdir()
    counts = read_split((config(name), [part for split in splits for part in split.task[1]]), out)
    return list(read_documents(out / "documents.parquet")), counts


@pytest.mark.parametrize(("name", "case"), [(name, case) for name, cases in BAD.items() for case in cases],
                         ids=[f"{name}-{case[0]}" for name, cases in BAD.items() for case in cases])  # fmt: skip
def test_bad_input_costs_no_more_than_itself(name: str, case: Case, tmp_path: Path) -> None:
    file, data, kept, errors = case
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / file).write_bytes(data)
    good, bytes_ = GOOD[name]
    (tmp_path / "in" / good).write_bytes(bytes_)
    documents, counts = read_folder(name, tmp_path / "in", tmp_path / "out")
    assert counts["in"] == counts["kept"] + counts["dropped"]
    assert counts["kept"] >= kept + 1
    assert counts["errors"] == errors
    assert sum(document.origin.startswith(good) for document in documents) == 1
    assert not any("root:" in document.text or "ha" * 50 in document.text for document in documents)
    assert {path.name for path in tmp_path.rglob("*")} == {
        "in", "out", file, good, "documents.parquet", "ledger.parquet"
    }  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_a_file_without_a_byte_has_its_row(name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for file in ("empty", "empty.zip", "empty.gz", GOOD[name][0]):
        (tmp_path / "in" / file).write_bytes(GOOD[name][1] if file == GOOD[name][0] else b"")
    _, counts = read_folder(name, tmp_path / "in", tmp_path / "out")
    assert (counts["kept"], counts["dropped"], counts["errors"]) == (1, 3, 0)
    reasons = pq.read_table(tmp_path / "out/ledger.parquet").column("reason").to_pylist()
    assert reasons.count("empty_file") == 3


@pytest.mark.parametrize("name", GOOD)
def test_what_is_no_file_is_an_error_of_its_own(name: str, tmp_path: Path) -> None:
    (tmp_path / "in/circle").mkdir(parents=True)
    (tmp_path / "in" / GOOD[name][0]).write_bytes(GOOD[name][1])
    (tmp_path / "in/circle/up").symlink_to(tmp_path / "in")
    os.mkfifo(tmp_path / "in/a-pipe")
    (tmp_path / "in/b-device").symlink_to("/dev/zero")
    (tmp_path / "in/c-gone").symlink_to(tmp_path / "nowhere")
    _, counts = read_folder(name, tmp_path / "in", tmp_path / "out")
    assert (counts["kept"], counts["errors"]) == (1, 3)
    ledger = pq.read_table(tmp_path / "out/ledger.parquet").to_pylist()
    assert [(row["key"], row["detail"]) for row in ledger if row["reason"] == "not_a_file"] == [
        ("a-pipe", "a pipe"), ("b-device", "a device"), ("c-gone", "a link to nothing")
    ]  # fmt: skip


MEASURE = """
import sys
from pathlib import Path
from tests.sources.test_bad_input import read_folder
_, counts = read_folder(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
peak_kb = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(counts["kept"], counts["errors"], peak_kb)  # ru_maxrss would be that of the process which started this one
"""
HUGE = {  # file, its size, how it begins and ends
    "jsonl": ("huge.jsonl", 1 << 30, b'{"text": "', b'"}\n'),
    "wikipedia": (
        "huge.xml",
        1 << 30,
        dump(wiki_page("Huge", "")).partition(b"</text>")[0],
        b"</text></revision></page>\n",
    ),
    "cc_news": ("huge.warc", 1 << 30, RECORDS[0] + b"WARC/1.0\r\nX-Header: ", b"\r\n\r\n"),
    "bookcorpus": ("huge.txt", 1 << 30, b"", b""),
}


@pytest.mark.parametrize("name", HUGE)
def test_a_line_without_end_is_not_held_in_memory(name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / GOOD[name][0]).write_bytes(GOOD[name][1])
    file, num_bytes, before, after = HUGE[name]
    with open(tmp_path / "in" / file, "wb") as huge:
        huge.write(before)
        huge.truncate(num_bytes)  # a hole of NUL bytes, which takes no room on the disk
        huge.seek(0, os.SEEK_END)
        huge.write(after)
    command = [sys.executable, "-c", MEASURE, name, str(tmp_path / "in"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120, check=True)
    kept, errors, peak_kb = map(int, done.stdout.split())
    assert kept >= 1
    assert errors == 1
    assert peak_kb < 1 << 20


def test_a_bomb_of_ten_gigabytes_takes_bounded_memory(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for file, data, _, _ in BOOKCORPUS[-2:]:
        (tmp_path / "in" / file).write_bytes(data)
        assert len(data) < 20 << 20
    command = [sys.executable, "-c", MEASURE, "bookcorpus", str(tmp_path / "in"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120, check=True)
    kept, errors, peak_kb = map(int, done.stdout.split())
    assert (kept, errors) == (1, 2)
    assert peak_kb < 1 << 20


HOSTILE: dict[str, tuple[str, str, Callable[[int], bytes]]] = {  # over which time once grew squared, or worse
    "blanks": ("bookcorpus", "a.txt", lambda size: b"a" + b" " * size + b"b"),
    "attributes": ("bookcorpus", "a.html", lambda size: b"<p>" + many_attributes(size // 5)),
    "news-attributes": ("cc_news", "a.warc", lambda size: page(b"<p>" + many_attributes(size // 5))),
    "headings": ("cc_news", "a.warc", lambda size: page(b"<h1>abc</h1>" * (size // 20))),
    "noscript": ("cc_news", "a.warc", lambda size: page(b"</noscript" * (size // 2))),
    "members": ("cc_news", "a.warc", lambda size: page(gzip.compress(b"") * (size // 2), "Content-Encoding: gzip")),
}


def many_attributes(number: int) -> bytes:
    return b"<i " + b"".join(b"a%d=1 " % each for each in range(number)) + b">x"


def page(body: bytes, *headers: str) -> bytes:
    return response(body if headers else b"<html><body>" + body, "http://a.example/", *headers)


@pytest.mark.parametrize("case", HOSTILE)
def test_time_does_not_grow_squared_over_hostile_text(case: str, tmp_path: Path) -> None:
    name, file, data = HOSTILE[case]

    def seconds(size: int) -> float:
        folder = tmp_path / str(size)
        (folder / "in").mkdir(parents=True)
        (folder / "in" / file).write_bytes(data(size))
        start = time.process_time()
        _, counts = read_folder(name, folder / "in", folder / "out")
        assert counts["in"] == 1
        return time.process_time() - start

    seconds(1000)
    assert seconds(400_000) < 8 * max(seconds(100_000), 0.25)


def change(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize(
    ("happens", "message"),
    [
        (
            change,
            r"changed while it was read: [\d,]+ bytes when the job began, [\d,]+ now, .* Run it again when the file",
        ),
        (touch, "changed while it was read: .* s apart. Run it again when the file is complete"),
        (Path.unlink, "is gone; it was there when the job began. Run it again"),
    ],
)
@pytest.mark.parametrize("name", GOOD)
def test_a_file_that_changes_while_it_is_read_is_noticed(
    name: str, happens: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    path = tmp_path / GOOD[name][0]
    path.write_bytes(GOOD[name][1])
    (split,) = _splits(config(name), find_files(config(name), tmp_path))
    happens(path)
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=message):
        read_split(split.task, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "file", "data"),
    [
        ("jsonl", "a.jsonl", LINE * 5),
        ("jsonl", "a.parquet", parquet()),
        ("wikipedia", "a.xml", dump(*PAGES)),
        ("cc_news", "a.warc", b"".join(RECORDS)),
        ("jsonl", "a.arrow", arrow()),
        ("bookcorpus", "a.zip", zipped({f"{number}.txt": STORY.encode() for number in range(5)})),
        ("bookcorpus", "a.tar", tarred({f"{number}.txt": STORY.encode() for number in range(5)})),
        ("bookcorpus", "a.tar.gz", gzip.compress(tarred({f"{number}.txt": STORY.encode() for number in range(5)}))),
    ],
)
def test_a_file_that_changes_after_its_first_record_is_noticed(
    name: str, file: str, data: bytes, tmp_path: Path
) -> None:
    (tmp_path / file).write_bytes(data)
    section = config(name, file)
    (split,) = _splits(section, find_files(section, tmp_path))
    records = _read(section, split.task[1][0], tmp_path)
    next(records)
    change(tmp_path / file)
    with pytest.raises(UserError, match="changed while it was read"):
        list(records)


LARGE = 40 << 20  # more than a split
RANGES = {
    "a.jsonl": ("jsonl", lambda: LINE * (LARGE // len(LINE))),
    "a.arrow": ("jsonl", lambda: arrow(40, 50_000)),
    "a.xml": ("wikipedia", lambda: dump(*PAGES * (LARGE // sum(map(len, PAGES))))),
    "a.warc": ("cc_news", lambda: b"".join(RECORDS) * (LARGE // sum(map(len, RECORDS)))),
    "a.zip": ("bookcorpus", lambda: zipped({f"{n}.txt": STORY.encode() * 9000 for n in range(60)}, method=0)),
}


@pytest.mark.parametrize("file", RANGES)
@pytest.mark.parametrize("happens", [change, touch, Path.unlink])
def test_a_file_that_changes_before_a_later_range_is_noticed(
    happens: Callable[[Path], None], file: str, tmp_path: Path
) -> None:
    """The first ranges were read when it changed: what is read of the others is of another file."""
    name, data = RANGES[file]
    (tmp_path / file).write_bytes(data())
    section = config(name, file)
    splits = _splits(section, find_files(section, tmp_path))
    first, *_, last = [part for split in splits for part in split.task[1]]
    assert first.start < last.start
    next(_read(section, first, tmp_path))
    happens(tmp_path / file)
    with pytest.raises(UserError, match=r"changed while it was read|is gone"):
        list(_read(section, last, tmp_path))


def test_the_job_goes_on_around_bad_input_and_leaves_no_litter(tmp_path: Path, workers: Workers) -> None:
    """Everything above at once, through Ray; then the same again, and the same bytes."""
    for name, (file, data) in GOOD.items():
        (tmp_path / "in" / name).mkdir(parents=True)
        for case in [(file, data), *BAD[name]]:
            (tmp_path / "in" / name / case[0]).write_bytes(case[1])
    os.mkfifo(tmp_path / "in/bookcorpus/pipe")
    sections = [config(name, name) for name in GOOD]
    folder = run(sections, tmp_path / "in", tmp_path / "out", workers)
    rows = {(count.source, count.verdict, count.kind) for count in Ledger({STAGE: folder}).counts()}
    assert all((name, "kept", "") in rows and (name, "dropped", "error") in rows for name in GOOD)
    fates = Ledger({STAGE: folder}).fates()
    for name, (file, _) in GOOD.items():
        assert any(fate.source == name and fate.verdict == "kept" for fate in fates), file
    assert not [path for path in folder.rglob("*") if ".attempt" in path.name or path.name.endswith(".tmp")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"], "nothing was unpacked beside the input"


def test_an_error_of_the_disk_fails_the_split_and_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Iterator[Document]:
        raise OSError(errno.EIO, "Input/output error")
        yield

    (tmp_path / "a.jsonl").write_bytes(LINE)
    section = config("jsonl", "a.jsonl")
    (split,) = _splits(section, find_files(section, tmp_path))
    monkeypatch.setattr("pipeline.sources.jsonl.read", fail)
    (tmp_path / "out").mkdir()
    with pytest.raises(OSError, match=r"Input/output error: '.*a\.jsonl'"):
        read_split(split.task, tmp_path / "out")


def test_an_archive_that_cannot_be_opened_to_plan_its_splits_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    (tmp_path / "a.zip").write_bytes(zipped({"a.txt": STORY.encode()}))
    monkeypatch.setattr("pipeline.sources.bookcorpus.open_zip", fail)
    section = config("bookcorpus", "a.zip")
    with pytest.raises(UserError, match=r"source bookcorpus: cannot read .*a\.zip: Input/output error"):
        list(_splits(section, find_files(section, tmp_path)))
