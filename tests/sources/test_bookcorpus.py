"""Books in every format; licences, wrapped lines, verse; damaged, lying and hostile archives."""

import gzip
import io
import zipfile
from pathlib import Path

import pytest
from resiliparse.parse.html import HTMLTree

from pipeline.sources import bookcorpus
from pipeline.sources.gutenberg import join_lines, strip_licence
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
CONTAINER = '<?xml version="1.0"?><container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile full-path="OEBPS/a.opf"/></rootfiles></container>'  # noqa: E501
PACKAGE = (
    '<package xmlns="http://www.idpf.org/2007/opf"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
    '<dc:title>Rain</dc:title></metadata><manifest><item id="b" href="b%20c.xhtml" media-type="application/xhtml+xml"/>'
    '<item id="a" href="a.xhtml" media-type="application/xhtml+xml"/>'
    '<item id="n" href="nav.xhtml" properties="nav" media-type="application/xhtml+xml"/></manifest>'
    '<spine><itemref idref="n"/><itemref idref="b"/><itemref idref="a"/></spine></package>'
)


def chapter(title: str, text: str) -> str:
    return f"<html><head><script>bad()</script></head><body><h1>{title}</h1><p>{text}</p></body></html>"


def epub(**changed: str) -> bytes:
    parts = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": CONTAINER,
        "OEBPS/a.opf": PACKAGE,
        "OEBPS/a.xhtml": chapter("Two", "Second."),
        "OEBPS/b c.xhtml": chapter("One", "First."),
        "OEBPS/nav.xhtml": chapter("Contents", "not text"),
    } | changed
    return zipped({name: text.encode() for name, text in parts.items() if text})


def zipped(parts: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in parts.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data, method)
    return packed.getvalue()


def test_keys_are_relative_to_the_glob(tmp_path: Path) -> None:
    books = tmp_path / "bookcorpus" / "austen"
    books.mkdir(parents=True)
    (books / "x.txt").write_text(MODERN)
    (books / "x.epub").write_bytes(epub())
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
    assert documents["a.txt#2"].meta == {"book": "a.txt", "part": "2/2"}
    assert "\n\n".join(document.text for document in documents.values()) == "\n\n".join(chapters)
    assert bookcorpus.cut("x" * 2500, 1000) == ["x" * 1000, "x" * 1000, "x" * 500]


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.epub", b"no zip", "damaged"),
        ("a.epub", epub()[:-30], "damaged"),
        ("a.epub", epub(**{"OEBPS/a.xhtml": ""}), "broken_epub"),
        ("a.epub", epub(**{"META-INF/container.xml": ""}), "broken_epub"),
        ("a.epub", epub(**{"OEBPS/a.opf": PACKAGE.replace("a.xhtml", "../../../etc/passwd")}), "broken_epub"),
        ("a.epub", epub(**{"OEBPS/a.opf": '<!DOCTYPE p [<!ENTITY a "b">]>' + PACKAGE}), "broken_epub"),
        ("a.epub", epub(**{"OEBPS/a.opf": PACKAGE[:-20]}), "broken_epub"),
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

    monkeypatch.setattr(bookcorpus, "extract_plain_text", extract)
    (tmp_path / "odd.html").write_text("<html><title>Odd</title><p>text</p></html>")
    (tmp_path / "good.txt").write_text(TEXT)
    documents, rejected = read_all("bookcorpus", tmp_path)
    assert list(documents) == ["good.txt"]
    assert [(record.reason, record.detail) for record in rejected] == [("failed", "KeyError: 'Odd' in odd.html:0")]


def test_a_bomb_is_read_up_to_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bookcorpus, "MAX_BOOK_BYTES", 1 << 20)
    monkeypatch.setattr(bookcorpus._read_member, "__defaults__", (1 << 20,))
    (tmp_path / "a.zip").write_bytes(zipped({"bomb.txt": b"a" * (20 << 20), "c.txt": TEXT.encode()}))
    (tmp_path / "b.epub").write_bytes(epub(**{"OEBPS/a.xhtml": "a" * (20 << 20)}))
    documents, rejected = read_all("bookcorpus", tmp_path)
    assert list(documents) == ["a.zip/c.txt"]
    assert reasons(rejected) == ["error:too_large", "error:too_large"]


@pytest.mark.real
def test_real_books(real_data: Path) -> None:
    documents, rejected = read_all("bookcorpus", real_data, "books/*.zip", "books/*.txt.gz", "books/*.epub")
    assert reasons(rejected) == []
    assert len({key.partition("#")[0] for key in documents}) == 14 + 3 + 23 + 1 + 2
    for key, document in documents.items():
        assert not document.text.lstrip().startswith("***"), key
        for marker in ("*** START OF", "*** END OF", "SMALL PRINT! FOR PUBLIC", "START: FULL LICENSE"):
            assert marker not in document.text, (key, marker)
        assert len(document.text) <= 1_000_000
    editions = [documents[f"gutenberg_editions.zip/pride_prejudice/{name}"] for name in ("1342-0.txt", "1342.txt")]
    straight = str.maketrans("“”‘’", "\"\"''")
    assert editions[0].text.translate(straight) == editions[1].text.translate(straight)
    assert editions[0].text.endswith("had been the means of uniting them.")


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
