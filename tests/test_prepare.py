"""The data stages end to end: the real command, on real Ray, killed for real."""

import bz2
import gzip
import itertools
import json
import shutil
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.core.ledger import Ledger
from pipeline.core.manifest import read_manifest
from pipeline.core.tables import read_documents
from pipeline.prepare import STAGES_WITH_LEDGER, stage_folders
from pipeline.tokenizer.tokenizer import Tokenizer
from tests.processes import descendants, kill, penstock, started, title, wait_for

CONFIG = "configs/data/sample.yaml"


def arguments(sample: Path, out: Path, *settings: str) -> list[str]:
    chosen = [part for setting in (f"input={sample}", "num_workers=2", *settings) for part in ("--set", setting)]
    return ["prepare", "--config", CONFIG, "--out", str(out), *chosen]


def tree(data: Path) -> dict[str, bytes]:
    """Every file that the finished stages promise, and its bytes."""
    folders = [data / folder.name for folder in stage_folders(data).values()]
    paths = [data / "manifest.json", *(path for folder in folders for path in folder.rglob("*") if path.is_file())]
    return {str(path.relative_to(data)): path.read_bytes() for path in paths}


def num_records(sample: Path) -> dict[str, int]:
    """Records of the raw corpus, counted without our readers: pages (the broken one too), books, responses."""
    (dump,) = (sample / "wikipedia").glob("*.xml.bz2")
    warcs = [gzip.decompress(path.read_bytes()) for path in (sample / "cc_news").rglob("*.warc.gz")]
    return {
        "wikipedia": bz2.decompress(dump.read_bytes()).count(b"<page>"),
        "bookcorpus": sum(path.is_file() for path in (sample / "bookcorpus").rglob("*")),
        "cc_news": sum(warc.count(b"\r\nWARC-Type: response\r\n") for warc in warcs),
    }


def test_every_document_ends_exactly_once_in_the_ledger(sample: Path, prepared: Path) -> None:
    stages = stage_folders(prepared)
    ledger = Ledger({name: stages[name] for name in STAGES_WITH_LEDGER})
    fates = ledger.fates()
    first = pq.read_table(sorted(stages["sources"].glob("*.ledger.parquet")))
    ids = first.column("doc_id").to_pylist()
    assert len(ids) == len(set(ids)) == len(fates)
    assert Counter(fate.source for fate in fates) == num_records(sample)
    assert {fate.doc_id for fate in fates} == set(ids)
    in_shards = {row.as_py() for path in stages["shards"].glob("*.docs.arrow") for row in doc_ids(path)}
    kept = {fate.doc_id for fate in fates if fate.stage == "shards" and fate.verdict in ("kept", "edited")}
    assert in_shards == kept
    assert all(fate.reason for fate in fates if fate.verdict == "dropped")


def doc_ids(path: Path) -> list:
    import pyarrow as pa

    with pa.OSFile(str(path)) as file:
        return list(pa.ipc.open_file(file).read_all().column("doc_id"))


def test_planted_documents_are_found(prepared: Path) -> None:
    planted = json.loads((prepared / "summary.json").read_text())["planted"]
    assert set(planted) == {"exact_duplicate", "near_duplicate", "gibberish", "short", "language", "pii", "broken"}
    for kind, row in planted.items():
        assert row["found"] == row["planted"] > 0, (kind, row)


def test_tokenizer_round_trips_every_document(prepared: Path) -> None:
    stages = stage_folders(prepared)
    tokenizer = Tokenizer.load(stages["tokenizer"])
    files = stages["sources"].glob("*.documents.parquet")  # raw texts: the tokenizer has never seen most of them
    texts = [document.text for path in files for document in read_documents(path)]
    assert len(texts) == read_manifest(stages["sources"]).counts["documents"] > 300
    for text in texts:
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_second_run_skips_and_a_changed_config_redoes_what_depends_on_it(
    sample: Path, prepared: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(prepared, data)
    again = penstock(*arguments(sample, data))
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("done already") == 5
    changed = penstock(*arguments(sample, data, "dedup.bands=7"))
    assert changed.returncode == 0, changed.stderr
    assert changed.stderr.count("done already") == 2, "sources and clean do not depend on dedup"
    assert stage_folders(data)["dedup"] != stage_folders(prepared)["dedup"].name
    assert penstock("verify", data).returncode == 0


@pytest.mark.parametrize(
    ("victim", "stage"), [("driver", "sources"), ("worker", "clean"), ("driver", "dedup"), ("worker", "shards")]
)
def test_killed_and_rerun_gives_the_same_bytes(
    sample: Path, prepared: Path, tmp_path: Path, victim: str, stage: str
) -> None:
    data = tmp_path / "data"
    for earlier in itertools.takewhile(lambda name: name != stage, stage_folders(prepared)):  # skipped
        folder = stage_folders(prepared)[earlier]
        shutil.copytree(folder, data / folder.name)
    command = arguments(sample, data)
    with started([sys.executable, "-m", "pipeline", *command], tmp_path / "log") as process:
        wait_for(lambda: any(data.glob(f"{stage}-*/**/.attempt-*")), 120, f"an attempt in {stage}")
        if victim == "driver":
            kill(process.pid)
        else:
            busy = [pid for pid in descendants(process.pid) if "ray::_attempt" in title(pid)]
            assert busy, "no worker to kill"
            kill(busy[0])
            assert process.wait(timeout=200) == 0, (tmp_path / "log").read_text()
    if victim == "driver":
        assert not (data / "manifest.json").exists()
        rerun = penstock(*command)
        assert rerun.returncode == 0, rerun.stderr
    assert tree(data) == tree(prepared)
    assert not list(data.rglob(".attempt-*"))
