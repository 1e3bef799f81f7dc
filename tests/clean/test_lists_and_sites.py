"""Length, symbols, blocklists, lines of a site: each rule on both sides of its edge, and lists and surveys on disk."""

import importlib.metadata  # noqa: F401  (datatrove 0.10 uses it without importing it)
import os
import re
import zipfile
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from pipeline.clean import blocklist, length, site_lines, symbols
from pipeline.clean.run import CleanConfig, JudgeTask, judge_split, run
from pipeline.clean.survey import SurveyTask, inputs, survey_split
from pipeline.clean.verdict import Drop, Replace, Verdict
from pipeline.core.errors import UserError
from pipeline.core.ledger import Ledger
from pipeline.core.manifest import committed_files, read_manifest
from pipeline.core.schema import Document
from pipeline.core.shard_map import Workers
from pipeline.core.tables import DOCUMENTS_FILE, read_documents
from tests.dedup.documents import write_stage

TEXT = "The old weir above the town mill was opened again on Friday."


def document(text: str, url: str = "", number: int = 0) -> Document:
    return Document(number.to_bytes(16, "big"), "test", f"key {number}", "file:0", text, url=url)


def dropped(verdict: Verdict) -> tuple[str, str] | None:
    return (verdict.reason, verdict.detail) if isinstance(verdict, Drop) else None


# ---- length, symbols ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "text", "verdict"),
    [
        ({}, "x" * 200, None),
        ({}, "x" * 199, ("length_short", "199 characters, fewer than min_chars 200")),
        ({"max_chars": 1000}, "x" * 1000, None),
        ({"max_chars": 1000}, "x" * 1001, ("length_long", "1,001 characters, more than max_chars 1,000")),
        ({"min_chars": 0, "min_words": 4}, "one two three four", None),
        ({"min_chars": 0, "min_words": 4}, "one two three!", ("length_short", "3 words, fewer than min_words 4")),
        ({"min_chars": 0, "min_words": 2}, "one", ("length_short", "1 word, fewer than min_words 2")),
        ({"min_chars": 0, "max_words": 3}, "日本語", None),
        ({"min_chars": 0, "max_words": 2}, "日本語", ("length_long", "3 words, more than max_words 2")),
    ],
)
def test_length(settings: dict[str, Any], text: str, verdict: tuple[str, str] | None) -> None:
    assert dropped(length.build(length.Config(**settings))(document(text))) == verdict


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("ab------", None),
        ("ab_______", ("symbols_alnum", "0.222 of the characters are letters or digits, less than min_alnum 0.25")),
        ("日本語------", None),
        ("ab12", None),
        ("ab123", ("symbols_digits", "0.600 of the letters and digits are digits, more than max_digits 0.5")),
        ("", ("symbols_alnum", "0.000 of the characters are letters or digits, less than min_alnum 0.25")),
    ],
)
def test_symbols(text: str, verdict: tuple[str, str] | None) -> None:
    assert dropped(symbols.build(symbols.Config())(document(text))) == verdict


def test_lines_of_symbols() -> None:
    text = f"{TEXT}\n* * *\n\n=====\n§ 3\n한국어\n___\nend"
    assert symbols.build(symbols.Config())(document(text)) is None
    verdict = symbols.build(symbols.Config(symbol_lines="remove"))(document(text))
    assert isinstance(verdict, Replace)
    assert (verdict.document.text, verdict.edit) == (f"{TEXT}\n\n§ 3\n한국어\nend", "symbols")


# ---- blocklist ---------------------------------------------------------------------------------------------------


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    with zipfile.ZipFile(tmp_path / "lists.zip", "w") as archive:
        archive.writestr("en", "Weir\n\nmill pond\nf**k\n🖕\n")
        archive.writestr("folder/ja", "女の子\n")
    (tmp_path / "hosts.txt").write_text("bad.example\n")
    (tmp_path / "hard.txt").write_text("casino\n")
    (tmp_path / "soft.txt").write_text("free\nwin\nnow\n")
    (tmp_path / "strict.txt").write_text("xxx\n")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The WEIR.", "weir"), ("the weird weirs", None), ("(weir)", "weir"), ("weir-like", "weir"), ("wéir", None),
        ("a mill pond", "mill pond"), ("a mill  pond", None), ("the mill ponds", None), ("what the f**k!", "f**k"),
        ("af**ka", None), ("so🖕there", "🖕"), ("あの女の子は", "女の子"), ("女 の子", None),
    ],
)  # fmt: skip
def test_listed_words(lists: Path, text: str, found: str | None) -> None:
    config = blocklist.Config(words=(f"{lists}/lists.zip/en", f"{lists}/lists.zip/folder/ja"))
    verdict = ("blocklist_words", f"in words: {found}; min_words 1") if found else None
    assert dropped(blocklist.build(config)(document(text))) == verdict


def test_so_many_listed_words(lists: Path) -> None:
    judge = blocklist.build(blocklist.Config(words=(f"{lists}/lists.zip/en",), min_words=2))
    assert judge(document("weir weir Weir")) is None
    assert dropped(judge(document("A weir, a mill pond"))) == (
        "blocklist_words",
        "in words: mill pond, weir; min_words 2",
    )


@pytest.mark.parametrize(
    ("url", "verdict"),
    [
        ("https://bad.example/a", ("blocklist_domain", "in domains: bad.example")),
        ("https://www.Bad.example:8080/a", ("blocklist_domain", "in domains: bad.example")),
        ("https://notbad.example/bad.example", None),
        ("https://a.example/the-casino/", ("blocklist_url", "in url_words: casino")),
        ("https://a.example/casinos", None),
        ("https://a.example/win/", None),
        ("https://a.example/win/free", ("blocklist_url", "in url_soft_words: free, win; min_soft_words 2")),
        ("https://a.example/ax-x.xa", ("blocklist_url", "in url_parts: xxx")),
        ("http://[", None),
        ("", None),
    ],
)
def test_listed_places(lists: Path, url: str, verdict: tuple[str, str] | None) -> None:
    config = blocklist.Config(
        domains=(f"{lists}/hosts.txt",), url_words=(f"{lists}/hard.txt",), url_soft_words=(f"{lists}/soft.txt",),
        url_parts=(f"{lists}/strict.txt",),
    )  # fmt: skip
    assert dropped(blocklist.build(config)(document(TEXT, url))) == verdict


def test_bad_lists_are_named(lists: Path) -> None:
    (lists / "latin.txt").write_bytes(b"caf\xe9")
    (lists / "broken.zip").write_bytes(b"PK")
    for name, message in (
        ("no.txt", "cannot read blocklist .*no.txt: No such file"),
        ("lists.zip/de", "cannot read blocklist .*lists.zip/de: There is no item named 'de'"),
        ("broken.zip/de", "cannot read blocklist .*broken.zip/de: File is not a zip file"),
        ("latin.txt", "blocklist .*latin.txt is not UTF-8: unexpected end of data at byte 3"),
    ):
        with pytest.raises(UserError, match=message):
            blocklist.build(blocklist.Config(words=(f"{lists}/{name}",)))
    with pytest.raises(UserError, match=rf"no\.txt \(in {re.escape(os.getcwd())}, where the command runs\): No such"):
        blocklist.build(blocklist.Config(words=("no.txt",)))
    with pytest.raises(UserError, match="no list is named"):
        blocklist.build(blocklist.Config())


def test_an_edited_list_is_another_stage(lists: Path, workers: Workers, tmp_path: Path) -> None:
    documents = sources(tmp_path, [document("A weir."), document("A sluice.", number=1)])
    config = CleanConfig.model_validate({"filters": [{"name": "blocklist", "words": [f"{lists}/hard.txt"]}]})
    first = run(config, documents, tmp_path, workers)
    assert read_manifest(first).counts["dropped"] == 0
    (lists / "hard.txt").write_text("casino\nsluice\n")
    second = run(config, documents, tmp_path, workers)
    assert second != first
    assert [fate.reason for fate in Ledger({"clean": second}).fates()] == ["", "blocklist_words"]


def test_a_list_that_changes_under_the_workers_is_an_error(lists: Path, tmp_path: Path) -> None:
    """Between the driver, which fingerprints the list, and the worker, which reads it."""
    documents = sources(tmp_path, [document("A weir.")])
    (path,) = committed_files(documents, DOCUMENTS_FILE)
    config = CleanConfig.model_validate({"filters": [{"name": "blocklist", "words": [f"{lists}/hard.txt"]}]})
    read = inputs(config.filters)
    (lists / "hard.txt").write_text("casino\nweir\n")
    survey = SurveyTask((*config.filters, site_lines.Config()), {}, path, read)
    task = JudgeTask("clean", tuple(config.filters), path, {}, read)
    for work in (partial(judge_split, task), partial(survey_split, survey)):
        with pytest.raises(UserError, match=r"hard\.txt changed while the stage ran; run it again"):
            work(tmp_path)


@pytest.mark.real
def test_bad_words_are_those_of_datatrove(
    real_data: Path, real_texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{real_data}/filters/ldnoobw_blocklists.zip/en"
    with zipfile.ZipFile(Path(name).parent) as archive:
        (tmp_path / "en").write_bytes(archive.read("en"))
        words = archive.read("en").decode().split("\n")
    module = import_module("datatrove.pipeline.filters.c4_filters")
    monkeypatch.setattr(module, "cached_asset_path_or_download", lambda *_, **__: tmp_path / "en")
    theirs, judge = module.C4BadWordsFilter(), blocklist.build(blocklist.Config(words=(name,)))
    Theirs = import_module("datatrove.data").Document
    planted = [f"{TEXT} {before}{word.upper()}{after} {TEXT}" for word in words if any(map(str.isalpha, word))
               for before, after in (("", ""), ("(", ")"), ("x", ""), ("", "s"))]  # fmt: skip
    num_dropped = 0
    for text in [*real_texts[:200], *planted]:
        ours = dropped(judge(document(text))) is not None
        assert ours == (theirs.filter(Theirs(text=text, id="0")) is not True), text[:200]
        num_dropped += ours
    assert num_dropped > 2 * len(words) - 10


# ---- lines of a site ----------------------------------------------------------------------------------------------

MENU = "Home Sport Weather"


def sources(root: Path, *files: Sequence[Document]) -> Path:
    """The finished folder of the stage before."""
    return write_stage(root, {f"test-{number:05d}": file for number, file in enumerate(files)}, "sources")


def site(host: str, num_pages: int, first: int = 0) -> list[Document]:
    return [
        document(f"{MENU}\n\n{TEXT} It was page {number}.\n---\n  {MENU}", f"https://{host}/{number}", first + number)
        for number in range(num_pages)
    ]


def test_lines_that_a_site_repeats(workers: Workers, tmp_path: Path) -> None:
    plain = document(f"{MENU}\n{TEXT}", number=999)
    files = [site("www.a.example", 6), [*site("a.example", 6, 100), *site("b.example", 9, 200), plain]]
    config = CleanConfig.model_validate({"filters": ["unicode", "site_lines"]})
    clean = run(config, sources(tmp_path, *files), tmp_path, workers)
    texts = {item.key: item.text for path in sorted(clean.glob("*.documents.parquet")) for item in read_documents(path)}
    assert texts["key 3"] == f"{TEXT} It was page 3.\n---"  # 12 pages of a.example, in two splits
    assert texts["key 203"] == f"{MENU}\n\n{TEXT} It was page 3.\n---\n  {MENU}"  # 9 pages are too few
    assert texts["key 999"] == plain.text  # without a URL: no site
    verdicts = {fate.key: (fate.verdict, fate.reason) for fate in Ledger({"clean": clean}).fates()}
    assert verdicts["key 103"] == ("edited", "site_lines")
    assert verdicts["key 203"] == ("kept", "")
    assert not (clean / "scratch").exists()


def test_a_line_needs_its_share_of_the_site(tmp_path: Path) -> None:
    pages = [document(f"{MENU if number < 12 else ''}\nPage {number}.", "http://a.example/", number)
             for number in range(100)]  # fmt: skip
    for min_share, edited in ((0.12, True), (0.13, False)):
        config = site_lines.Config(min_share=min_share)
        site_lines.survey(config, pages, tmp_path / "survey")
        site_lines.merge(config, [tmp_path / "survey"], tmp_path / "merged")
        assert (site_lines.build(config, tmp_path / "merged")(pages[0]) is not None) == edited


def test_the_merge_is_the_same_in_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = site_lines.Config(min_pages=3)
    paths = [tmp_path / str(number) for number in range(3)]
    for number, path in enumerate(paths):
        site_lines.survey(config, site("a.example", 2 + number), path)
    site_lines.merge(config, paths, tmp_path / "whole")
    monkeypatch.setattr(site_lines, "SLICE_ROWS", 2)
    site_lines.merge(config, paths[::-1], tmp_path / "sliced")
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "sliced").read_bytes()
    site_lines.merge(config, [], tmp_path / "none")
    assert site_lines.build(config, tmp_path / "none")(site("a.example", 1)[0]) is None


def test_a_survey_sees_what_reaches_its_filter(workers: Workers, tmp_path: Path) -> None:
    """Of 12 pages, 3 are too short for the filter before; 9 are too few."""
    pages = [document(f"{MENU}\n{TEXT * (1 if number < 3 else 9)}", "http://a.example/", number)
             for number in range(12)]  # fmt: skip
    config = CleanConfig.model_validate({"filters": ["length", "site_lines"]})
    clean = run(config, sources(tmp_path, pages), tmp_path, workers)
    counts = read_manifest(clean).counts
    assert (counts["dropped"], counts["edited"]) == (3, 0)
