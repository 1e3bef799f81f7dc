"""The same prepare on real dumps, books and WARCs (marker `real`; conftest says where they are read)."""

import bz2
import codecs
import gzip
import json
import zipfile
from pathlib import Path

import pytest

from pipeline.core.ledger import Entry, Ledger
from pipeline.core.manifest import SUMMARY, read_manifest, stage_folders
from pipeline.core.plugins import parse
from pipeline.core.shard_map import Workers
from pipeline.prepare import Summary
from pipeline.sources.base import PACKAGE
from pipeline.sources.run import run
from tests.processes import penstock

pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.fixture(scope="module")
def data(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real") / "data"
    settings = ["--config", "configs/data/real_small.yaml", "--set", f"input={real_data}"]
    done = penstock("prepare", *settings, "--out", folder, timeout_s=600)
    assert done.returncode == 0, done.stderr
    return folder


def test_real_files_become_tokens_and_nothing_is_lost(data: Path) -> None:
    summary = Summary.model_validate_json((data / SUMMARY).read_bytes())
    sources = {flow.source: flow for flow in summary.sources}
    for name, flow in sources.items():
        assert flow.documents_in == flow.documents_kept + sum(flow.dropped().values()), name
        assert flow.bytes_in == flow.bytes_kept + sum(loss.num_bytes for loss in flow.losses), name
        assert flow.errors == 0, name
        assert flow.documents_kept > 20, name
    assert sum(row["tokens"] for row in summary.tokens["splits"]["train"].values()) > 2_000_000
    fates = Ledger.of(data).fates()
    assert len(fates) == len({fate.doc_id for fate in fates}) == sum(flow.documents_in for flow in summary.sources)


def test_every_record_of_the_three_sources_is_in_the_ledger_once(data: Path, real_data: Path) -> None:
    found = records_by_file(stage_folders(data)["sources"])
    assert found == {name: num_records(real_data / name) for name in found}
    patterns = ("wikipedia/*.xml.*", "books/*[!v]", "news/*.warc.gz")  # of the books all but the tables (.tsv)
    assert set(found) == {file.relative_to(real_data).as_posix() for one in patterns for file in real_data.glob(one)}
    assert sum(found.values()) == 4114 + 43 + 684, "pages, books and response records"


TEXT_FIELDS = {  # of all JSON lines there are
    "text": ["news/*.jsonl.gz", "dedup/*.jsonl.gz", "finetune/rotten*.jsonl.gz", "eval/lambada*"],
    "sentence": ["finetune/sst2*", "eval/winogrande*"], "title": ["finetune/scitldr*"], "goal": ["eval/piqa*"],
    "question": ["eval/arc*"], "question_stem": ["eval/openbookqa*"], "ctx": ["eval/hellaswag*"],
    "passage": ["eval/boolq*"],
}  # fmt: skip
MORE_BOOKS = ["langid/*.zip", "filters/*.zip", "news/goose3*.zip", "news/newspaper3k*.zip", "wikipedia/*.txt.gz"]


def test_every_record_of_the_other_files_is_in_the_ledger_once(
    real_data: Path, tmp_path: Path, workers: Workers
) -> None:
    config = [parse(PACKAGE, {"name": "jsonl", "label": field, "text_field": field, "paths": paths})
              for field, paths in TEXT_FIELDS.items()]  # fmt: skip
    config.append(parse(PACKAGE, {"name": "bookcorpus", "paths": MORE_BOOKS, "max_error_rate": 1}))
    folder = run(config, real_data, tmp_path, workers)
    found = records_by_file(folder)
    assert found == {name: num_records(real_data / name) for name in found}
    json_lines = {file.relative_to(real_data).as_posix() for file in real_data.rglob("*.jsonl.gz")}
    assert json_lines <= set(found)
    assert len(found) == len(json_lines) + len(MORE_BOOKS)
    counts = read_manifest(folder).counts
    assert counts["in"] == counts["documents"] + counts["dropped"]


def records_by_file(sources: Path) -> dict[str, int]:
    """Raw file -> records in the ledger; the parts of a long book are one record. No verdict is given twice."""
    entries = Ledger.of(sources).select("")
    assert len({entry.doc_id for entry in entries}) == len(entries)
    records: dict[str, set[str | bytes]] = {}
    for entry in entries:
        file, _, place = entry.origin.rpartition(":")
        is_book = entry.source == "bookcorpus"
        name = entry.key.partition("#")[0] if is_book else entry.doc_id
        records.setdefault(file if place.replace("+", "").isdigit() else entry.origin, set()).add(name)
    return {file: len(names) for file, names in records.items()}


def num_records(file: Path) -> int:
    """Counted without our readers: pages, response records, members of an archive, lines; anything else is a book."""
    raw = file.read_bytes()
    if file.suffix == ".zip":
        with zipfile.ZipFile(file) as archive:
            return sum(not member.is_dir() for member in archive.infolist())
    data = {".bz2": bz2.decompress, ".gz": gzip.decompress}.get(file.suffix, bytes)(raw)
    if ".xml" in file.suffixes:
        return data.decode("utf-16" if data.startswith(codecs.BOM_UTF16_LE) else "utf-8").count("<page>")
    if ".warc" in file.suffixes:
        return data.count(b"\r\nWARC-Type: response\r\n")
    return sum(bool(line.strip()) for line in data.splitlines()) if ".jsonl" in file.suffixes else 1


def test_editions_of_a_book_are_found_and_different_books_stay(data: Path, real_data: Path) -> None:
    fates = {fate.doc_id: fate for fate in Ledger.of(data).fates() if fate.source == "bookcorpus"}
    lines = (real_data / "books" / "gutenberg_editions_groundtruth.tsv").read_text().splitlines()[1:]
    book_of = {file.removeprefix("../"): book for book, file in (line.split("\t") for line in lines)}

    def book(fate: Entry) -> str:
        """The book that a file is an edition of; a file without editions is its own book."""
        file = fate.key.removeprefix("gutenberg_editions.zip/").partition("#")[0]
        return book_of.get(file, file)

    survivors = {}
    for fate in fates.values():
        if fate.reason.endswith("duplicate"):
            survivor = fates[bytes.fromhex(json.loads(fate.detail)["survivor"])]
            assert book(fate) == book(survivor), f"{fate.key} was merged into {survivor.key}"
        elif fate.verdict != "dropped" and book(fate) in book_of.values():
            survivors.setdefault(book(fate), []).append(fate.key)
    assert set(survivors) == set(book_of.values())
    for keys in survivors.values():  # each part once: the longest of all editions' first parts, second parts, ...
        parts = [key.partition("#")[2] for key in keys]
        assert len(parts) == len(set(parts)), keys


def test_real_artifact_verifies(data: Path) -> None:
    done = penstock("verify", data)
    assert done.returncode == 0, done.stderr
