"""A million documents through four stages, as prepare writes them: how long the commands over the ledger take.

Whole commands, started as a user starts them, the interpreter and its imports included. The peer is the same question
asked of the same files by pyarrow, which reads every row of every ledger.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import xxhash

from pipeline.core.ledger import LEDGER_FILES
from pipeline.core.manifest import Manifest, write_manifest
from pipeline.core.schema import DOCUMENT, LEDGER
from pipeline.core.tables import DOCUMENTS_FILE
from tests.bench.row import Row

DOCUMENTS, FILES, ROUNDS = 1_000_000, 160, 5  # 6,250 documents of 5 kB are a split of 32 MB
STAGES = {"sources": 1.0, "clean": 0.8, "dedup": 0.5, "shards": 0.4}  # share of the documents that come in
SOURCES = ("wikipedia", "cc_news")


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        write(data)
        wanted = DOCUMENTS // 2
        peer = min(read_with_pyarrow(data, doc_id(wanted)) for _ in range(2))
        questions = {
            "explain doc, by id": ["explain", "doc", doc_id(wanted).hex(), "--data", str(data)],
            "explain doc, by URL": [
                "explain",
                "doc",
                url(wanted).replace("https://n", "HTTPS://N") + "#x",
                "--data",
                str(data),
            ],
            "explain doc, by title": ["explain", "doc", title(wanted), "--data", str(data)],
            "ledger summary": ["ledger", "summary", str(data)],
            "ledger sample": ["ledger", "sample", str(data), "--reason", "gopher_short"],
        }
        for what, arguments in questions.items():
            seconds = min(ask(arguments) for _ in range(ROUNDS))
            detail = f"pyarrow, one id in all ledgers: {peer:.2f} s; {DOCUMENTS:,} documents, {FILES} files a stage"
            yield Row(f"{what}, of a million", seconds, "s", 1, at_most=True, peer=f"pyarrow {pa.__version__}",
                      detail=f"{detail}, best of {ROUNDS}")  # fmt: skip


def ask(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments], check=True, stdout=subprocess.DEVNULL, env=os.environ
    )
    return time.perf_counter() - start


def read_with_pyarrow(data: Path, wanted: bytes) -> float:
    start = time.perf_counter()
    files = [str(path) for path in data.glob(f"*/*{LEDGER_FILES}")]
    assert ds.dataset(files).to_table(filter=ds.field("doc_id") == wanted).num_rows == len(STAGES)
    return time.perf_counter() - start


def doc_id(number: int) -> bytes:
    return xxhash.xxh3_128_digest(number.to_bytes(8, "little"))


def title(number: int) -> str:
    return f"{WORDS[number % 997]} {WORDS[number % 991]} of {number}"


def url(number: int) -> str:
    return f"https://news{number % 5000}.example/2026/01/{number % 28 + 1:02d}/{WORDS[number % 997]}-{number}.html"


_RNG = random.Random(0)
WORDS = ["".join(_RNG.choices("abcdefghijklmnoprstuvw", k=_RNG.randint(3, 11))) for _ in range(1000)]


def write(data: Path) -> None:
    per_file = DOCUMENTS // FILES
    folders = {}
    for stage, share in STAGES.items():
        folder = folders[stage] = data / f"{stage}-{'0' * 12}"
        folder.mkdir(parents=True)
        after = list(STAGES.values())[list(STAGES).index(stage) + 1 :][:1] or [share]
        for number in range(FILES):
            source = SOURCES[number * len(SOURCES) // FILES]
            numbers = range(number * per_file, (number + 1) * per_file)
            name = f"{source}-{number:05d}"
            write_file(folder / name, stage, source, [n for n in numbers if draw(n) < share], after[0])
    stages = {stage: folder.name for stage, folder in folders.items()}
    write_manifest(data, Manifest("prepare", 1, "0" * 32, {}, {}, {"stages": stages}, ()))


def draw(number: int) -> float:
    """Which documents come how far; the one that is asked for goes all the way."""
    return 0.0 if number == DOCUMENTS // 2 else number * 2654435761 % 2**32 / 2**32


def write_file(path: Path, stage: str, source: str, numbers: list[int], kept: float) -> None:
    ids, stays = [doc_id(n) for n in numbers], [draw(n) < kept for n in numbers]
    keys = [title(n) if source == "wikipedia" else url(n) for n in numbers]
    size, first = len(numbers), stage == "sources"
    reasons = {"sources": ("redirect", "http_404"), "clean": ("language", "gopher_short", "gopher_dup_5gram"),
               "dedup": ("near_duplicate", "exact_duplicate"), "shards": ("",)}[stage]  # fmt: skip
    ledger = {
        "doc_id": ids, "source": [source] * size, "key": keys,
        "origin": [f"{source}/part-00001.gz:{n * 5000}" if first else "" for n in numbers], "stage": [stage] * size,
        "verdict": ["kept" if stay else "dropped" for stay in stays],
        "kind": ["" if stay else "quality" for stay in stays],
        "reason": ["" if stay else reasons[n % len(reasons)] for stay, n in zip(stays, numbers, strict=True)],
        "detail": [f"en 0.{n % 100:02d}" if stage == "clean" else "" for n in numbers], "num_bytes": [5000] * size,
    }  # fmt: skip
    pq.write_table(pa.table(ledger, schema=LEDGER), f"{path}{LEDGER_FILES}", compression="zstd")
    if stage != "shards":
        write_documents(path, source, [n for n, stay in zip(numbers, stays, strict=True) if stay])


def write_documents(path: Path, source: str, numbers: list[int]) -> None:
    """Texts of 300 bytes, so that the bench fits on a small disk: a command reads the text of a few files only."""
    size = len(numbers)
    documents = {name: [""] * size for name in DOCUMENT.names} | {
        "doc_id": [doc_id(n) for n in numbers], "source": [source] * size, "url": [url(n) for n in numbers],
        "key": [title(n) if source == "wikipedia" else url(n) for n in numbers], "title": [title(n) for n in numbers],
        "text": [" ".join(WORDS[(n * 31 + k * k) % 1000] for k in range(40)) for n in numbers],
        "meta": [[("page", str(n))] for n in numbers],
    }  # fmt: skip
    pq.write_table(pa.table(documents, schema=DOCUMENT), f"{path}{DOCUMENTS_FILE}", compression="zstd")
