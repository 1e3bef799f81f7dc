"""Memory of a worker, whatever the file's size: the peak of a fresh process that reads one large file as one split.

Files are generated, the largest record that its source takes among many small ones, streamed to the disk and removed.

| bounded                           | by |
|-----------------------------------|----|
| a file, packed or not             | pieces: it is streamed, whatever its size; splits make no difference |
| a WARC record, a page             | MAX_RECORD_BYTES, MAX_BODY_BYTES (16 MB), MAX_TAGS |
| a page of a dump                  | MAX_WIKITEXT_BYTES (2 MB), MAX_NODES; older revisions are passed over |
| a JSON line, a text of a table    | MAX_LINE_BYTES (64 MB), MAX_TEXT_BYTES (32 MB) |
| a row group of Parquet            | BATCH_BYTES (32 MB) are decoded at a time, by average row and shared value |
| a book, an archive of books       | MAX_BOOK_BYTES (64 MB), MAX_TEXT_BYTES (32 MB), MAX_TAGS, MAX_DIRECTORY_BYTES |
| documents as written and read     | GROUP_BYTES (64 MB), titles, keys and meta as well |
| a document in `clean`             | what sources let pass, 32 MB: the splitter takes some ten times that; here every |
|                                   | filter gets it alone, as `quality` drops a document of so many words |

Not bounded: one row of Parquet or one record batch of Arrow, which their libraries decode whole, as its writer made it
(the pages of a mapped Arrow file count here as well, and the system takes them back when it needs them).
"""

import gzip
import json
import random
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.clean.run import CleanConfig, JudgeTask, judge_split
from pipeline.clean.survey import PACKAGE as CLEAN
from pipeline.core.plugins import names, parse
from pipeline.sources.base import PACKAGE, InputFile, Range, SourceConfig
from pipeline.sources.books.archives import MAX_TEXT_BYTES
from pipeline.sources.cc_news import MAX_BODY_BYTES
from pipeline.sources.run import read_split
from pipeline.sources.wikipedia import MAX_WIKITEXT_BYTES
from tests.bench.row import Row
from tests.sources.packing import dump, make_epub, response, web_page, wiki_page

BOUND_GIB = 1
ENGLISH = (
    "the of and to in was he that his it with as for had at not on but be they were which from all this would there "
    "river mill water gate bridge town winter council house morning road people letter garden story engineer market "
    "stone tower evening night field summer harbour village window captain station island doctor valley kitchen"
)
EMOJI = "\U0001f600"  # one in a text, and Python takes four bytes for every character


@dataclass(frozen=True)
class Case:
    what: str
    source: str
    file: str
    write: Callable[[Path], None]
    clean: bool = False  # what was read goes on into each filter of `clean`


def rows() -> Iterator[Row]:
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / case.file
            case.write(path)
            yield measure(case, path)


def measure(case: Case, path: Path) -> Row:
    command = [sys.executable, "-m", "tests.bench.memory", case.source, str(path), *["clean"] * case.clean]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    peak_kib, num_records, num_kept = map(int, told.split())
    detail = f"{path.stat().st_size >> 20} MiB in one split, {num_records} records, {num_kept} documents"
    detail += f", into each of {len(filters())} filters" * case.clean
    return Row(f"memory of a worker, {case.what}", peak_kib / (1 << 20), "GiB", BOUND_GIB, at_most=True, detail=detail)


def prose(num_chars: int, seed: int = 0) -> str:
    """English enough to go through every filter."""
    draw, words, ends = random.Random(seed), ENGLISH.split(), (". ", ".\n", ".\n\n")
    parts: list[str] = []
    size = 0
    while size < num_chars:
        parts.append(" ".join(draw.choices(words, k=draw.randint(8, 24))).capitalize() + draw.choice(ends))
        size += len(parts[-1])
    return "".join(parts)[:num_chars]


def _write_warc(path: Path) -> None:
    pages = [response(web_page(*prose(6000, seed).split("\n")), f"http://a.example/{seed}") for seed in range(100)]
    packed = b"".join(map(gzip.compress, pages))
    largest = web_page(*prose(MAX_BODY_BYTES - (1 << 20)).split("\n"), EMOJI)
    with open(path, "wb") as file:
        for _ in range(8):
            file.write(packed)
        file.write(gzip.compress(response(largest, "http://a.example/largest")))


def _write_dump(path: Path) -> None:
    pages = [wiki_page(f"Page {seed}", prose(8000, seed)) for seed in range(100)]
    talk = [page.replace(b"<ns>0</ns>", b"<ns>1</ns>") for page in pages]  # only read past
    largest = wiki_page("Largest", prose(MAX_WIKITEXT_BYTES // 2) + "\n* [[a]]" * 100_000 + EMOJI)
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(dump(*pages, largest).removesuffix(b"</mediawiki>\n"))
        for _ in range(50):
            file.write(b"".join(talk))
        file.write(b"</mediawiki>\n")


def _write_jsonl(path: Path) -> None:
    lines = [json.dumps({"text": prose(200_000, seed), "id": seed}) + "\n" for seed in range(10)]
    with open(path, "w", encoding="utf-8") as file:
        file.write(_largest_line())
        for _ in range(1200):
            file.write("".join(lines))


def _write_largest_line(path: Path) -> None:
    path.write_text(_largest_line(), encoding="utf-8")


def _largest_line() -> str:
    return json.dumps({"text": prose(MAX_TEXT_BYTES - 4) + EMOJI}, ensure_ascii=False) + "\n"


def _write_parquet(path: Path) -> None:
    """A row group of 600 MB, and the largest text in one of its own."""
    texts = [prose(40_000, seed) for seed in range(100)]
    batch = pa.record_batch({"text": texts, "id": list(map(str, range(100)))})
    with pq.ParquetWriter(path, batch.schema, compression="zstd", use_dictionary=False) as writer:
        writer.write_table(pa.Table.from_batches([batch] * 150), row_group_size=100_000)
        writer.write_batch(pa.record_batch({"text": [prose(MAX_TEXT_BYTES - 4) + EMOJI], "id": ["largest"]}))


def _write_books(path: Path) -> None:
    """The largest text, page and EPUB, then many small ones."""
    small, text = prose(2000).encode(), prose(MAX_TEXT_BYTES - 1000) + EMOJI
    page = "<html><body>" + "".join(f"<p>{line}</p>" for line in text[: MAX_TEXT_BYTES * 3 // 4].split("\n")) + EMOJI
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("text.txt", text)
        archive.writestr("page.html", page)
        archive.writestr("book.epub", make_epub(**{"OEBPS/a.xhtml": page}))
        for number in range(1000):
            archive.writestr(f"{number:060}.txt", small)


CASES = (
    Case("large WARC", "cc_news", "large.warc.gz", _write_warc),
    Case("large Wikipedia dump", "wikipedia", "large.xml.gz", _write_dump),
    Case("jsonl of 2.4 GB", "jsonl", "large.jsonl", _write_jsonl),
    Case("Parquet of large row groups", "jsonl", "large.parquet", _write_parquet),
    Case("zip of many books", "bookcorpus", "books.zip", _write_books),
    Case("largest document in each filter", "jsonl", "largest.jsonl", _write_largest_line, clean=True),
)


def read(source: str, path: Path, folder: Path) -> dict[str, int]:
    section = parse(PACKAGE, source)
    assert isinstance(section, SourceConfig)
    facts = path.stat()
    file = InputFile(path, path.name, path.name, facts.st_size, facts.st_mtime_ns)
    return read_split((section, [Range(file, facts.st_size)]), folder)


def filters() -> list[str]:
    """Those that need no list; the survey of `site_lines` is merged on disk."""
    return [name for name in names(CLEAN) if name not in ("blocklist", "site_lines")]


def clean(folder: Path) -> None:
    """One filter after the other, each in the stage."""
    for name in filters():
        config = CleanConfig.model_validate({"filters": [name]})
        (folder / name).mkdir()
        task = JudgeTask("clean", tuple(config.filters), folder / "documents.parquet", {}, {})
        judge_split(task, folder / name)


def main(source: str, path: str, *then: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        counts = read(source, Path(path), Path(folder))
        if then:
            clean(Path(folder))
    status = Path("/proc/self/status").read_text().splitlines()
    peak_kib = next(line.split()[1] for line in status if line.startswith("VmHWM"))
    print(peak_kib, counts["in"], counts["kept"])  # ru_maxrss would be that of the process which started this one


if __name__ == "__main__":
    main(*sys.argv[1:])
