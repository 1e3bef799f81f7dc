"""The stage: files found or refused, conservation, the same bytes for any number of workers, errors that stop it."""

import gzip
import json
import os
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from pipeline.core.config import Config, load
from pipeline.core.errors import ConfigError, UserError
from pipeline.core.manifest import is_done, read_manifest
from pipeline.core.plugins import parse
from pipeline.core.shard_map import Workers
from pipeline.core.tables import read_documents
from pipeline.report.waterfall import summarise
from pipeline.sources.base import PACKAGE, SourceConfig, Sources, group
from pipeline.sources.run import _splits, find_files, read_split, run


class Section(Config):
    sources: Sources


def source(name: str = "jsonl", **settings: object) -> SourceConfig:
    config = parse(PACKAGE, {"name": name, **settings})
    assert isinstance(config, SourceConfig)
    return config


def write_lines(path: Path, good: int, broken: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"text": f"document {number}"}) for number in range(good)] + ["{"] * broken
    path.write_text("".join(f"{line} \n" for line in lines))


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_stage_counts_every_record_and_writes_the_same_bytes_again(tmp_path: Path, workers: Workers) -> None:
    write_lines(tmp_path / "in/a.jsonl", good=50, broken=2)
    write_lines(tmp_path / "in/b/b.jsonl", good=5)
    (tmp_path / "in/c.txt").write_text("A book, and not a long one. \ud83d".encode("utf-8", "replace").decode())
    config = [source(paths=["**/*.jsonl", "*.jsonl"]), source("bookcorpus", label="books", paths=["*.txt"])]
    folder = run(config, tmp_path / "in", tmp_path / "first", workers)
    counts = read_manifest(folder).counts
    assert (counts["in"], counts["documents"], counts["dropped"], counts["errors"]) == (58, 56, 2, 2)
    assert counts["sources"]["jsonl"]["reasons"] == {"malformed": 2}
    assert counts["sources"]["books"]["documents"] == 1
    assert {path.name for path in folder.glob("*.parquet")} == {
        "jsonl-00000.documents.parquet", "jsonl-00000.ledger.parquet",
        "books-00000.documents.parquet", "books-00000.ledger.parquet",
    }  # fmt: skip
    documents = list(read_documents(folder / "jsonl-00000.documents.parquet"))
    assert [document.key for document in documents[-2:]] == ["b/b.jsonl:72", "b/b.jsonl:96"]
    with Workers(num_workers=1) as alone:
        # Ray is up with two workers already; one split at a time is what matters here
        alone._attempt = workers._attempt
        listed_otherwise = [config[1], source(paths=["*.jsonl", "**/*.jsonl", "*.jsonl"])]
        second = run(listed_otherwise, tmp_path / "in", tmp_path / "second", alone)
        alone._attempt = None
    assert second.name == folder.name
    assert files_of(second) == files_of(folder)


def test_splits_do_not_depend_on_the_order_of_the_globs(tmp_path: Path) -> None:
    for name in ("c", "a", "b"):
        write_lines(tmp_path / f"{name}.jsonl", good=3)
    one = find_files(source(paths=["a*", "b*", "c*"]), tmp_path)
    two = find_files(source(paths=["c*", "*b.jsonl", "*"]), tmp_path)
    write_lines(tmp_path / "sub/d.jsonl", good=1)
    keys = [find_files(source(paths=paths), tmp_path)[0].key for paths in (["sub", "**/d*"], ["**/d*", "sub"])]
    assert keys[0] == keys[1], "of two patterns that match a file always the same names it"
    assert [file.name for file in one] == [file.name for file in two] == ["a.jsonl", "b.jsonl", "c.jsonl"]
    assert [split.id for split in _splits(source(), one)] == ["jsonl-00000"]


def test_a_split_reads_the_same_twice(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", good=30, broken=1)
    (split,) = _splits(source(), find_files(source(), tmp_path))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        counts = read_split(split.task, tmp_path / name)
        assert counts["in"] == counts["kept"] + counts["dropped"] == 31
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_group() -> None:
    assert list(group([5, 5, 5], 10)) == [(0, 2), (2, 3)]
    assert list(group([50, 1, 1], 10)) == [(0, 1), (1, 3)]
    assert list(group([], 10)) == []


def test_what_has_no_utf8_is_written_with_replacements(tmp_path: Path) -> None:
    """Names of files may be any bytes, JSON may hold half a surrogate pair."""
    record = {"id": "\ud83d", "text": "text \ud83d", "lang": "\ud83d"}
    (tmp_path / os.fsdecode(b"\xff.jsonl")).write_text(json.dumps(record) + "\n{\n")
    config = source(id_field="id", meta_fields=["lang"])
    (split,) = _splits(config, find_files(config, tmp_path))
    (tmp_path / "out").mkdir()
    assert read_split(split.task, tmp_path / "out")["in"] == 2
    (document,) = read_documents(tmp_path / "out/documents.parquet")
    assert (document.key, document.text, document.meta) == ("\ufffd", "text \ufffd", {"lang": "\ufffd"})
    assert document.origin == "\ufffd.jsonl:0"


def test_an_input_folder_with_wildcards_in_its_name(tmp_path: Path) -> None:
    write_lines(tmp_path / "run[1]/x/a.jsonl", good=1)
    for pattern, key in {"**/*.jsonl": "x/a.jsonl", "x": "a.jsonl", "x/a*": "a.jsonl"}.items():
        (file,) = find_files(source(paths=[pattern]), tmp_path / "run[1]")
        assert (file.name, file.key) == ("x/a.jsonl", key), pattern


def test_paths_are_globs_folders_or_absolute(tmp_path: Path) -> None:
    write_lines(tmp_path / "in/x/deep/a.jsonl", good=1)
    names = {
        "x": "deep/a.jsonl", "x/**": "deep/a.jsonl", "*/*/a.jsonl": "x/deep/a.jsonl", "x/deep/a.jsonl": "a.jsonl",
        str(tmp_path / "in/x/*/*"): "deep/a.jsonl",
    }  # fmt: skip
    for pattern, key in names.items():
        (file,) = find_files(source(paths=[pattern]), tmp_path / "in")
        assert (file.name, file.key) == ("x/deep/a.jsonl", key), pattern


@pytest.mark.parametrize(
    ("paths", "folder", "message"),
    [
        (["*.xml"], "in", r"source jsonl: no file matches '\*\.xml' in .*in; it holds a\.jsonl, sub/"),
        (["*"], "missing", "input folder .*missing does not exist"),
        (["*"], "in/a.jsonl", r"a\.jsonl is not a folder"),
        (["sub/*"], "in", "no file matches 'sub/.*'"),
        (["*"], "in/sub", "the folder is empty"),
    ],
)
def test_input_that_is_not_there(paths: list[str], folder: str, message: str, tmp_path: Path) -> None:
    write_lines(tmp_path / "in/a.jsonl", good=1)
    (tmp_path / "in/sub").mkdir()
    with pytest.raises(UserError, match=message):
        find_files(source(paths=paths), tmp_path / folder)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lines(tmp_path / "a.jsonl", good=1)
    monkeypatch.setattr("os.access", lambda path, mode: False)  # the tests may run as root, who may read everything
    with pytest.raises(UserError, match=r"no permission to read .*a\.jsonl"):
        find_files(source(), tmp_path)


def test_two_sources_of_one_name_are_refused(tmp_path: Path, workers: Workers) -> None:
    write_lines(tmp_path / "a.jsonl", good=1)
    with pytest.raises(UserError, match="two sources are called 'jsonl'; give one of them another `label`"):
        run([source(), source()], tmp_path, tmp_path / "out", workers)


def test_an_empty_corpus_is_refused(tmp_path: Path, workers: Workers) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": ""}\n\n')
    with pytest.raises(UserError, match=r"empty corpus: 1 records read, not one document \(1 no_text\)"):
        run([source()], tmp_path, tmp_path / "out", workers)


def test_too_many_errors_stop_the_stage_and_name_examples(tmp_path: Path, workers: Workers) -> None:
    write_lines(tmp_path / "in/a.jsonl", good=96, broken=4)
    with pytest.raises(UserError, match=r"4 of 100 records .* 0\.01 .*a\.jsonl:\d+: malformed") as raised:
        run([source()], tmp_path / "in", tmp_path / "out", workers)
    (folder,) = (tmp_path / "out").iterdir()
    assert str(raised.value).endswith(f"(`penstock ledger summary {folder}` counts them by reason)")
    (flow,) = summarise(folder).flows
    assert [(loss.kind, loss.reason, loss.documents) for loss in flow.losses] == [("error", "malformed", 4)]
    assert not is_done(folder)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}
    assert run([source(max_error_rate=0.05)], tmp_path / "in", tmp_path / "out", workers) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*.parquet")} == before, "nothing is read again"


def test_lost_files_are_named(
    tmp_path: Path, workers: Workers, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One error each, too few to stop the stage, and yet most of the corpus may be gone."""
    write_lines(tmp_path / "in/a.jsonl", good=5, broken=1)
    for name in ("b", "c"):
        (tmp_path / f"in/{name}.jsonl.gz").write_bytes(gzip.compress(b'{"text": "x"}\n' * 1000)[:-9])
    monkeypatch.setattr("pipeline.sources.run.SHOWN_LOSSES", 1)
    run([source()], tmp_path / "in", tmp_path / "out", workers)
    first, second = caplog.messages
    assert first.startswith("source jsonl: lost a file or part of it: b.jsonl.gz:14000: damaged after 14000 bytes: EOF")
    assert second == "source jsonl: and 1 more; see the ledger"


def test_a_source_of_which_nothing_can_be_read_is_refused(tmp_path: Path, workers: Workers) -> None:
    write_lines(tmp_path / "in/a.jsonl", good=5)
    (tmp_path / "in/a.zip").write_bytes(b"PK no")
    message = r"source books: not one document, and 1 of 1 records could not be read: a\.zip: damaged BadZipFile"
    with pytest.raises(UserError, match=message):
        run([source(), source("bookcorpus", label="books", paths=["*.zip"])], tmp_path / "in", tmp_path, workers)


def test_the_config_lists_every_mistake_by_path() -> None:
    given = """sources=[{"name": "wikipeda"}, {"name": "jsonl", "text_feld": "x"}]"""
    with pytest.raises(ConfigError) as mistake:
        load(Section, None, [given])
    first, second = str(mistake.value).splitlines()
    assert "sources.0" in first
    assert "did you mean 'wikipedia'" in first
    assert "sources.1.text_feld: unknown key; did you mean 'text_field'?" in second
    assert TypeAdapter(Sources).validate_python(["cc_news"])[0].source == "cc_news"
