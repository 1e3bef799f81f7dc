"""Books in every format; licences, wrapped lines, verse; damaged, lying and hostile archives."""

import bz2
import gzip
import lzma
import re
import time
import zipfile
from pathlib import Path

import pytest
from resiliparse.parse.html import HTMLTree

from pipeline.sources import bookcorpus, markup
from pipeline.sources.books import archives, epub
from pipeline.sources.books.gutenberg import find_facts, join_lines, strip_licence
from tests.sources.packing import PACKAGE, chapter, make_epub, zipped
from tests.sources.reading import read_all, reasons

PROSE = (
    "It was a bright cold day in April, and the clocks were striking\n"
    "thirteen. The hall smelt of boiled cabbage and old rag mats, and\n"
    "at one end of it a coloured poster, too large for indoor dis-\n"
    "play, had been tacked to the wall.\n"
)
JOINED = (
    "It was a bright cold day in April, and the clocks were striking thirteen. The hall smelt of boiled cabbage and "
    "old rag mats, and at one end of it a coloured poster, too large for indoor dis-play, had been tacked to the wall."
)
VERSE = "How doth the little crocodile\n  Improve his shining tail,\nAnd pour the waters of the Nile\n  On every scale!"
TEXT = f"CHAPTER I.\n\n{PROSE}\n{VERSE}\n"
CLEAN = f"CHAPTER I.\n\n{JOINED}\n\n{VERSE}"
MODERN = (
    "The Project Gutenberg eBook of Rain\n\nTitle: Rain\n\nAuthor: A. Writer\n\n"
    "*** START OF THE PROJECT GUTENBERG EBOOK RAIN ***\n\nProduced by Some One and\nthe team at a site.\n\n\n"
    f"{TEXT}\n\nEnd of the Project Gutenberg EBook of Rain\n\n*** END OF THE PROJECT GUTENBERG EBOOK RAIN ***\n"
    "Updated editions will replace the previous one.\n"
)
OLD = (
    "***START**THE SMALL PRINT!**FOR PUBLIC DOMAIN ETEXTS**START***\nlawyers\n"
    "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*\n\n"
    f"{TEXT}\n\nEnd of Project Gutenberg's Etext of Rain, by A. Writer\n"
)


def test_keys_are_relative_to_the_glob(tmp_path: Path) -> None:
    books = tmp_path / "bookcorpus" / "austen"
    books.mkdir(parents=True)
    (books / "x.txt").write_text(MODERN)
    (books / "x.epub").write_bytes(make_epub())
    (books / "y.txt.gz").write_bytes(gzip.compress(OLD.encode(), mtime=0))
    (books / "cover.jpg").write_bytes(b"\xff\xd8")
    (books / "more.zip").write_bytes(zipped({"z/w.txt": TEXT.encode(), "../up.txt": TEXT.encode()}))
    documents, rejected = read_all("bookcorpus", tmp_path, "bookcorpus/**")
    assert set(documents) == {
        "austen/x.txt", "austen/x.epub", "austen/y.txt", "austen/more.zip/z/w.txt", "austen/more.zip/../up.txt"
    }  # fmt: skip
    assert reasons(rejected) == ["quality:unknown_format"]
    assert documents["austen/x.txt"].title == "Rain"
    assert documents["austen/x.txt"].origin == "bookcorpus/austen/x.txt:0"
    assert {documents[key].text for key in documents if "epub" not in key} == {CLEAN}
    assert documents["austen/x.epub"].text == "One\n\nFirst.\n\nTwo\n\nSecond."
    assert documents["austen/x.epub"].title == "Rain"
    assert sorted(path.name for path in tmp_path.rglob("*.txt")) == ["x.txt"], "nothing is unpacked to disk"


@pytest.mark.parametrize("text", [MODERN, OLD, MODERN.replace("\n", "\r\n")])
def test_licence_and_credits_are_stripped(text: str) -> None:
    body = strip_licence(text.replace("\r\n", "\n"))
    assert body.strip() == TEXT.strip()


def test_a_text_without_markers_is_untouched() -> None:
    assert strip_licence(TEXT) == TEXT


def test_lines_of_prose_are_joined_and_those_of_verse_and_lists_are_not() -> None:
    listed = "1. flour and water, as much as the bowl can hold at one time\n2. salt, a little more than you would think is good\n3. an oven, hot"  # noqa: E501
    assert join_lines(f"{TEXT}\n\n{listed}") == f"{CLEAN}\n\n{listed}"


def test_text_with_a_line_per_paragraph_is_untouched() -> None:
    text = "\n\n".join(["A short one.", JOINED, "Another short one.", JOINED * 2, JOINED * 3])
    assert join_lines(text) == text


def test_books_without_blank_lines_are_cut_at_short_lines() -> None:
    joined = join_lines(PROSE * 10)
    assert joined == "\n\n".join([JOINED] * 10)


@pytest.mark.parametrize(
    ("charset", "text"),
    [("utf-8-sig", "naïve café — “quoted”"), ("cp1252", "naïve café — “quoted” " * 20), ("utf-16", "naïve café")],
)
def test_charsets(charset: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(text.encode(charset))
    assert read_all("bookcorpus", tmp_path)[0]["a.txt"].text.strip() == text.strip()


def test_long_books_are_cut_at_chapters(tmp_path: Path) -> None:
    chapters = [f"CHAPTER {number}.\n\n" + "\n\n".join([JOINED] * 3) for number in ("I", "II", "III", "IV")]
    (tmp_path / "a.txt").write_text("\n\n".join(chapters))
    documents, _ = read_all("bookcorpus", tmp_path, max_chars=1500)
    assert list(documents) == ["a.txt", "a.txt#2"]
    assert documents["a.txt#2"].text.startswith("CHAPTER III.")
    assert documents["a.txt"].meta == {"book": "a.txt", "part": "1/2", "chapters": "CHAPTER I.\nCHAPTER II."}
    assert documents["a.txt#2"].meta == {"book": "a.txt", "part": "2/2", "chapters": "CHAPTER III.\nCHAPTER IV."}
    assert "\n\n".join(document.text for document in documents.values()) == "\n\n".join(chapters)


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.epub", b"no zip", "damaged"),
        ("a.epub", make_epub()[:-30], "damaged"),
        ("a.epub", make_epub(**{"OEBPS/a.xhtml": ""}), "broken_epub"),
        ("a.epub", make_epub(**{"META-INF/container.xml": ""}), "broken_epub"),
        ("a.epub", make_epub(**{"OEBPS/a.opf": PACKAGE.replace("a.xhtml", "../../../etc/passwd")}), "broken_epub"),
        ("a.epub", make_epub(**{"OEBPS/a.opf": '<!DOCTYPE p [<!ENTITY a "b">]>' + PACKAGE}), "broken_epub"),
        ("a.epub", make_epub(**{"OEBPS/a.opf": PACKAGE[:-20]}), "broken_epub"),
        ("a.txt", bytes(range(256)) * 20, "not_text"),
        ("a.txt.gz", gzip.compress(TEXT.encode())[:-9], "damaged"),
        ("a.zip", b"PK no", "damaged"),
    ],
)
def test_a_broken_book_is_one_error(name: str, data: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    (tmp_path / "good.txt").write_text(TEXT)
    documents, rejected = read_all("bookcorpus", tmp_path)
    assert list(documents) == ["good.txt"]
    assert reasons(rejected) == [f"error:{reason}"]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("at", [9, 30])
def test_a_damaged_member_is_one_error_and_its_neighbours_are_read(method: int, at: int, tmp_path: Path) -> None:
    data = bytearray(zipped({"a.txt": TEXT.encode(), "b.txt": MODERN.encode(), "c.txt": OLD.encode()}, method))
    start = data.find(b"b.txt") + len(b"b.txt") + at
    data[start : start + 4] = b"\xff\xff\xff\xff"
    (tmp_path / "a.zip").write_bytes(data)
    documents, rejected = read_all("bookcorpus", tmp_path)
    assert list(documents) == ["a.zip/a.txt", "a.zip/c.txt"]
    assert reasons(rejected) == ["error:damaged"]


@pytest.mark.parametrize("name", ["a.zip", "a.epub"])
def test_an_archive_whose_names_are_not_utf8_is_one_error(name: str, tmp_path: Path) -> None:
    packed = zipped({"é.txt": TEXT.encode()})
    (tmp_path / name).write_bytes(packed.replace("é".encode(), b"\xc3("))
    (tmp_path / "good.txt").write_text(TEXT)
    documents, rejected = read_all("bookcorpus", tmp_path)
    assert list(documents) == ["good.txt"]
    assert reasons(rejected) == ["error:damaged"]


def test_a_member_before_the_beginning_of_its_archive_is_one_error(tmp_path: Path) -> None:
    """The seek fails with EINVAL: an errno, but not the disk's."""
    packed = zipped({"a.txt": TEXT.encode()})
    (tmp_path / "a.zip").write_bytes(packed[:-6] + (1 << 20).to_bytes(4, "little") + packed[-2:])
    documents, rejected = read_all("bookcorpus", tmp_path)
    assert documents == {}
    assert reasons(rejected) == ["error:damaged"]
    assert rejected[0].detail == "OSError: [Errno 22] Invalid argument"


def test_a_book_that_breaks_a_library_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def extract(tree: HTMLTree, **_: object) -> str:
        raise KeyError(tree.title)

    monkeypatch.setattr(markup, "extract_plain_text", extract)
    (tmp_path / "odd.html").write_text("<html><title>Odd</title><p>text</p></html>")
    (tmp_path / "good.txt").write_text(TEXT)
    documents, rejected = read_all("bookcorpus", tmp_path)
    assert list(documents) == ["good.txt"]
    assert [(record.reason, record.detail) for record in rejected] == [("failed", "KeyError: 'Odd' in odd.html:0")]


def test_a_bomb_is_read_up_to_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_BOOK_BYTES", 1 << 20)
    monkeypatch.setattr(epub, "MAX_TEXT_BYTES", 1 << 20)
    monkeypatch.setattr(markup, "MAX_TAGS", 1000)
    (tmp_path / "a.zip").write_bytes(zipped({"bomb.txt": b"a" * (20 << 20), "c.txt": TEXT.encode()}))
    (tmp_path / "b.epub").write_bytes(make_epub(**{"OEBPS/a.xhtml": "a" * (20 << 20)}))
    (tmp_path / "d.txt.gz").write_bytes(gzip.compress(b"a" * (20 << 20)))
    (tmp_path / "e.html").write_text("<a>" * 2000)
    documents, rejected = read_all("bookcorpus", tmp_path)
    assert list(documents) == ["a.zip/c.txt"]
    assert [(record.key, record.reason) for record in rejected] == [
        (name, "too_large") for name in ("a.zip/bomb.txt", "b.epub", "d.txt.gz", "e.html")
    ]


def test_texts_have_a_smaller_bound_than_books_with_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bookcorpus, "MAX_TEXT_BYTES", 1000)
    for name, data in {"a.txt": TEXT.encode() * 1000, "b.html": b"<p>x" * 500}.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "c.epub").write_bytes(make_epub(**{"OEBPS/picture.png": "@" * 5000}))
    documents, rejected = read_all("bookcorpus", tmp_path)
    assert list(documents) == ["c.epub"]
    assert [(record.key, record.reason) for record in rejected] == [("a.txt", "too_large"), ("b.html", "too_large")]


def test_a_member_of_an_epub_named_upwards_leads_nowhere(tmp_path: Path) -> None:
    """Neither to the disk, nor, where the archive really holds such a name, to anything but that member."""
    (tmp_path / "books").mkdir()
    (tmp_path / "x.xhtml").write_text(chapter("Disk", "secret"))
    package = PACKAGE.replace('href="a.xhtml"', 'href="../../x.xhtml"')
    named = {"OEBPS/a.opf": package}
    (tmp_path / "books/a.epub").write_bytes(make_epub(**named))
    (tmp_path / "books/b.epub").write_bytes(make_epub(**named, **{"../x.xhtml": chapter("Two", "Inside.")}))
    (tmp_path / "books/c.epub").write_bytes(make_epub(**{"../../x.xhtml": chapter("Three", "No chapter.")}))
    before = sorted(path.name for path in tmp_path.rglob("*"))
    documents, rejected = read_all("bookcorpus", tmp_path / "books")
    assert [(record.key, record.reason, record.detail) for record in rejected] == [
        ("a.epub", "broken_epub", "'../x.xhtml' is missing")
    ]
    assert {key: "Inside." in document.text for key, document in documents.items()} == {"b.epub": True, "c.epub": False}
    assert not any("secret" in document.text for document in documents.values())
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_texts_may_be_compressed(tmp_path: Path) -> None:
    for suffix, compress in {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}.items():
        (tmp_path / f"{suffix}.txt.{suffix}").write_bytes(compress(TEXT.encode()))
    documents, _ = read_all("bookcorpus", tmp_path)
    assert {key: document.text for key, document in documents.items()} == dict.fromkeys(
        ("gz.txt", "bz2.txt", "xz.txt"), CLEAN
    )


def test_title_and_author_are_those_of_the_header() -> None:
    assert find_facts(MODERN) == ("Rain", "A. Writer")
    assert find_facts("The Project Gutenberg Etext of Moby Dick, by Herman Melville\n#3 in our series") == (
        "Moby Dick", "Herman Melville"
    )  # fmt: skip
    assert find_facts(TEXT) == ("", "")


# chapters that a person counted: of every edition the numbered ones
CHAPTERS = {
    "moby_dick/2701-0.txt": 135, "moby_dick/2701.txt": 135, "moby_dick/old__moby10b.txt": 135,
    "alice/11-0.txt": 12, "alice/11.txt": 12, "alice/old__alice30.txt": 12, "alice/11-h__11-h.htm": 12,
    "pride_prejudice/1342-0.txt": 61, "pride_prejudice/1342.txt": 61, "pride_prejudice/old__pandp10.txt": 61,
    "pride_prejudice/old__pandp12.txt": 61, "pride_prejudice/1342-h__1342-h.htm": 61,
    "war_of_worlds/36-0.txt": 27, "war_of_worlds/36.txt": 27, "war_of_worlds/old__warw11.txt": 27,
    "war_of_worlds/36-h__36-h.htm": 27, "huck_finn/76-0.txt": 43, "huck_finn/76.txt": 43,
    "huck_finn/old__hfinn10.txt": 43, "huck_finn/old__hfinn11.txt": 43, "time_machine/35-0.txt": 16,
    "time_machine/35.txt": 12, "time_machine/old__timem11.txt": 12,
    "Anon_Clara_1864.txt": 84, "Burnett_Garden_1911.txt": 27, "Cbronte_Jane_1847.txt": 38,
    "Chesterton_Thursday_1908.txt": 15, "Conrad_Almayer_1895.txt": 12, "Dickens_Oliver_1839.txt": 53,
    "Doyle_Hound_1902.txt": 15, "Gaskell_Ruth_1855.txt": 36, "Haggard_Mines_1885.txt": 20, "Hardy_Madding_1874.txt": 57,
    "Kipling_Captains_1896.txt": 10, "Lee_Brown_1884.txt": 26, "Stevenson_Treasure_1883.txt": 34,
    "Trollope_Warden_1855.txt": 21, "botchan.txt": 11, "dante-divina-commedia.txt": 100,
    "pg36-war-of-the-worlds.epub": 27, "h-g-wells_the-time-machine.epub": 12,
}  # fmt: skip
BEGINNINGS = {  # the first sentence of the first chapter, each once
    "moby_dick": "Call me Ishmael.",
    "alice": "Alice was beginning to get very tired of sitting by her sister on the bank,",
    "pride_prejudice": "It is a truth universally acknowledged, that a single man in possession of a ",
    "war_of_worlds": "No one would have believed in the last years of the nineteenth century that this world was being",
    "huck_finn": "know about me without you have read a book by the name of",
    "time_machine": "The Time Traveller (for so it will be convenient to speak of him) was expounding",
}
NUMBERED = re.compile(r"(?i:.*\b(?:chapter|canto)\b.*)|[IVXLC]+\.?|\d+\.?")


@pytest.fixture(scope="module")
def real_books(real_data: Path) -> dict[str, str]:
    """Of every real book its text, and above it the titles of its chapters, one a line."""
    documents, rejected = read_all("bookcorpus", real_data, "books/*.zip", "books/*.txt.gz", "books/*.epub")
    assert reasons(rejected) == []
    assert all(len(document.text) <= 1_000_000 for document in documents.values())
    books: dict[str, tuple[str, str]] = {}
    for key, document in documents.items():
        book = re.sub(r"^\w+\.zip/", "", document.meta.get("book", key))
        titles, text = books.get(book, ("", ""))
        books[book] = (f"{titles}\n{document.meta.get('chapters', '')}", f"{text}\n\n{document.text}")
    assert len(books) == 14 + 3 + 23 + 1 + 2
    return {book: "\x00".join(parts) for book, parts in books.items()}


@pytest.mark.real
def test_chapters_of_real_books_are_found(real_books: dict[str, str]) -> None:
    def count(titles: str) -> int:
        return sum(any(NUMBERED.fullmatch(part) for part in title.split(" / ")) for title in titles.splitlines())

    assert {book: count(real_books[book].partition("\x00")[0]) for book in CHAPTERS} == CHAPTERS


@pytest.mark.real
def test_nothing_but_the_book_remains_of_real_books(real_books: dict[str, str]) -> None:
    for book, parts in real_books.items():
        text = parts.partition("\x00")[2].strip()
        assert not text.startswith("***"), book
        for marker in ("Project Gutenberg", "SMALL PRINT", "Transcriber", "[Illustration", "\x01"):
            assert marker.lower() not in text.lower(), (book, marker)
        for contents in ("contents", "contents.", "inhaltsverzeichnis", "illustrations."):
            assert not re.search(rf"^{re.escape(contents)}$", text, re.MULTILINE | re.IGNORECASE), (book, contents)
        for title in ("The Carpet-Bag", "WHAT I SAW OF THE DESTRUCTION OF WEYBRIDGE", "A Caucus-Race and a Long Tale",
                      "Torn Sawyer's Gang", "THE BURGLARY", "Von den Hinterweltlern"):  # fmt: skip
            assert text.count(title) <= 1, (book, title)


@pytest.mark.real
def test_real_books_begin_and_end_where_they_should(real_books: dict[str, str]) -> None:
    for book, parts in real_books.items():
        text = " ".join(parts.partition("\x00")[2].split())
        if sentence := BEGINNINGS.get(book.partition("/")[0]):
            assert text.count(sentence) == 1, book
            assert text.index(sentence) < 30_000, book
    moby = real_books["moby_dick/2701-0.txt"]
    assert "\n\nCHAPTER 1. Loomings.\n\nCall me Ishmael. Some years ago—never mind how long precisely—" in moby
    assert moby.endswith("in her retracing search after her missing children, only found another orphan.")
    editions = [real_books[f"pride_prejudice/{name}"].partition("\x00")[2] for name in ("1342-0.txt", "1342.txt")]
    straight = str.maketrans("“”‘’", "\"\"''")
    assert editions[0].translate(straight) == editions[1].translate(straight)
    assert editions[0].endswith("had been the means of uniting them.")


def test_a_member_without_a_name_is_a_book_like_any_other(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x", "A story. " * 50)
        archive.writestr("good.txt", "Another story. " * 50)
    raw = (tmp_path / "a.zip").read_bytes()
    # one byte of name less, in the local header (offset 26) and in the directory (offset 28), and the name itself
    local, directory = raw.index(b"PK\x03\x04"), raw.index(b"PK\x01\x02")
    edited = bytearray(raw)
    edited[local + 26 : local + 28] = edited[directory + 28 : directory + 30] = b"\0\0"
    edited[local + 28 : local + 30] = edited[directory + 30 : directory + 32] = (
        b"\1\0"  # the name becomes an extra field
    )
    (tmp_path / "a.zip").write_bytes(edited)
    documents, rejected = read_all("bookcorpus", tmp_path)
    assert "a.zip/good.txt" in documents
    assert len(documents) + len(rejected) == 2


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("a.html", "<h1>"), ("a.html", "<i class=pagenum>x</i>"), ("a.html", "<div>"), ("a.html", "<p>\n \n"),
        ("a.txt", "Transcriber's Notes\n\n"), ("a.txt", "CONTENTS\n\nA\n\nB\n\n"), ("a.txt", "[Illustration["),
        ("a.txt", "Produced by x\n"), ("a.txt", "12\n"), ("a.txt", " \n"),
    ],
)  # fmt: skip
def test_the_time_for_a_book_grows_with_its_size_and_not_faster(name: str, unit: str, tmp_path: Path) -> None:
    """Sixteen times the bytes: less than sixty times the seconds (of the process; another may be busy)."""
    seconds = []
    for number, size in enumerate((1 << 14, 1 << 18)):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / name).write_text("*** START OF THIS PROJECT GUTENBERG EBOOK X ***\n" + unit * (size // len(unit)))
        begin = time.process_time()
        read_all("bookcorpus", folder)
        seconds.append(time.process_time() - begin)
    assert seconds[1] < 60 * max(seconds[0], 0.01)


def test_a_book_of_nothing_but_line_ends_costs_seconds(tmp_path: Path) -> None:
    """32 MB of "a\\n" took a minute of CPU."""
    (tmp_path / "a.txt").write_bytes(b"a\n" * (bookcorpus.MAX_LINES + 1))
    (tmp_path / "b.txt").write_bytes(b"\n" * (bookcorpus.MAX_LINES + 1) + b"A short book.\n")
    documents, rejected = read_all("bookcorpus", tmp_path)
    assert [(record.reason, record.detail) for record in rejected] == [("too_large", "2000001 lines, 2000000 are read")]
    assert [document.text for document in documents.values()] == ["A short book."]
