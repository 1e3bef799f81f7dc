"""The embedded corpus: the same bytes every time, genuine in each format, and true to its truth.jsonl."""

import bz2
import gzip
import html
import json
import os
import re
import subprocess
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from pipeline.core.errors import UserError
from pipeline.sources.sample import MARKER, SampleSummary, fingerprint_of, write_sample
from pipeline.sources.sample.mediawiki import DUMP, EXPORT, PAGES_PER_STREAM
from pipeline.sources.sample.topics import LABELS, MAX_WORDS, MIN_WORDS

NUM_OTHER_RESPONSES = 4  # a picture, a PDF, a redirect, a page that was not found


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sample") / "corpus"
    write_sample(out)
    return out


@pytest.fixture(scope="module")
def summary(sample: Path) -> SampleSummary:
    return write_sample(sample)  # finished already: read from the marker


@pytest.fixture(scope="module")
def truth(sample: Path) -> list[dict]:
    return read_jsonl(sample / "truth.jsonl")


@pytest.fixture(scope="module")
def texts(sample: Path) -> dict[tuple[str, str], str]:
    """(source, key) -> text, read from the raw files by the shortest means."""
    found = {("wikipedia", title): text for title, text in wikipedia_texts(sample)}
    for path in sorted((sample / "bookcorpus").iterdir()):
        found["bookcorpus", path.name] = book_text(path)
    for record in responses(sample):
        url = record.headers["WARC-Target-URI"]
        found["cc_news", url] = news_text(record) if record.http_headers.status_code == 200 else ""
    return found


def read_jsonl(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def streams(sample: Path) -> Iterator[tuple[int, str]]:
    """(offset, XML) of every bz2 stream of the dump."""
    data = (sample / "wikipedia" / f"{DUMP}.xml.bz2").read_bytes()
    offset = 0
    while offset < len(data):
        decompressor = bz2.BZ2Decompressor()
        xml = decompressor.decompress(data[offset:]).decode()
        yield offset, xml
        offset = len(data) - len(decompressor.unused_data)


def page_xmls(sample: Path) -> Iterator[str]:
    for _, xml in streams(sample):
        yield from re.findall(r"<page>.*?</page>", xml, re.DOTALL)


def wikipedia_texts(sample: Path) -> Iterator[tuple[str, str]]:
    for xml in page_xmls(sample):
        title = html.unescape(re.search("<title>(.*?)</title>", xml)[1])
        if "<ns>0</ns>" in xml and "<redirect" not in xml:
            yield title, html.unescape(re.search(r"<text[^>]*>(.*)</text>", xml, re.DOTALL)[1])


def book_text(path: Path) -> str:
    if path.suffix == ".txt":
        return re.search(r"\*\*\* START OF.*?\*\*\*\n(.*)\*\*\* END OF", path.read_text("utf-8-sig"), re.DOTALL)[1]
    if not zipfile.is_zipfile(path):
        return ""
    with zipfile.ZipFile(path) as archive:
        chapters = [archive.read(name).decode() for name in archive.namelist() if "chapter" in name]
    return "\n".join(html.unescape(text) for xml in chapters for text in re.findall(r"<(?:p|h1)>(.*?)</", xml))


def responses(sample: Path) -> Iterator[WarcRecord]:
    for path in sorted((sample / "cc_news").iterdir()):
        with open(path, "rb") as file:
            yield from ArchiveIterator(file, record_types=WarcRecordType.response, auto_decode="transfer")


def news_text(record: WarcRecord) -> str:
    body = record.reader.read()
    if record.http_headers.get("Content-Encoding") == "gzip":
        try:
            body = gzip.decompress(body)
        except (OSError, zlib.error):
            return ""
    page = body.decode(charset_of(record, body), "replace")
    article = re.search(r'<div class="article-body".*?</div>', page, re.DOTALL)
    return "\n".join(html.unescape(text) for text in re.findall("<p>(.*?)</p>", article[0])) if article else ""


def charset_of(record: WarcRecord, body: bytes) -> str:
    named = re.search(r"charset=(\S+)", record.http_headers.get("Content-Type", ""))
    in_meta = re.search(rb'<meta charset="(.*?)"', body)
    return named[1] if named else in_meta[1].decode() if in_meta else "utf-16"


def words(text: str) -> list[str]:
    return text.lower().split()


def jaccard(first: str, second: str) -> float:
    """Of the sets of word 5-grams."""
    one, two = ({tuple(w[i : i + 5]) for i in range(len(w) - 4)} for w in (words(first), words(second)))
    return len(one & two) / len(one | two)


def test_two_runs_give_the_same_bytes(sample: Path, tmp_path: Path) -> None:
    """The second in a process with other string hashes: no set may decide an order."""
    code = "import sys, pathlib; from pipeline.sources import sample; sample.write_sample(pathlib.Path(sys.argv[1]))"
    environment = os.environ | {"PYTHONHASHSEED": "12345"}
    repository = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code, tmp_path / "again"], env=environment, cwd=repository, check=True)
    first, second = (
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (sample, tmp_path / "again")
    )
    assert first == second
    assert [path.name for path in tmp_path.iterdir()] == ["again"]  # no temporary folder left


def test_finished_sample_is_left_as_it_is(sample: Path, summary: SampleSummary) -> None:
    before = (sample / MARKER).stat().st_mtime_ns
    assert write_sample(sample) == summary
    assert (sample / MARKER).stat().st_mtime_ns == before


def test_fingerprint_depends_on_the_seed_and_names_the_versions() -> None:
    assert fingerprint_of(0)[0] != fingerprint_of(1)[0]
    assert {"python", "numpy", "torch"} <= fingerprint_of(0)[1].keys()


def test_sample_of_another_fingerprint_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    out.mkdir()
    (out / MARKER).write_text('{"fingerprint": "of older versions", "summary": {}}')
    (out / "stale").touch()
    assert write_sample(out).num_wikipedia > 0
    assert not (out / "stale").exists()


def test_killed_while_the_older_sample_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "corpus"
    out.mkdir()
    (out / MARKER).write_text('{"fingerprint": "of older versions", "summary": {}}')
    (out / "stale").touch()

    def killed(folder: Path, **_: object) -> None:
        (Path(folder) / MARKER).unlink(missing_ok=True)  # as far as it came
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            write_sample(out)
    assert write_sample(out).num_wikipedia > 0
    assert not (out / "stale").exists()


@pytest.mark.parametrize("content", [None, "[]", "{}"])
def test_a_folder_that_is_no_sample_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / MARKER).write_text(content)
    with pytest.raises(UserError, match="exists and is not an earlier sample; choose another folder"):
        write_sample(tmp_path)


def test_volume(summary: SampleSummary, texts: dict[tuple[str, str], str]) -> None:
    num_bytes = sum(len(text.encode()) for text in texts.values())
    assert summary.text_bytes >= 4_000_000
    assert num_bytes == pytest.approx(summary.text_bytes, rel=0.15)  # wiki markup is counted here
    assert Counter(source for source, _ in texts) == {
        "wikipedia": summary.num_wikipedia,
        "bookcorpus": summary.num_bookcorpus,
        "cc_news": summary.num_cc_news + NUM_OTHER_RESPONSES,
    }
    assert max(len(text) for text in texts.values()) < 300_000


def test_index_points_at_the_streams(sample: Path) -> None:
    index = bz2.decompress((sample / "wikipedia" / f"{DUMP}-index.txt.bz2").read_bytes()).decode()
    by_offset = dict(streams(sample))
    entries = [line.split(":", 2) for line in index.splitlines()]
    for offset, page_id, title in entries:
        assert f"<title>{html.escape(title, quote=False)}</title>" in by_offset[int(offset)]
        assert f"    <id>{page_id}</id>" in by_offset[int(offset)]
    assert len(entries) == len(list(page_xmls(sample)))
    assert max(Counter(offset for offset, *_ in entries).values()) == PAGES_PER_STREAM
    assert list(by_offset.values())[-1] == "</mediawiki>\n"


def test_dump_is_a_mediawiki_export_but_for_the_broken_page(sample: Path, truth: list[dict]) -> None:
    broken = {t["key"] for t in truth if t["kind"] == "broken"}
    head, *_, tail = (xml for _, xml in streams(sample))
    good = [xml for xml in page_xmls(sample) if html.unescape(re.search("<title>(.*?)<", xml)[1]) not in broken]
    root = ElementTree.fromstring(head + "".join(good) + tail)
    assert root.tag == f"{{{EXPORT}}}mediawiki"
    pages = root.findall(f"{{{EXPORT}}}page")
    assert len(pages) == len(list(page_xmls(sample))) - 1
    assert {page.findtext(f"{{{EXPORT}}}ns") for page in pages} == {"0", "1", "2", "10", "14"}
    assert sum(page.find(f"{{{EXPORT}}}redirect") is not None for page in pages) >= 10
    text = "".join(page.findtext(f".//{{{EXPORT}}}text") for page in pages)
    for markup in ("{{convert|", "{{lang|fr|", "{{Infobox", "<ref>{{cite", "{| class=", "\n* ", "[[File:", "\n== "):
        assert markup in text


def test_malformed_page_is_not_xml(sample: Path, truth: list[dict]) -> None:
    key = next(t["key"] for t in truth if t["kind"] == "broken" and t["source"] == "wikipedia")
    page = next(xml for xml in page_xmls(sample) if f"<title>{html.escape(key)}</title>" in xml)
    with pytest.raises(ElementTree.ParseError):
        ElementTree.fromstring(page)


def test_epubs_are_genuine(sample: Path, truth: list[dict]) -> None:
    broken = {t["key"] for t in truth if t["kind"] == "broken"}
    paths = sorted((sample / "bookcorpus").glob("*.epub"))
    assert [path.name for path in paths if not zipfile.is_zipfile(path)] == [p.name for p in paths if p.name in broken]
    for path in (path for path in paths if path.name not in broken):
        with zipfile.ZipFile(path) as archive:
            first = archive.infolist()[0]
            assert (first.filename, first.compress_type) == ("mimetype", zipfile.ZIP_STORED)
            assert archive.read("mimetype") == b"application/epub+zip"
            assert archive.testzip() is None
            package = ElementTree.fromstring(archive.read("OEBPS/content.opf"))
            hrefs = {item.get("id"): item.get("href") for item in package.iterfind(".//{*}item")}
            spine = [hrefs[item.get("idref")] for item in package.iterfind(".//{*}itemref")]
            for name in (*spine, "nav.xhtml"):
                ElementTree.fromstring(archive.read(f"OEBPS/{name}"))


def test_text_books_are_wrapped_between_the_markers(sample: Path) -> None:
    for path in sorted((sample / "bookcorpus").glob("*.txt")):
        lines = path.read_text("utf-8-sig").splitlines()
        assert sum(line.startswith("*** START OF THE PROJECT GUTENBERG EBOOK") for line in lines) == 1
        assert sum(line.startswith("*** END OF THE PROJECT GUTENBERG EBOOK") for line in lines) == 1
        too_long = [line for line in lines if len(line) > 72 and " " in line and "***" not in line]
        assert all(line.startswith(("Chapter ", "Title: ")) for line in too_long)


def test_warcs_are_genuine(sample: Path, summary: SampleSummary) -> None:
    kinds: Counter[str] = Counter()
    for path in sorted((sample / "cc_news").iterdir()):
        with open(path, "rb") as file:
            for record in ArchiveIterator(file, parse_http=False):
                kinds[record.headers["WARC-Type"]] += 1
                assert record.verify_block_digest()
    num = summary.num_cc_news + NUM_OTHER_RESPONSES
    assert kinds == {"warcinfo": 2, "request": num, "response": num, "metadata": num}


def test_responses_vary_as_on_the_web(sample: Path) -> None:
    heads = [dict(record.http_headers) | {"status": record.http_headers.status_code} for record in responses(sample)]
    assert Counter(head["status"] for head in heads).keys() == {200, 301, 404}
    assert sum(head.get("Transfer-Encoding") == "chunked" for head in heads) > 20
    assert sum(head.get("Content-Encoding") == "gzip" for head in heads) > 20
    types = Counter(head["Content-Type"].lower() for head in heads)
    assert {"image/png", "application/pdf", "text/html"} <= types.keys()
    for charset in ("utf-8", "iso-8859-1", "windows-1252", "shift_jis"):
        assert types[f"text/html; charset={charset}"] >= 1


def test_no_character_is_lost_to_an_old_charset(sample: Path, texts: dict[tuple[str, str], str]) -> None:
    """ISO-8859-1 has no typographic quotes: there they are character references."""
    pages = [text for (source, _), text in texts.items() if source == "cc_news"]
    assert not any("\ufffd" in text for text in pages)
    old = [
        texts["cc_news", record.headers["WARC-Target-URI"]]
        for record in responses(sample)
        if "iso-8859-1" in record.http_headers["Content-Type"]
    ]
    assert sum("’" in text for text in old) >= 10
    assert not any(re.search(r"\w\?s ", text) for text in old)


def test_truth_names_every_kind_and_every_key_exists(
    sample: Path, summary: SampleSummary, truth: list[dict], texts: dict[tuple[str, str], str]
) -> None:
    assert len(truth) == summary.num_truth
    assert Counter(t["kind"] for t in truth) == {
        "exact_duplicate": 12,
        "near_duplicate": 12,
        "gibberish": 9,
        "short": 5,
        "language": 11,
        "pii": 6,
        "broken": 3,
    }
    for t in truth:
        assert (t["source"], t["key"]) in texts
        assert "of" not in t or (t["of"]["source"], t["of"]["key"]) in texts
    for kind in ("exact_duplicate", "near_duplicate", "gibberish", "short", "language", "pii", "broken"):
        assert {t["source"] for t in truth if t["kind"] == kind} == {"wikipedia", "bookcorpus", "cc_news"}


def test_duplicates_are_what_the_truth_says(truth: list[dict], texts: dict[tuple[str, str], str]) -> None:
    crossed = Counter()
    for t in (t for t in truth if "of" in t):
        original, copy = texts[t["of"]["source"], t["of"]["key"]], texts[t["source"], t["key"]]
        crossed[t["kind"]] += t["source"] != t["of"]["source"]
        assert len(words(original)) > 150
        if t["kind"] == "exact_duplicate":
            assert words(original) == words(copy)
        else:
            assert 0.78 <= jaccard(original, copy) <= 0.96
    assert crossed == {"exact_duplicate": 4, "near_duplicate": 4}


def test_no_duplicates_but_the_planted(truth: list[dict], texts: dict[tuple[str, str], str]) -> None:
    planted = {(t["source"], t["key"]) for t in truth}
    counts = Counter(" ".join(words(text)) for key, text in texts.items() if key not in planted and text)
    assert counts.most_common(1)[0][1] == 1
    openings = Counter(tuple(words(text)[:12]) for key, text in texts.items() if key[0] == "cc_news" and text)
    assert sum(n > 1 for n in openings.values()) <= 12  # the news pages among the pairs


def test_planted_strings_and_languages_are_in_the_text(truth: list[dict], texts: dict[tuple[str, str], str]) -> None:
    letters = {"de": "ü", "fr": "é", "es": "ó", "ja": "の", "ru": "и"}
    for t in truth:
        text = texts[t["source"], t["key"]]
        if t["kind"] == "pii":
            assert all(string in " ".join(text.split()) for string in t["planted"])  # `.txt` lines are wrapped
        elif t["kind"] == "language":
            assert letters[t["language"]] in text
            assert len(text) >= 600
        elif t["kind"] == "short":
            assert len(words(text)) < 20


def test_topics(sample: Path, summary: SampleSummary) -> None:
    rows = read_jsonl(sample / "finetune" / "topics.jsonl")
    assert len(rows) == summary.num_topics >= 1500
    assert len({row["text"] for row in rows}) == len(rows)
    assert all(row.keys() == {"text", "label", "split"} for row in rows)
    assert all(MIN_WORDS <= len(row["text"].split()) <= MAX_WORDS for row in rows)
    per_label = Counter(row["label"] for row in rows)
    assert sorted(per_label) == sorted(LABELS)
    assert min(per_label.values()) > 0.5 * max(per_label.values())
    splits = Counter(row["split"] for row in rows)
    assert {split: round(10 * n / len(rows)) for split, n in splits.items()} == {"train": 8, "validation": 1, "test": 1}
