"""EPUB: reading order, what is left out, what is refused."""

from pathlib import Path

import pytest

from pipeline.sources.books.archives import BadBook
from pipeline.sources.books.epub import read_epub
from tests.sources.packing import PACKAGE, chapter, make_epub
from tests.sources.reading import read_all, reasons

ENCRYPTION = (
    '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container" xmlns:enc="http://www.w3.org/2001/04/xmlenc#">'
    '<enc:EncryptedData><enc:EncryptionMethod Algorithm="{}"/><enc:CipherData><enc:CipherReference URI="{}"/>'
    "</enc:CipherData></enc:EncryptedData></encryption>"
)


def test_facts_and_spine_order() -> None:
    book = read_epub(make_epub())
    assert (book.title, book.author, book.language) == ("Rain", "A. Writer", "")
    assert [html.partition("<p>")[2].partition("</p>")[0] for html in book.chapters] == ["First.", "Second."]


def test_text_has_no_scripts_navigation_or_entities(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE html [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;"><!ENTITY x SYSTEM "file:///etc/passwd">]>'
    text = "Second. &b;&x; <span epub:type='pagebreak' id='p7'>7</span>End"
    page = chapter("Two", text).replace("<p>", "<nav>Menu</nav><p>")
    (tmp_path / "a.epub").write_bytes(make_epub(**{"OEBPS/a.xhtml": bomb + page}))
    (document,) = read_all("bookcorpus", tmp_path)[0].values()
    assert document.text == "One\n\nFirst.\n\nTwo\n\nSecond. &b;&x; End"
    assert document.meta == {"author": "A. Writer", "chapters": "One\nTwo"}


@pytest.mark.parametrize(
    "left_out",
    [
        {"OEBPS/a.xhtml": chapter("Two", "Second.").replace("<body>", '<body epub:type="frontmatter titlepage">')},
        {"OEBPS/a.opf": PACKAGE.replace("</spine>", '</spine><guide><reference type="toc" href="a.xhtml#x"/></guide>')},
        {"OEBPS/a.opf": PACKAGE.replace('href="a.xhtml" media-type="application/xhtml+xml"',
                                        'href="a.ncx" media-type="application/x-dtbncx+xml"')},
    ],
)  # fmt: skip
def test_contents_and_title_pages_are_left_out(left_out: dict[str, str]) -> None:
    assert len(read_epub(make_epub(**left_out)).chapters) == 1


def test_a_book_whose_guide_calls_all_of_it_its_cover_is_read() -> None:
    guide = "".join(f'<reference type="cover" href="{name}"/>' for name in ("a.xhtml", "b%20c.xhtml"))
    book = read_epub(make_epub(**{"OEBPS/a.opf": PACKAGE.replace("</spine>", f"</spine><guide>{guide}</guide>")}))
    assert len(book.chapters) == 2


def test_a_book_of_one_file_that_begins_with_its_title_page_is_read() -> None:
    body = chapter("One", "First.").replace("<body>", '<body><section epub:type="titlepage">Rain</section>')
    one = PACKAGE.replace('<itemref idref="a"/>', "")
    book = read_epub(make_epub(**{"OEBPS/a.opf": one, "OEBPS/b c.xhtml": body, "OEBPS/a.xhtml": ""}))
    assert [html.partition("<p>")[2].partition("</p>")[0] for html in book.chapters] == ["First."]


def test_encrypted_chapters_are_reported_and_encrypted_fonts_are_not(tmp_path: Path) -> None:
    drm = ENCRYPTION.format("http://www.w3.org/2001/04/xmlenc#aes128-cbc", "OEBPS/b%20c.xhtml")
    font = ENCRYPTION.format("http://www.idpf.org/2008/embedding", "OEBPS/font.otf")
    (tmp_path / "drm.epub").write_bytes(make_epub(**{"META-INF/encryption.xml": drm}))
    (tmp_path / "font.epub").write_bytes(make_epub(**{"META-INF/encryption.xml": font}))
    documents, rejected = read_all("bookcorpus", tmp_path)
    assert list(documents) == ["font.epub"]
    assert reasons(rejected) == ["error:encrypted"]
    assert rejected[0].detail == "DRM: META-INF/encryption.xml lists 1 of 2 chapters"


@pytest.mark.parametrize(
    ("changed", "detail"),
    [
        ({"OEBPS/a.xhtml": ""}, "'OEBPS/a.xhtml' is missing"),
        ({"OEBPS/a.opf": PACKAGE.replace('"a.xhtml"', '"../../../etc/passwd"')}, "'../../etc/passwd' is missing"),
        ({"OEBPS/a.opf": PACKAGE.replace('idref="a"', 'idref="z"')}, "the spine names 'z', the manifest does not"),
        ({"OEBPS/a.opf": PACKAGE.partition("<spine>")[0] + "<spine/></package>"}, "the spine is empty"),
        ({"OEBPS/a.opf": '<!DOCTYPE p [<!ENTITY a "b">]>' + PACKAGE}, "a DTD in container, package or encryption"),
        ({"META-INF/container.xml": "<container"}, "unclosed token: line 1, column 0"),
    ],
)
def test_a_broken_epub_says_what_is_broken(changed: dict[str, str], detail: str) -> None:
    with pytest.raises(BadBook, match="broken_epub") as error:
        read_epub(make_epub(**changed))
    assert error.value.detail.startswith(detail)
