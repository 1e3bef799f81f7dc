"""MediaWiki dumps in every packing; broken pages and streams; wikitext to text."""

import bz2
import gc
import gzip
import time
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from pipeline.sources.base import InputFile
from pipeline.sources.mediawiki import pages, streams, wikitext
from pipeline.sources.mediawiki.index import index_of
from pipeline.sources.mediawiki.nodes import Style
from pipeline.sources.mediawiki.wikitext import to_text
from tests.sources.reading import read_all, reasons

HEAD = (
    '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="en">\n<siteinfo>'
    "<base>https://en.wikipedia.org/wiki/Main_Page</base><namespaces>"
    '<namespace key="6" case="first-letter">Datei</namespace></namespaces></siteinfo>\n'
)
TAIL = "</mediawiki>\n"


def page(title: str, text: str, namespace: int = 0, redirect: str = "") -> str:
    target = f'<redirect title="{redirect}" />' if redirect else ""
    return (
        f"<page><title>{escape(title)}</title><ns>{namespace}</ns><id>7</id>{target}<revision><id>9</id>"
        f"<timestamp>2026-01-02T03:04:05Z</timestamp><model>wikitext</model><format>text/x-wiki</format>"
        f'<text xml:space="preserve">{escape(text)}</text></revision></page>\n'
    )


PAGES = [
    page("Weir & sluice", "A '''weir''' is a [[dam|low barrier]].", 0),
    page("Talk:Weir", "I agree.", 1),
    page("Weirs", "#REDIRECT [[Weir]]", 0, "Weir"),
    page("Penstock", "A ''penstock'' carries water [[Datei:x.jpg|thumb|a [[pipe]]]]to a turbine."),
]
EXPECTED = {"Weir & sluice": "A weir is a low barrier.", "Penstock": "A penstock carries water to a turbine."}


def packed(packing: str) -> bytes:
    xml = HEAD + "".join(PAGES) + TAIL
    if packing == "plain":
        return xml.encode()
    if packing == "gz":
        return gzip.compress(xml.encode(), mtime=0)
    if packing == "bz2":
        return bz2.compress(xml.encode())
    if packing == "utf-16.bz2":
        return bz2.compress(xml.encode("utf-16"))
    if packing == "multistream":
        return b"".join(bz2.compress(part.encode()) for part in (HEAD, *PAGES, TAIL))
    assert packing == "pbzip2"  # cuts anywhere, inside tags too
    data = xml.encode()
    return b"".join(bz2.compress(data[at : at + 37]) for at in range(0, len(data), 37))


@pytest.mark.parametrize("packing", ["plain", "gz", "bz2", "utf-16.bz2", "multistream", "pbzip2"])
def test_every_packing_gives_the_same_documents(packing: str, tmp_path: Path) -> None:
    (tmp_path / "dump.xml").write_bytes(packed(packing))
    documents, rejected = read_all("wikipedia", tmp_path)
    assert {key: document.text for key, document in documents.items()} == EXPECTED
    assert reasons(rejected) == ["quality:namespace", "quality:redirect"]
    weir = documents["Weir & sluice"]
    assert weir.url == "https://en.wikipedia.org/wiki/Weir_%26_sluice"
    assert (weir.title, weir.date, weir.license) == ("Weir & sluice", "2026-01-02T03:04:05Z", "CC-BY-SA-4.0")


@pytest.mark.parametrize("packing", ["multistream", "pbzip2"])
@pytest.mark.parametrize("limit", [1, 150, 400])
def test_ranges_hold_every_page_once(packing: str, limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dump.xml.bz2").write_bytes(packed(packing))
    monkeypatch.setattr(streams, "SPLIT_BYTES", limit)
    documents, rejected = read_all("wikipedia", tmp_path)
    assert {key: document.text for key, document in documents.items()} == EXPECTED
    assert reasons(rejected) == ["quality:namespace", "quality:redirect"]


DUMP = "d-20260101-pages-articles-multistream1.xml-p1p40.bz2"
INDEX = "d-20260101-pages-articles-multistream-index1.txt-p1p40.bz2"


def indexed() -> tuple[bytes, list[str]]:
    """A multistream dump of forty pages, two in a stream, and the lines of its index."""
    dump, lines = bz2.compress(HEAD.encode()), []
    for number in range(0, 40, 2):
        lines += [f"{len(dump)}:{number + 1}:Weir {number}\n", f"{len(dump)}:{number + 2}:Weir: {number + 1}\n"]
        text = "".join(page(title, f"It is number {title}.") for title in (f"Weir {number}", f"Weir: {number + 1}"))
        dump += bz2.compress(text.encode())
    return dump + bz2.compress(TAIL.encode()), lines


def lying(lines: list[str]) -> dict[str, bytes]:
    moved = [f"{int(line.partition(':')[0]) + 3}:{line.partition(':')[2]}" for line in lines]
    texts = {
        "moved": moved,
        "streams left out": lines[::8],
        "another dump": [f"{number * 200}:{number}:x\n" for number in range(400)],
        "beyond the file": [*lines[:20], "99999999:21:x\n"],
        "short": lines[:20],
        "no end": [*lines[:20], "1" * (1 << 20)],
        "descending": lines[::-1],
        "no index": ["<html>\n" * 40],
        "without lines": [],
    }
    packed = {name: bz2.compress("".join(text).encode()) for name, text in texts.items()}
    packed["truncated"] = bz2.compress("".join(lines).encode())[:-30]
    packed["not packed"] = "".join(lines).encode()
    packed["a bomb"] = bz2.compress(b"1:1:" + bytes(64 << 20))
    return packed


LIES = tuple(lying(["1:1:x\n"]))


@pytest.mark.parametrize("lie", ["", *LIES])
def test_an_index_is_used_and_a_lying_one_changes_nothing(
    lie: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(streams, "SPLIT_BYTES", 500)
    dump, lines = indexed()
    (tmp_path / DUMP).write_bytes(dump)
    file = InputFile(tmp_path / DUMP, DUMP, DUMP, len(dump), 0)
    searched, expected = streams.cuts(file), read_all("wikipedia", tmp_path)
    assert len(searched) > 5
    assert len(expected[0]) == 40
    (tmp_path / INDEX).write_bytes(lying(lines)[lie] if lie else bz2.compress("".join(lines).encode()))
    assert streams.cuts(file) == searched
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ([DUMP] if lie else [])
    assert read_all("wikipedia", tmp_path) == expected


@pytest.mark.parametrize("name", [DUMP, "d-multistream.xml.bz2", "d-pages-articles.xml.bz2"])
def test_an_index_is_found_by_its_name(name: str, tmp_path: Path) -> None:
    assert index_of(tmp_path / name) is None
    for other in ("d-multistream-index.txt", INDEX, "d-pages-articles.txt.bz2", "d-multistream-index2.txt.bz2"):
        (tmp_path / other).touch()
    expected = {DUMP: INDEX, "d-multistream.xml.bz2": "d-multistream-index.txt"}
    assert index_of(tmp_path / name) == (tmp_path / expected[name] if name in expected else None)


def test_the_index_of_the_sample_is_used(
    sample: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(streams, "SPLIT_BYTES", 50_000)
    (path,) = (sample / "wikipedia").glob("*.xml.bz2")
    index = index_of(path)
    assert index
    listed = {int(line.partition(":")[0]) for line in bz2.decompress(index.read_bytes()).decode().splitlines()}
    first, *others = streams.cuts(InputFile(path, path.name, path.name, path.stat().st_size, 0))
    assert first == 0
    assert len(others) > 3
    assert set(others[:-1]) <= listed  # the last one may be the end of the dump, which is not listed
    assert not caplog.records


def test_origin_leads_back_to_the_raw_page(tmp_path: Path) -> None:
    (tmp_path / "dump.xml.bz2").write_bytes(packed("multistream"))
    documents, _ = read_all("wikipedia", tmp_path)
    name, _, place = documents["Penstock"].origin.partition(":")
    stream, _, offset = place.partition("+")
    raw = bz2.BZ2Decompressor().decompress((tmp_path / name).read_bytes()[int(stream) :])
    assert raw[int(offset) :].startswith(b"<page><title>Penstock</title>")


def test_a_malformed_page_is_one_error(tmp_path: Path) -> None:
    broken = page("Broken", "x").replace("</text>", "<ref name=a & b></text ")
    unclosed = page("Unclosed", "x").replace("</page>", "")
    (tmp_path / "dump.xml").write_text(HEAD + PAGES[0] + broken + unclosed + PAGES[3] + TAIL)
    documents, rejected = read_all("wikipedia", tmp_path)
    assert {key: document.text for key, document in documents.items()} == EXPECTED
    assert [(record.kind, record.reason, record.key) for record in rejected] == [
        ("error", "malformed", "Broken"),
        ("error", "unclosed", "Unclosed"),
    ]


def test_a_page_that_breaks_a_library_is_one_error(tmp_path: Path) -> None:
    """More digits than Python turns into a number: html.unescape raises a ValueError."""
    odd = page("Odd", "x").replace("Odd", f"&#{'9' * 5000};")
    (tmp_path / "dump.xml").write_text(HEAD + PAGES[0] + odd + PAGES[3] + TAIL)
    documents, rejected = read_all("wikipedia", tmp_path)
    assert {key: document.text for key, document in documents.items()} == EXPECTED
    assert reasons(rejected) == ["error:failed"]
    assert rejected[0].key == f"dump.xml:{len((HEAD + PAGES[0]).encode())}"
    assert rejected[0].detail.startswith("ValueError: Exceeds the limit")


def test_a_damaged_stream_is_one_error_and_the_next_streams_are_read(tmp_path: Path) -> None:
    streams = [bz2.compress(part.encode()) for part in (HEAD, *PAGES, TAIL)]
    middle = bytearray(streams[2])
    middle[len(middle) // 2] ^= 0x10
    streams[2] = bytes(middle)
    (tmp_path / "dump.xml.bz2").write_bytes(b"".join(streams))
    documents, rejected = read_all("wikipedia", tmp_path)
    assert {key: document.text for key, document in documents.items()} == EXPECTED
    assert reasons(rejected) == ["error:damaged", "quality:redirect"]


@pytest.mark.parametrize("packing", ["gz", "bz2", "multistream"])
def test_a_truncated_file_keeps_what_is_readable(packing: str, tmp_path: Path) -> None:
    data = packed(packing)
    (tmp_path / "dump.xml").write_bytes(data[: -len(data) // 4 if packing == "multistream" else -8])
    documents, rejected = read_all("wikipedia", tmp_path)
    assert reasons(rejected).count("error:damaged") == 1
    assert all(document.text == EXPECTED[key] for key, document in documents.items())


def test_a_dtd_is_never_read(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>'
    (tmp_path / "dump.xml").write_text(bomb + HEAD + PAGES[0] + page("Bomb", "x").replace(">x<", ">&b;<") + TAIL)
    documents, rejected = read_all("wikipedia", tmp_path)
    assert list(documents) == ["Weir & sluice"]
    assert reasons(rejected) == ["error:malformed"]


def test_a_file_without_pages_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "dump.xml").write_text("this is no dump")
    assert reasons(read_all("wikipedia", tmp_path)[1]) == ["error:no_pages"]


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("At {{convert|1300|mi|km}}, Alabama", "At 1300 mi, Alabama"),
        ("from {{convert|3|to|5|km|mi|abbr=on}} away", "from 3 to 5 km away"),
        ("{{formatnum:1234567}} people", "1,234,567 people"),
        ("{{formatnum:-1234.5}} and {{formatnum:" + "9" * 5000 + "}}", "-1,234.5 and " + "9" * 5000),
        ("''{{lang|fr|le moulin}}'' and {{transl|ru|mel'nitsa}}", "le moulin and mel'nitsa"),
        ("{{lang-de|Wehr}}", "Wehr"),
        ("{{As of|2010|3}}, it {{nowrap|held 5 m}}", "As of March 2010, it held 5 m"),
        ("{{as of|2020|²}}, {{as of|2020|12|1}}", "As of ² 2020, As of 1 December 2020"),
        ("built {{circa|1900}} by the {{abbr|BBC|British Broadcasting Corporation}}", "built c. 1900 by the BBC"),
        ("He said:{{quote|Let there be ''light''.|A. Author}}", "He said:\n\nLet there be light.\n\n— A. Author"),
        ("Foo ({{IPA|fuː}}; born 1900) is", "Foo (fuː; born 1900) is"),
        ("Foo ({{audio|x}}) is {{unknown}}.", "Foo is."),
        ("call random() and f(1, ) . . .", "call random() and f(1, ) . . ."),
        ("a<ref>{{cite web|x}}</ref>, b<ref name=c />.", "a, b."),
        ("[[Weir|]] [[Foo (river)|]] [[Category:X]][[fr:Barrage]]x [[:Category:Y]]", "Weir Foo x Category:Y"),
        ("[http://a.example text] [http://b.example] http://c.example", "text http://c.example"),
        ("x<!-- no -->y &amp; z&nbsp;w &lt;b&gt;", "xy & z w <b>"),
        ("__NOTOC__\n{| class=x\n| a || b\n|}\nafter", "after"),
        ("{|\nbroken table\n| cell\n\nafter", "broken table\n\nafter"),
        ("'''''bold''''' '''l'''''amour'' don't", "bold lamour don't"),
        ("* one\n* two\n# three\n; term\n: text", "- one\n- two\n- three\nterm\ntext"),
        ("== A ==\n=== B ===\ntext\n== Empty ==\n== See also ==\n* [[x]]\n=== deeper ===\ny\n", "A\n\nB\n\ntext"),
        ("<math>x^2</math><gallery>\nFile:a.jpg\n</gallery>end<br/>line<nowiki>''[[</nowiki>", "$x^2$end\nline''[["),
        ("<div>'''unclosed [[link {{template", "unclosed [[link {{template"),
    ],
)
def test_wikitext(wikitext: str, text: str) -> None:
    assert to_text(wikitext).text == text


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("{{convert|6|ft|4|in|cm|0}}, {{convert|87|e6acre|e6ha}}, {{cvt|9|by|7|m}}",
         "6 ft 4 in, 87 million acres, 9 by 7 m"),
        ("{{birth date|1990|5|3}}; {{start date|1990|5|3|df=y}}; {{ordinal|12}}", "May 3, 1990; 3 May 1990; 12th"),
        ("{{frac|2}} {{chem|Ge|9|2-}} {{val|1.5|0.1|e=9|u=kg}} 10<sup>6</sup> 4<sup>th</sup>",
         "1/2 Ge₉²⁻ 1.5±0.1×10⁹ kg 10⁶ 4th"),
        ("{{USD|50}} {{nihongo|bayonet|銃剣|jūken}} {{IPAc-en|n|ɪ|m}} {{HMS|Ajax|22|6}}",
         "US$50 bayonet (銃剣, jūken) /nɪm/ HMS Ajax"),
        ("a{{coord|1|2|display=title}} {{Infobox x|a={{b}}}}<ref>{{cite web}}</ref>", "a"),
    ],
)  # fmt: skip
def test_templates_that_carry_prose(wikitext: str, text: str) -> None:
    assert to_text(wikitext).text == text


def test_tables_and_formulas_by_config() -> None:
    table = "before\n{| class=x\n! Year !! Name\n|-\n| 1900 || [[Weir]]\n|}\nafter <math>x</math>"
    assert to_text(table).text == "before\n\nafter $x$"
    assert to_text(table, Style(tables="lines", math="drop")).text == "before\n\nYear | Name\n1900 | Weir\n\nafter"


def test_cells_of_a_table_lose_their_looks_and_nothing_else() -> None:
    heading = "|+ Rainfall\n! scope=col | Year !! Rain || Sun"
    table = f"{{| class=x\n{heading}\n|-\n| style='color:red' | 1900 || class=y | +5 || 3!!\n|}}"
    assert to_text(table, Style(tables="lines")).text == "Rainfall | Year | Rain | Sun\n1900 | +5 | 3!!"


UNITS = (
    "{{",
    "{{a|",
    "{{nowrap|",
    "[[",
    "[[a|",
    "[http://a b ",
    "{|\n",
    "{|\n|\n",
    "<div>",
    "<ref>",
    "<a ",
    "<b>",
    "<!--",
    "<nowiki>",
    "<math>",
    "[[http://a",
    "[mailto:",
    "\n ",
    "{{{a|",
    "(,",
    "{{b}},",
    "}}",
    "|}\n",
    "]] ",
)


@pytest.mark.parametrize("unit", UNITS)
def test_time_grows_with_the_length_not_with_its_square(unit: str) -> None:
    """Of what is never closed: twice as much takes about twice as long; the parser alone takes four times."""

    def seconds(repeats: int) -> float:
        gc.disable()  # it would walk over all that other tests have left in this process
        try:
            begin = time.process_time()
            to_text("x " + unit * repeats)
            return time.process_time() - begin
        finally:
            gc.enable()

    twice, once = (min(seconds(repeats) for _ in range(3)) for repeats in (16_000, 8_000))
    assert twice < 3.2 * once + 0.1


ARTICLE = """{{Infobox x|a={{b}}}}'''Weir''' (from {{lang|fr|''l'eau'' [[dam|of]]}}; {{IPA|/w/}}) is [[low]].
&lt;b&gt; &amp; a&nbsp;b<ref>x</ref>
[[File:a.jpg|thumb|a [[pipe]] here]] [http://a.example site] http://b.example {{convert|3|m|ft}}
== Parts ==
* one {{nowrap|a=b {{!}} c}}
** two [[Weir (river)|]]
; term : meaning
----
=== Empty ===
== Table ==
{| class=x
|+ Caption
! scope=col | Year !! Name
|-
| 1900 || [[Weir|the weir]]
| more
|-
| style="x" | 1 || class=y | 2
|-
| {{quote|1=Let there be light.|author=A. Author}}
and text
{|
| inner
|}
|}
== See also ==
* [[x]]
"""


@pytest.mark.parametrize("style", [Style(), Style(tables="lines", math="drop")])
def test_an_article_over_the_budget_of_nodes_reads_the_same(style: Style, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = to_text(ARTICLE, style)
    monkeypatch.setattr(wikitext, "MAX_NODES", 10)
    flat = to_text(ARTICLE, style)
    assert (flat.text, flat.dropped) == (expected.text, expected.dropped)
    assert (flat.is_flat, expected.is_flat) == (True, False)


@pytest.mark.parametrize(
    ("before", "unit", "after", "shown"),
    [
        ("", "'''word''' ", "", "word word"),
        ("", "[[word]] ", "", "word word"),
        ("", "{{nowrap|word}} ", "", "word word"),
        ("", "<b>word</b> ", "", "word word"),
        ("", "* word\n", "", "- word\n- word"),
        ("", ":::word\n", "", "word\nword"),
        ("", "&amp;word ", "", "&word &word"),
        ("", "mailto:word ", "", "mailto:word mailto:word"),
        ("{|\n", "|-\n| word\n", "|}", "word\nword"),
        ("{|\n", "| word || word\n", "|}", "word | word | word"),
        ("{|\n|", "word || ", "\n|}", "word | word"),
        ("{{nowrap|", "[[word]] ", "}}", "word word"),
        ("[[a|", "{{nowrap|word}} ", "]]", "word word"),
    ],
)  # fmt: skip
def test_an_article_of_tiny_nodes_keeps_its_words(before: str, unit: str, after: str, shown: str) -> None:
    """The parser alone takes up to half a minute and half a gigabyte."""
    number = ((1 << 20) - len(before + after)) // len(unit)
    rendered = to_text(before + unit * number + after, Style(tables="lines"))
    assert rendered.text.count("word") == (before + unit * number + after).count("word")
    assert shown in rendered.text
    assert rendered.is_flat == (unit[0] not in "'<")  # the parser never sees those


def test_time_is_bounded_however_many_nodes_there_are() -> None:
    def seconds(num_items: int) -> float:
        begin = time.process_time()
        to_text("* word\n" * num_items)
        return time.process_time() - begin

    assert seconds(3 * wikitext.MAX_NODES) < 2 * seconds(wikitext.MAX_NODES)


def test_a_document_says_that_it_was_over_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wikitext, "MAX_NODES", 3)
    (tmp_path / "dump.xml").write_text(HEAD + page("List", "* [[a]]\n* [[b]]") + page("Weir", "A [[dam]].") + TAIL)
    documents, _ = read_all("wikipedia", tmp_path)
    assert documents["List"].text == "- a\n- b"
    assert {key: document.meta.get("rendered") for key, document in documents.items()} == {"List": "flat", "Weir": None}


def test_a_history_gives_its_newest_revision_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_PAGE_BYTES", 4 << 20)
    single = page("Weir", "The newest.")
    start, end = single.index("<revision>"), single.index("</revision>") + len("</revision>")
    old = single[start:end].replace("2026", "2001").replace("The newest.", "old " * 5000)
    revisions = old * 300 + single[start:end] + old * 300
    (tmp_path / "history.xml").write_text(HEAD + single[:start] + revisions + single[end:])
    (tmp_path / "current.xml").write_text(HEAD + single + TAIL)
    (history,) = read_all("wikipedia", tmp_path, "history.xml")[0].values()
    (current,) = read_all("wikipedia", tmp_path, "current.xml")[0].values()
    assert (history.text, history.doc_id) == ("The newest.", current.doc_id)


@pytest.mark.parametrize("pack", [bz2.compress, gzip.compress])
def test_a_bomb_is_damage(pack: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "BOMB_BYTES", 1 << 20)
    (tmp_path / "dump.xml").write_bytes(pack((HEAD + PAGES[0]).encode()) + pack(bytes(64 << 20)))
    documents, rejected = read_all("wikipedia", tmp_path)
    assert (list(documents), reasons(rejected)) == (["Weir & sluice"], ["error:damaged"])
    assert "like a bomb" in rejected[0].detail


def test_a_plain_dump_is_cut_anywhere_and_an_index_is_no_dump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "SPLIT_BYTES", 50)
    (tmp_path / "d-multistream.xml").write_bytes(packed("plain"))
    (tmp_path / "d-multistream-index.txt").write_text("7:1:a stale index\n")
    documents, rejected = read_all("wikipedia", tmp_path)
    assert {key: document.text for key, document in documents.items()} == EXPECTED
    assert reasons(rejected) == ["quality:namespace", "quality:redirect"]


def test_a_redirect_of_an_old_dump_is_known_by_its_text(tmp_path: Path) -> None:
    old = HEAD.replace('version="0.11"', 'version="0.3"')
    (tmp_path / "dump.xml").write_text(old + page("Wehr", "#WEITERLEITUNG [[Weir]]") + PAGES[0] + TAIL)
    documents, rejected = read_all("wikipedia", tmp_path)
    assert (list(documents), reasons(rejected)) == (["Weir & sluice"], ["quality:redirect"])


def test_an_old_dump_tells_namespaces_by_the_title_only(tmp_path: Path) -> None:
    """Before export schema 0.6 pages have no <ns>. The wiki's own names count, a colon alone does not."""
    names = {1: "Diskussion", 3: "Benutzer Diskussion"}
    own = '<namespace key="0" />' + "".join(f'<namespace key="{key}">{name}</namespace>' for key, name in names.items())
    old = HEAD.replace('version="0.11"', 'version="0.3"').replace("<namespaces>", f"<namespaces>{own}")
    titles = ["Weir", "Diskussion:Weir", "Benutzer Diskussion:A", "Datei:x.jpg", "Weir: a history"]
    pages = "".join(page(title, "A low barrier.") for title in titles).replace("<ns>0</ns>", "")
    (tmp_path / "dump.xml").write_text(old + pages + TAIL)
    documents, rejected = read_all("wikipedia", tmp_path)
    assert list(documents) == ["Weir", "Weir: a history"]
    assert [(row.reason, row.detail) for row in rejected] == [
        ("namespace", "1"),
        ("namespace", "3"),
        ("namespace", "6"),
    ]


def test_more_wikitext_than_mediawiki_stores_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "dump.xml").write_text(HEAD + page("Big", "x" * (2 << 20) + "y") + PAGES[0] + TAIL)
    documents, rejected = read_all("wikipedia", tmp_path)
    assert (list(documents), reasons(rejected)) == (["Weir & sluice"], ["error:too_large"])


def test_dropped_templates_are_counted() -> None:
    assert to_text("{{a}}{{b|{{c}}}} {{convert|1|m}} {{nowrap|{{d}}}}").num_dropped == 3


def test_a_document_names_the_templates_that_left_a_hole(tmp_path: Path) -> None:
    """The most frequent eight by name, the others only in the number; a reference goes with what is in it."""
    rare = "".join(f"{{{{Rare_{letter}}}}}" for letter in "hgfedcba")
    long = f"{{{{{'n' * 90}}}}}"
    text = "A{{Infobox river|a={{x}}}} weir{{cn}}{{CN}}.<ref>{{cite web}}</ref>{{cn}}"
    none = page("Penstock", "No template but {{nowrap|one}}.")
    (tmp_path / "dump.xml").write_text(HEAD + page("Weir", text + rare + long + long) + none + TAIL)
    documents, _ = read_all("wikipedia", tmp_path)
    assert documents["Weir"].text == "A weir."
    assert documents["Weir"].meta == {
        "page_id": "7", "revision_id": "9", "templates_dropped": "14",
        "dropped": f"cn 3, {'n' * 60} 2, infobox river 1, rare a 1, rare b 1, rare c 1, rare d 1, rare e 1",
    }  # fmt: skip
    assert documents["Penstock"].meta == {"page_id": "7", "revision_id": "9", "templates_dropped": "0"}


@pytest.mark.real
def test_real_dumps(real_data: Path) -> None:
    counted = {  # documents, redirects, pages of other namespaces
        "aawiki-20260101-pages-meta-current.xml.bz2": (0, 1, 505),
        "bgwiki-shortened-UTF16.xml.bz2": (1, 0, 2),
        "enwiki-pages-articles1-shortened.xml.bz2": (106, 99, 1),
        "enwiki-table-markup.xml.bz2": (5, 0, 0),
        "ltgwiki-small-pages-articles.xml.gz": (896, 147, 954),
    }
    for name, (kept, redirects, others) in counted.items():
        documents, rejected = read_all("wikipedia", real_data, f"wikipedia/{name}", math="drop")
        found = reasons(rejected)
        assert len(documents) == kept, name
        assert found.count("quality:redirect") == redirects, name
        assert found.count("quality:namespace") == others, name
        assert not [reason for reason in found if reason.startswith("error")], name
        if "Alabama" in documents:
            assert "At 1300 mi, Alabama has one of the longest navigable" in documents["Alabama"].text
        for document in documents.values():
            for markup in ("[[", "{{", "'''", "<ref", "\n|", "\x02", "\x03"):
                assert document.text.count(markup) <= document.text.count("]]") + 3, (document.key, markup)


@pytest.mark.real
def test_real_articles_read_the_same_over_the_budget(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dump = "wikipedia/enwiki-pages-articles1-shortened.xml.bz2"
    expected, _ = read_all("wikipedia", real_data, dump, tables="lines")
    monkeypatch.setattr(wikitext, "MAX_NODES", -1)
    flat, _ = read_all("wikipedia", real_data, dump, tables="lines")
    assert len(expected) == 106
    assert {key: document.text for key, document in flat.items()} == {
        key: document.text for key, document in expected.items()
    }
    assert all(document.meta["rendered"] == "flat" for document in flat.values())
