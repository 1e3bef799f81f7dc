"""Mutated records, for every source: no exception, a verdict on every record; the same every time.

To search longer, raise NUM_EXAMPLES and set DERANDOMIZE to False.
"""

import bz2
import gzip
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.plugins import parse
from pipeline.sources.base import PACKAGE
from pipeline.sources.run import _splits, find_files, read_split
from tests.sources.packing import chapter, dump, make_epub, response, tarred, web_page, wiki_page, zipped

NUM_EXAMPLES = 60  # of each source in the suite
DERANDOMIZE = True
MAX_EDITS = 6

STORY = "It was a bright cold day in April, and the clocks were striking thirteen. Nobody in the street looked up."
WIKITEXT = (
    "'''Weir''' is a [[dam|barrier]] of {{convert|3|m|ft}}.&lt;ref name=a&gt;x&lt;/ref&gt;\n== See ==\n"
    "{| class=x\n! a !! b\n|-\n| 1 || 2\n|}\n* [[File:a.jpg|thumb|a [[pipe]]]]\n{{lang|fr|l'eau {{nowrap|x}}}}"
)
LINE = '{{"text": "{} {}", "url": "http://a.example/"}}\n'
LINES = "".join(LINE.format(STORY, number) for number in range(4)).encode()
BOOK = (
    "The Project Gutenberg EBook of Rain, by A. Writer\n\n*** START OF THIS PROJECT GUTENBERG EBOOK RAIN ***\n\n"
    f"CONTENTS\n\nCHAPTER I. Rain\n\nCHAPTER II. Sun\n\n[Transcriber's Note: none]\n\nCHAPTER I. Rain\n\n{STORY}"
    f"\n\n[Pg 12]\n\n{STORY}\n\nII.\n\n{STORY}\n\n*** END OF THIS PROJECT GUTENBERG EBOOK RAIN ***\n"
).encode()


def parquet() -> bytes:
    packed = io.BytesIO()
    pq.write_table(pa.table({"text": [f"{STORY} {number}" for number in range(50)], "n": list(range(50))}), packed, 20)
    return packed.getvalue()


PAGES = [
    wiki_page("Weir", WIKITEXT), wiki_page("Sluice", f"#REDIRECT [[Weir]] {STORY}"), wiki_page("Mill", WIKITEXT * 3)
]  # fmt: skip
RECORDS = [
    response(web_page(*[STORY * 3] * 4), f"http://a.example/{number}", "Content-Length: 700") for number in range(3)
]
SEEDS = {
    "jsonl": {"a.jsonl": LINES, "a.jsonl.gz": gzip.compress(LINES, mtime=0), "a.parquet": parquet()},
    "wikipedia": {
        "a.xml": dump(*PAGES), "b.xml": dump(*PAGES).decode().encode("utf-16"),
        "a.xml.gz": gzip.compress(dump(*PAGES), mtime=0),
        "a.xml.bz2": b"".join(bz2.compress(part) for part in (dump()[:-13], *PAGES, b"</mediawiki>")),
    },
    "cc_news": {"a.warc": b"".join(RECORDS), "a.warc.gz": b"".join(gzip.compress(one, mtime=0) for one in RECORDS)},
    "bookcorpus": {
        "a.txt": BOOK, "a.html": chapter("Rain", f"{STORY}<ul><li>x</ul><nav>y</nav><table><tr><td>z").encode(),
        "a.epub": make_epub(), "a.zip": zipped({"a.txt": BOOK, "b/c.epub": make_epub(), "d.jpg": b"x"}),
        "a.tar": tarred({"a.txt": BOOK, "x" * 150: b""}, links=("l",)), "a.txt.gz": gzip.compress(BOOK, mtime=0),
        "a.tgz": gzip.compress(tarred({"a.txt": BOOK, "b.txt": BOOK}), mtime=0),
    },
}  # fmt: skip
REAL = {
    "jsonl": ["news/dolma-cc_en_head-0091.jsonl.gz"],
    "wikipedia": ["wikipedia/enwiki-table-markup.xml.bz2", "wikipedia/bgwiki-shortened-UTF16.xml.bz2"],
    "cc_news": ["news/whirlwind.warc.gz", "news/resiliparse-warcfile.warc.gz", "news/whirlwind.warc.wet.gz"],
    "bookcorpus": ["books/pg36-war-of-the-worlds.epub", "books/botchan.txt.gz"],
}
PIECES = [
    b"\0",
    b"\xff" * 4,
    b"<",
    b"]]>",
    b"{{",
    b"[[",
    b"&#0;",
    b"\xed\xa0\x80",
    b"<page>",
    b"WARC/1.0\r\n",
    b"PK\1\2",
    b"\n\n",
    b"{",
]


@st.composite
def mutated(draw: st.DrawFn, seeds: dict[str, bytes]) -> tuple[str, bytes]:
    """A file with bytes flipped, cut out, put in, or taken from another file."""
    name = draw(st.sampled_from(sorted(seeds)))
    data = bytearray(seeds[name])
    for _ in range(draw(st.integers(1, MAX_EDITS))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        end = at + draw(st.sampled_from([0, 1, 2, 7, 64, 500]))
        other = seeds[draw(st.sampled_from(sorted(seeds)))]
        match draw(st.sampled_from(["flip", "cut", "truncate", "insert", "splice", "repeat"])):
            case "flip" if data:
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del data[at:end]
            case "truncate":
                del data[at:]
            case "insert":
                data[at:at] = draw(st.one_of(st.sampled_from(PIECES), st.binary(max_size=8)))
            case "splice":
                data[at:end] = other[len(other) // 3 : len(other) // 3 + end - at]
            case "repeat":
                data[at:at] = data[at:end] * draw(st.integers(1, 5))
    return name, bytes(data)


def check(source: str, name: str, data: bytes, folder: Path) -> None:
    """The file becomes documents and verdicts: conservation is asserted where they are written."""
    for path in folder.iterdir():
        path.unlink()
    (folder / name).write_bytes(data)
    config = parse(PACKAGE, {"name": source, "paths": [name]})
    out = folder.parent / "out"
    out.mkdir(exist_ok=True)
    for split in _splits(config, find_files(config, folder)):
        counts = read_split(split.task, out)
        assert counts["in"] == counts["kept"] + counts["dropped"]
        assert counts["in"] == pq.read_metadata(out / "ledger.parquet").num_rows


def real_seeds(source: str, folder: Path) -> dict[str, bytes]:
    return {Path(name).name: (folder / name).read_bytes() for name in REAL[source]}


def attack(source: str, seeds: dict[str, bytes], folder: Path, num_examples: int = NUM_EXAMPLES) -> None:
    @settings(max_examples=num_examples, derandomize=DERANDOMIZE, deadline=None, database=None)
    @given(mutated(seeds))
    def every(file: tuple[str, bytes]) -> None:
        check(source, *file, folder / "in")

    (folder / "in").mkdir()
    every()


@pytest.mark.parametrize("source", SEEDS)
def test_mutated_records_have_a_verdict_each(source: str, tmp_path: Path) -> None:
    attack(source, SEEDS[source], tmp_path)


@pytest.mark.real
@pytest.mark.parametrize("source", REAL)
def test_mutated_real_files_have_a_verdict_on_each_record(source: str, real_data: Path, tmp_path: Path) -> None:
    attack(source, real_seeds(source, real_data), tmp_path, num_examples=10)
