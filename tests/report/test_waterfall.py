"""`penstock ledger summary`: documents and bytes add up, on the screen, in JSON and in the drawing."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import ArtifactError
from pipeline.core.ledger import Flow, Ledger, Loss
from pipeline.core.manifest import stage_folders
from pipeline.report import page
from pipeline.report.waterfall import ALL, Summary, Unused, bars, summarise
from tests.processes import penstock

FLOW = Flow("books & <more>", 100, 5_000_000, (Loss("clean", "quality", "short", 25, 1_000_000),
            Loss("clean", "edit", "edits", 0, 500_000)), 75, 3_500_000)  # fmt: skip


def test_documents_and_bytes_add_up_per_source_and_in_all(prepared: Path) -> None:
    summary = summarise(prepared)
    assert [flow.source for flow in summary.flows] == ["bookcorpus", "cc_news", "wikipedia", ALL]
    for flow in summary.flows:
        assert flow.documents_in == flow.documents_kept + sum(loss.documents for loss in flow.losses)
        assert flow.bytes_in == flow.bytes_kept + sum(loss.num_bytes for loss in flow.losses)
        stages = [summary.stages.index(loss.stage) for loss in flow.losses]
        assert stages == sorted(stages)
    rows = pq.read_table(sorted(stage_folders(prepared)["sources"].glob("*.ledger.parquet")))
    assert summary.flows[-1].documents_in == rows.num_rows
    kept = sum(len(texts) for texts in kept_texts(prepared))
    assert summary.flows[-1].documents_kept == kept
    assert summary.flows[-1].bytes_kept == sum(len(text.encode()) for texts in kept_texts(prepared) for text in texts)


def kept_texts(prepared: Path) -> list[list[str]]:
    files = stage_folders(prepared)["dedup"].glob("*.documents.parquet")
    return [pq.read_table(file, columns=["text"]).column("text").to_pylist() for file in files]


def test_bars_step_down_from_in_to_kept() -> None:
    rows = bars(FLOW)
    assert [(bar.name, bar.documents, bar.share, bar.left) for bar in rows] == [
        ("in", 100, 1, 1), ("short", 25, 0.25, 0.75), ("edits", 0, 0, 0.75), ("kept", 75, 0.75, 0.75),
    ]  # fmt: skip


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open += [tag] * (tag != "meta")
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_and_loads_nothing(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    page.write(Summary("data", ("sources", "clean"), (FLOW,), (Unused("clean-0123456789ab", 2_000_000),)), file)
    read = Page()
    read.feed(file.read_text())
    assert read.open == []
    assert not {name for _, name, _ in read.attributes} & {"src", "href", "onload", "data"}
    assert "http" not in file.read_text()
    assert "books & <more>" in read.text
    assert "clean: short: 25 documents, 1.0 MB; 75.0% left" in read.text
    assert "75.0% of the documents and 70.0% of the bytes are kept" in read.text
    assert "clean-0123456789ab (2.0 MB)" in read.text
    widths = [float(value or 0) for tag, name, value in read.attributes if tag == "rect" and name == "width"]
    assert widths == [page.PLOT, page.PLOT * 0.75, page.PLOT * 0.25, page.PLOT * 0.75, 0, page.PLOT * 0.75]


@pytest.mark.parametrize("name", ["/proc/x/y.html", "file/y.html", "."])
def test_a_page_that_cannot_be_written_is_said_in_one_line(name: str, prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = penstock("ledger", "summary", prepared, "--html", tmp_path / name)
    assert done.returncode == 2
    assert done.stderr.startswith(f"penstock: cannot write {tmp_path / name}: ")
    assert done.stderr.count("\n") == 1


def test_the_command(prepared: Path, tmp_path: Path) -> None:
    done = penstock("ledger", "summary", prepared, "--html", tmp_path / "deep" / "page.html")
    assert done.returncode == 0, done.stderr
    assert re.search(r"│ dedup   │ near_duplicate +│ +-12 │", done.stdout)
    assert "<svg" in (tmp_path / "deep" / "page.html").read_text()
    told = json.loads(penstock("ledger", "summary", prepared, "--json").stdout)
    assert [flow["source"] for flow in told["flows"]] == ["bookcorpus", "cc_news", "wikipedia", ALL]


def test_stage_folders_that_nothing_uses_are_named(prepared: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(prepared, data)
    assert summarise(data).unused == ()
    (data / "clean-0123456789ab").mkdir()
    (data / "clean-0123456789ab" / "a.parquet").write_bytes(b"x" * 1000)
    (data / "notes-of-mine").mkdir()
    assert summarise(data).unused == (Unused("clean-0123456789ab", 1000),)


def test_a_ledger_that_lost_documents_is_refused(prepared: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(prepared, data)
    file = next(stage_folders(data)["dedup"].glob("cc_news*.ledger.parquet"))
    table = pq.read_table(file)
    pq.write_table(table.slice(1), file)
    with pytest.raises(ArtifactError, match=r"source cc_news: clean kept 4\d\d documents, 4\d\d came into dedup"):
        Ledger.of(data).flows()
    file.write_bytes(b"PAR1 not a Parquet file PAR1")
    with pytest.raises(ArtifactError, match=r"the ledger cannot be read \(.*\); `penstock verify` names damaged files"):
        Ledger.of(data).flows()
