"""The data stages end to end: the real command, on real Ray, killed for real."""

import bz2
import gzip
import itertools
import json
import random
import re
import shutil
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.clean import run as clean
from pipeline.core.ledger import Ledger
from pipeline.core.manifest import read_manifest, stage_folders
from pipeline.core.plugins import parse
from pipeline.core.shard_map import Workers
from pipeline.core.tables import read_documents
from pipeline.dedup import run as dedup
from pipeline.sources import run as sources
from pipeline.sources.base import PACKAGE as SOURCES
from pipeline.tokenizer.tokenizer import Tokenizer
from tests.processes import descendants, hiding, kill, penstock, started, title, wait_for

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
    fates = Ledger.of(prepared).fates()
    first = pq.read_table(sorted(stages["sources"].glob("*.ledger.parquet")))
    ids = first.column("doc_id").to_pylist()
    assert len(ids) == len(set(ids)) == len(fates)
    dropped = first.filter(pc.equal(first["verdict"], "dropped"))
    assert all(re.fullmatch(r".+:\d+(\+\d+)?", origin.as_py()) for origin in dropped["origin"]), "where each one lies"
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
    ("victim", "stage", "num_workers"),
    [("driver", "sources", 4), ("worker", "clean", 4), ("stopped driver", "dedup", 1), ("worker", "shards", 1)],
)
def test_killed_and_rerun_gives_the_same_bytes(
    sample: Path, prepared: Path, tmp_path: Path, victim: str, stage: str, num_workers: int
) -> None:
    """Whatever the number of workers, before the kill and after it, and in whatever order the sources are listed."""
    data = tmp_path / "data"
    for earlier in itertools.takewhile(lambda name: name != stage, stage_folders(prepared)):  # skipped
        folder = stage_folders(prepared)[earlier]
        shutil.copytree(folder, data / folder.name)
    command = arguments(sample, data, f"num_workers={num_workers}", "sources=[cc_news, wikipedia, bookcorpus]")
    with started([sys.executable, "-m", "pipeline", *command], tmp_path / "log") as process:
        wait_for(lambda: any(data.glob(f"{stage}-*/**/.attempt-*")), 120, f"an attempt in {stage}")
        if victim == "driver":
            kill(process.pid)
        elif victim == "stopped driver":
            process.terminate()
            assert process.wait(timeout=60) == 75
            assert "penstock: stopped as told; the same command goes on" in (tmp_path / "log").read_text()
            assert not list(data.rglob(".attempt-*"))
        else:
            busy = [pid for pid in descendants(process.pid) if "ray::attempt" in title(pid)]
            assert busy, "no worker to kill"
            kill(busy[0])
            assert process.wait(timeout=200) == 0, (tmp_path / "log").read_text()
    if victim != "worker":
        assert not (data / "manifest.json").exists()
        rerun = penstock(*command, "--set", f"num_workers={5 - num_workers}")
        assert rerun.returncode == 0, rerun.stderr
    assert tree(data) == tree(prepared)
    assert not list(data.rglob(".attempt-*"))


def test_stopped_while_ray_starts_is_75(sample: Path, tmp_path: Path) -> None:
    """Ray puts its own handler of SIGTERM in the place of ours, for a while."""
    command = [sys.executable, "-m", "pipeline", *arguments(sample, tmp_path / "data")]
    with started(command, tmp_path / "log") as process:
        wait_for(lambda: any("gcs_server" in title(pid) for pid in descendants(process.pid)), 120, "Ray")
        for _ in range(20):  # schedulers repeat themselves
            process.terminate()
            time.sleep(0.1)
        assert process.wait(timeout=60) == 75, (tmp_path / "log").read_text()
    assert "penstock: stopped as told; the same command goes on" in (tmp_path / "log").read_text()


def test_a_missing_package_stops_the_first_stage_that_needs_it(tmp_path: Path) -> None:
    """Hidden from every process: before anything is written. From the workers: before any document is cleaned."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text('{"text": "a document"}\n' * 20)
    command = ["prepare", "--config", CONFIG, "--out", str(tmp_path / "out")]
    for setting in (f"input={tmp_path / 'in'}", "num_workers=1", "sources=[jsonl]", "clean.filters=[unicode]"):
        command += ["--set", setting]
    for where in ("", "default_worker.py"):
        done = penstock(*command, **hiding("ftfy", tmp_path / f"hidden{where}", where))
        assert done.returncode == 2, done.stderr
        assert (
            "cannot import 'ftfy' (No module named 'ftfy'); install it wherever workers run: pip install ftfy"
            in (done.stderr.splitlines()[-1])
        )
        assert "Traceback" not in done.stderr
        assert bool(where) == (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.glob("out/clean-*/**/*")] == ["receipts"]


def test_names_and_order_of_the_files_change_no_verdict(tmp_path: Path, workers: Workers) -> None:
    """The same records in files of other names and another order: the same documents, verdicts and survivors."""
    rng = random.Random(0)
    texts = [sentences(rng) for _ in range(40)]
    texts += [text + " One more sentence at its end." for text in texts[:6]] + texts[6:9] + ["short"] * 2
    records = [json.dumps({"id": f"record {number}", "text": text}) for number, text in enumerate(texts)]
    config = [parse(SOURCES, {"name": "jsonl", "id_field": "id"})]
    found = []
    for names in (("a", "b", "c"), ("z/c", "b", "a")):
        folder = tmp_path / names[0].replace("/", "")
        for number, name in enumerate(names):
            file = folder / "in" / f"{name}.jsonl"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(f"{record}\n" for record in records[number::3]))
        documents = sources.run(config, folder / "in", folder, workers)
        cleaned = clean.run(clean.CleanConfig(filters=["unicode", "quality"]), documents, folder, workers)
        unique = dedup.run(dedup.DedupConfig(), cleaned, folder, workers)
        ledger = Ledger({"sources": documents, "clean": cleaned, "dedup": unique})
        found.append({fate.doc_id: replace(fate, origin="", file="") for fate in ledger.fates()})
    assert found[0] == found[1]
    assert Counter(fate.reason for fate in found[0].values()) == {
        "": 40, "near_duplicate": 6, "exact_duplicate": 3, "gopher_short": 2
    }  # fmt: skip


def sentences(rng: random.Random) -> str:
    """English by its stop words, 60 words and more."""
    words = ["".join(rng.choices("abdegilmnoprstu", k=rng.randint(3, 8))) for _ in range(60)]
    return ". ".join(f"The {' '.join(words[at : at + 6])} is of that to have with" for at in range(0, 60, 6)) + "."


def test_when_nothing_is_left_the_stage_that_dropped_it_says_why(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text(
        json.dumps({"text": sentences(random.Random(0))}) + "\n" + '{"text": ""}\n'
    )
    settings = [f"input={tmp_path / 'in'}", "sources=[jsonl]", "clean.filters=[{name: length, min_words: 500}]"]
    chosen = [part for setting in settings for part in ("--set", setting)]
    done = penstock("prepare", "--config", CONFIG, "--out", tmp_path / "out", *chosen)
    assert done.returncode == 2, done.stderr
    (cleaned,) = (tmp_path / "out").glob("clean-*")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("penstock: of 1 documents none is left (")
    assert f"'penstock ledger sample {cleaned} --reason " in last
    assert (
        penstock("ledger", "sample", cleaned, "--reason", last.rpartition(" --reason ")[2].split("'")[0]).returncode
        == 0
    )


def test_a_folder_that_cannot_be_made_is_one_line() -> None:
    refused = penstock("prepare", "--config", CONFIG, "--out", "/proc/penstock/out", "--set", "input=.")
    assert refused.returncode == 2
    assert refused.stderr.splitlines() == [
        "penstock: cannot make the folder /proc/penstock/out: No such file or directory"
    ]
