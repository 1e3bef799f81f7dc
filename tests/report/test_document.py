"""Lives of planted documents, as `penstock explain doc` tells them."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import ArtifactError, UserError
from pipeline.core.ledger import Ledger
from pipeline.core.manifest import stage_folders
from pipeline.core.schema import Document
from pipeline.core.tables import DocumentWriter
from pipeline.report.document import Relative, explain, find, readable
from pipeline.report.examples import draw
from tests.processes import penstock
from tests.report.planted import planted


def test_a_dropped_document_is_told_with_its_reason_and_score(sample: Path, prepared: Path) -> None:
    (life,) = explain(prepared, planted(sample, "short")["key"])
    assert [(step.stage, step.verdict) for step in life.steps] == [("sources", "kept"), ("clean", "dropped")]
    assert life.steps[1].reason == "gopher_short"
    assert life.steps[1].detail == f"{len(life.excerpt.split())} words, fewer than min_words 50"
    assert life.steps[0].num_bytes == len(life.excerpt.encode())


def test_a_page_is_traced_to_its_bytes_in_the_dump(sample: Path, prepared: Path) -> None:
    import bz2

    (life,) = explain(prepared, planted(sample, "near_duplicate")["key"])
    stream, offset = map(int, life.place.split("+"))
    with open(sample / life.file, "rb") as dump:
        dump.seek(stream)
        data = bz2.BZ2Decompressor().decompress(dump.read())
    page = data[offset : data.index(b"</page>", offset)].decode()
    assert page.startswith("<page>")
    assert f"<title>{life.title}</title>" in page
    assert f"<id>{life.meta['page_id']}</id>" in page


def test_a_duplicate_names_its_survivor_and_the_survivor_its_duplicate(sample: Path, prepared: Path) -> None:
    twins = planted(sample, "near_duplicate")
    lives = [explain(prepared, name)[0] for name in (twins["key"], twins["of"]["key"])]
    dropped, kept = sorted(lives, key=lambda life: len(life.steps))
    survivor = dropped.steps[-1].survivor
    assert survivor is not None
    assert (survivor.doc_id, survivor.source, survivor.key) == (kept.doc_id, kept.source, kept.key)
    assert (survivor.title, survivor.url) == (kept.title, kept.url)
    assert survivor.jaccard is not None
    assert 0.7 <= survivor.jaccard < 1
    assert survivor.bands
    shown = penstock("explain", "doc", dropped.doc_id, "--data", prepared).stdout
    bands = ", ".join(map(str, survivor.bands))
    assert f"survivor {kept.doc_id}" in shown
    size = json.loads(dropped.steps[-1].detail)["cluster_size"]
    assert f"near_duplicate  cluster of {size} documents\n" in shown
    assert f"  estimated Jaccard {survivor.jaccard:.2f}, shared bands {bands}\n" in shown
    (duplicate,) = kept.steps[2].stands_for
    assert (duplicate.doc_id, duplicate.jaccard) == (dropped.doc_id, survivor.jaccard)
    assert kept.steps[-1].stage == "shards"
    assert re.fullmatch(r"(train|validation|test)\.\d\d:\d+\+\d+", kept.steps[-1].detail)


def test_similarity_is_called_an_estimate_where_it_is_one() -> None:
    one = Relative("0" * 32, "wikipedia", "Weir", jaccard=0.874, bands=(2, 5))
    assert str(one).endswith("wikipedia: Weir  estimated Jaccard 0.87, shared bands 2, 5")
    verified = replace(one, true_jaccard=0.851)
    assert str(verified).endswith("Weir  Jaccard 0.85 (estimated Jaccard 0.87), shared bands 2, 5")
    assert str(replace(one, jaccard=1.0, bands=None)).endswith("Weir  Jaccard 1.00")


def test_a_detail_in_json_is_read_as_words() -> None:
    hit = {"file": "a.jsonl.gz", "item": "7", "field": "goal", "words": 13, "text": "the old\n\nweir"}
    keyed = hit | {"file": "a.json", "item": "data.3.goal", "words": 8, "text": "weir " * 40}
    assert readable(json.dumps({"items": 2, "longest": [hit, keyed]})) == (
        '2 evaluation items: 13 words of a.jsonl.gz, line 7, field goal: "the old weir"; '
        f'8 words of a.json, item data.3.goal, field goal: "{"weir " * 19}weir …"')  # fmt: skip
    passage = {"words": 1200, "passages": 1, "begins": "a " * 100}
    assert readable(json.dumps(passage)) == f'1,200 words in 1 passage, which begins "{"a " * 49}a …"'
    assert readable(json.dumps(passage | {"passages": 2, "begins": "a"})) == (
        '1,200 words in 2 passages, the first begins "a"')  # fmt: skip
    assert readable('{"lines": 3, "first": "a\\n\\nb"}') == 'lines 3, first "a b"'
    assert readable('{"items": "2", "longest": []}') == "items 2, longest "
    assert readable("7 words, fewer than min_words 50") == "7 words, fewer than min_words 50"
    for raw in ('{"survivor": "no id', '{"a":' + "[" * 490, "{" * 500):
        assert readable(raw) == raw


def test_an_edit_is_shown_as_a_diff(sample: Path, prepared: Path) -> None:
    secret = planted(sample, "pii")
    (life,) = explain(prepared, secret["key"])
    step = life.steps[1]
    assert (step.verdict, step.reason) == ("edited", "pii")
    removed = [line for line in step.diff if line.startswith("-")]
    added = [line for line in step.diff if line.startswith("+")]
    assert all(any(string in line for line in removed) for string in secret["planted"])
    assert not any(string in line for line in added for string in secret["planted"])
    assert max(map(len, step.diff)) < 300


def test_a_broken_record_is_told_with_its_file(sample: Path, prepared: Path) -> None:
    broken = planted(sample, "broken")
    (life,) = explain(prepared, broken["key"])
    assert (sample / life.file).is_file()
    assert [(step.stage, step.kind) for step in life.steps] == [("sources", "error")]


def test_documents_are_found_by_id_title_url_and_file(prepared: Path) -> None:
    ledger = Ledger.of(prepared)
    page = ledger.kept_in("shards", "wikipedia", 1, seed=0)[0]
    (life,) = explain(prepared, page.key)
    assert life.doc_id == page.doc_id.hex()
    names = [life.doc_id, life.doc_id.upper(), life.doc_id[:10], life.url, life.title, life.title.lower(),
             life.title.replace(" ", "_"), life.url.replace("https://", "HTTPS://", 1) + "#History"]  # fmt: skip
    for name in names:
        assert find(ledger, name) == [page.doc_id], name
    news = ledger.kept_in("shards", "cc_news", 1, seed=0)[0]
    host = news.key.split("/")[2]
    for name in (news.key, news.key.replace(host, host.upper()) + "?utm_source=x", f"{news.key}#top"):
        assert find(ledger, name) == [news.doc_id], name
    book = ledger.kept_in("shards", "bookcorpus", 1, seed=0)[0]
    for name in (book.key, f"bookcorpus/{book.key}"):
        assert find(ledger, name) == [book.doc_id], name
    assert find(ledger, page.doc_id.hex()[:7]) == [], "seven digits are a guess"


def test_a_name_that_finds_nothing_or_too_much_says_what_there_is(sample: Path, prepared: Path) -> None:
    title = planted(sample, "near_duplicate")["key"]
    with pytest.raises(UserError, match=rf"no document '{re.escape(title[1:])}'.*; did you mean '{re.escape(title)}'"):
        explain(prepared, title[1:])
    with pytest.raises(
        UserError, match=r"no document 'zzzzqqqq' in .* \(id of 8 digits or more, title, URL or file\)$"
    ):
        explain(prepared, "zzzzqqqq")
    for nothing in ("", "  "):
        with pytest.raises(UserError, match=r"^explain doc: name a document by its id, title, URL or file$"):
            explain(prepared, nothing)
    assert "8 hex digits" in penstock("explain", "--help").stdout
    (dump,) = (sample / "wikipedia").glob("*.xml.bz2")
    with pytest.raises(UserError) as raised:
        explain(prepared, dump.name)
    lines = str(raised.value).splitlines()
    assert re.fullmatch(rf"'{dump.name}' means \d\d\d documents; name one of them, for example", lines[0])
    assert len(lines) == 11
    assert re.fullmatch(r"  [0-9a-f]{32}  wikipedia: .+", lines[1])


def test_a_stage_can_be_asked_before_the_others_are_done(sample: Path, prepared: Path, tmp_path: Path) -> None:
    key = planted(sample, "short")["key"]
    (life,) = explain(stage_folders(prepared)["clean"], key)
    assert [step.verdict for step in life.steps] == ["dropped"]
    (tmp_path / "data").mkdir()
    for stage in ("sources", "clean"):
        (tmp_path / "data" / stage_folders(prepared)[stage].name).symlink_to(stage_folders(prepared)[stage])
    with pytest.raises(ArtifactError, match=r"data is not finished; name one of the stages in it: clean-.*, sources-"):
        explain(tmp_path / "data", key)
    with pytest.raises(ArtifactError, match="nothing is not a folder"):
        explain(tmp_path / "nothing", key)
    with pytest.raises(ArtifactError, match="no ledger"):
        explain(stage_folders(prepared)["tokenizer"], key)


def test_what_lies_behind_a_url_is_to_be_brought_first() -> None:
    for verb in (["explain", "doc", "x", "--data"], ["ledger", "summary"], ["ledger", "sample", "--reason", "x"]):
        done = penstock(*verb, "s3://bucket/run")
        assert done.returncode == 2
        assert done.stderr == (
            "penstock: s3://bucket/run is a URL; bring it here first: penstock pull s3://bucket/run DIR\n")  # fmt: skip


def test_a_folder_may_have_any_name(sample: Path, prepared: Path, tmp_path: Path) -> None:
    data = tmp_path / "it's [1] *.\\d"
    shutil.copytree(prepared, data)
    key = planted(sample, "pii")["key"]
    assert explain(data, key) == explain(prepared, key)


def test_the_command(sample: Path, prepared: Path) -> None:
    key = planted(sample, "short")["key"]
    said = penstock("explain", "doc", key, "--data", prepared).stdout
    assert re.search(r"^  sources  kept +\d+ bytes$", said, re.MULTILINE)
    assert re.search(
        r"^  clean    dropped +\d+ bytes  gopher_short  \d+ words, fewer than min_words 50$", said, re.MULTILINE
    )
    (life,) = json.loads(penstock("explain", "doc", key, "--data", prepared, "--json").stdout)
    assert life["key"] == key
    done = penstock("explain", "token", "5", "--data", prepared)
    assert (done.returncode, done.stderr) == (2, "penstock: explain token: this version explains doc\n")


HOSTILE = "\x1b]0;title\x07\x1b[2J \x9b[31m [/b]"


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A stage whose records say whatever strangers write."""
    folder = tmp_path / "sources-0123456789ab"
    folder.mkdir()
    with DocumentWriter(folder, "sources") as writer:
        writer.keep(Document(b"1" * 16, "jsonl", HOSTILE, "a", HOSTILE, HOSTILE, HOSTILE), origin=HOSTILE)
        writer.drop(b"2" * 16, "wikipedia", "Weir", kind="quality", reason="redirect", detail='{"survivor": "no id')
        writer.drop(b"3" * 16, "books", "caf\ufffd.txt", kind="error", reason="failed", detail=HOSTILE)
    for name in ("documents", "ledger"):
        (folder / f"{name}.parquet").rename(folder / f"jsonl-00000.{name}.parquet")
    return folder


def test_raw_text_does_not_command_the_terminal(hostile: Path) -> None:
    for arguments in (["explain", "doc", b"1".hex() * 16, "--data", hostile],
                      ["explain", "doc", HOSTILE, "--data", hostile],
                      ["explain", "doc", HOSTILE + "x", "--data", hostile],
                      ["ledger", "sample", hostile, "--reason", "failed"]):  # fmt: skip
        done = penstock(*arguments)
        assert "\\x1b[2J \\x9b[31m [/b]" in done.stdout + done.stderr
        assert not set("\x1b\x07\x9b") & set(done.stdout + done.stderr)


def test_a_raw_record_cannot_name_a_survivor(hostile: Path) -> None:
    (life,) = explain(hostile, "Weir")
    assert (life.steps[0].survivor, life.steps[0].detail) == (None, '{"survivor": "no id')
    assert draw(hostile, "redirect")[0].kept is None


def test_a_name_that_is_not_utf8_is_looked_up_as_the_ledger_has_it(hostile: Path) -> None:
    (life,) = explain(hostile, "caf\udce9.txt")
    assert life.key == "caf\ufffd.txt"
    with pytest.raises(UserError, match="nothing was dropped or edited for '\ufffd' in"):
        draw(hostile, "\udce9")


def test_a_prepare_folder_that_is_half_deleted_or_edited_is_an_error(prepared: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(prepared, data)
    clean = stage_folders(data)["clean"]
    for file in clean.glob("*.ledger.parquet"):
        pq.write_table(pa.table({"a": [1]}), file)
    with pytest.raises(ArtifactError, match=r"the ledger cannot be read .*`penstock verify` names damaged files"):
        explain(data, "x")
    shutil.rmtree(clean)
    with pytest.raises(ArtifactError, match=rf"{re.escape(str(clean))} is gone; run prepare again to make it"):
        explain(data, "x")
    manifest = json.loads((data / "manifest.json").read_bytes())
    for stages in (["clean-1"], {"clean": 5}, {"clean": "../clean"}):
        manifest["counts"]["stages"] = stages
        (data / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(ArtifactError, match=r"manifest\.json is damaged: .* are no stages and their folders"):
            explain(data, "x")
