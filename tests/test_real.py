"""The same prepare on real dumps, books and WARCs (marker `real`; conftest says where they are read)."""

import json
from pathlib import Path

import pytest

from pipeline.core.ledger import Entry, Ledger
from pipeline.prepare import STAGES_WITH_LEDGER, stage_folders
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
    summary = json.loads((data / "summary.json").read_text())
    for source, row in summary["sources"].items():
        assert row["in"] == row["kept"] + sum(row["dropped"].values()), source
        assert row["errors"] == 0, source
    sources = summary["sources"]
    assert sources["wikipedia"]["in"] == 4114, "pages of the six dumps"
    assert sources["bookcorpus"]["in"] == 48
    assert sources["cc_news"]["in"] == 684, "response records of the WARCs"
    assert min(row["kept"] for row in sources.values()) > 20
    assert sum(row["tokens"] for row in summary["tokens"]["splits"]["train"].values()) > 2_000_000
    ledger = Ledger({name: stage_folders(data)[name] for name in STAGES_WITH_LEDGER})
    fates = ledger.fates()
    assert len(fates) == len({fate.doc_id for fate in fates}) == sum(row["in"] for row in sources.values())


def test_editions_of_a_book_are_found_and_different_books_stay(data: Path, real_data: Path) -> None:
    ledger = Ledger({name: stage_folders(data)[name] for name in STAGES_WITH_LEDGER})
    fates = {fate.doc_id: fate for fate in ledger.fates() if fate.source == "bookcorpus"}
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
    assert all(len({key.partition("#")[0] for key in keys}) == 1 for keys in survivors.values()), survivors


def test_real_artifact_verifies(data: Path) -> None:
    done = penstock("verify", data)
    assert done.returncode == 0, done.stderr
