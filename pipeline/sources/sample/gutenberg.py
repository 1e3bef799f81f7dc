"""Books as `.txt` in the manner of Project Gutenberg, and as `.epub`.

In:  items (key = file name). Out: one file an item.

- `.txt`: a licence header and footer around `*** START OF` and `*** END OF THE PROJECT GUTENBERG EBOOK`, lines
  wrapped at 72 columns, paragraphs between blank lines; every second one has CRLF line ends and a byte order mark
  (https://www.gutenberg.org/help/file_formats.html).
- `.epub`: EPUB 3, https://www.w3.org/TR/epub-33/: `mimetype` first and stored, container, package document with
  spine, navigation document, one XHTML file a chapter, a style sheet; zip times are fixed.

The chapter headings are part of the text in both; titles and the navigation are not.
"""

import io
import re
import uuid
import zipfile
from collections.abc import Sequence
from html import escape
from pathlib import Path
from random import Random

from pipeline.sources.sample.records import Document, Item

COLUMNS = 72
_AUTHORS = ("Ada Millrace", "Tobias Weir", "Ines Aguado", "Harriet Sluys", "Conrad Fall", "Miriam Headwater")
_LANGUAGES = {"en": "English", "de": "German", "fr": "French", "es": "Spanish", "ja": "Japanese", "ru": "Russian"}
_LICENCE = (
    "This eBook is for the use of anyone anywhere in the United States and most other parts of the world at no cost "
    "and with almost no restrictions whatsoever. You may copy it, give it away or re-use it under the terms of the "
    "Project Gutenberg License included with this eBook or online at www.gutenberg.org."
)
_FOOTER = (
    "Updated editions will replace the previous one; the old editions will be renamed. Creating the works from print "
    "editions not protected by U.S. copyright law means that no one owns a United States copyright in these works.",
    "START: FULL LICENSE",
    "THE FULL PROJECT GUTENBERG LICENSE. PLEASE READ THIS BEFORE YOU DISTRIBUTE OR USE THIS WORK",
)


def write_books(folder: Path, items: Sequence[Item], rng: Random) -> None:
    for number, item in enumerate(items):
        author = rng.choice(_AUTHORS)
        if item.key.endswith(".epub"):
            data = epub(item.document, author, uuid.UUID(int=rng.getrandbits(128), version=4))
            data = data[: len(data) // 2] if item.is_broken else data
        else:
            text = gutenberg_text(item.document, author)
            data = text.replace("\n", "\r\n").encode("utf-8-sig") if number % 2 else text.encode()
        (folder / item.key).write_bytes(data)


def gutenberg_text(document: Document, author: str) -> str:
    title = document.title
    body = "\n\n\n\n".join(
        "\n\n".join(([section.heading, ""] if section.heading else []) + [wrap(text) for text in section.paragraphs])
        for section in document.sections
    )
    return (
        f"{wrap(f'The Project Gutenberg eBook of {title}')}\n\n{wrap(_LICENCE)}\n\n"
        f"Title: {title}\n\nAuthor: {author}\n\n"
        f"Release date: January 1, 2026 [eBook #{sum(title.encode()) + 70000}]\n\n"
        f"Language: {_LANGUAGES[document.language]}\n\nCredits: the maintainers of the documentation\n\n\n"
        f"*** START OF THE PROJECT GUTENBERG EBOOK {title.upper()} ***\n\n\n\n\n{body}\n\n\n\n\n"
        f"*** END OF THE PROJECT GUTENBERG EBOOK {title.upper()} ***\n\n\n\n" + "\n\n".join(map(wrap, _FOOTER)) + "\n"
    )


def wrap(paragraph: str) -> str:
    """Broken at spaces alone, so that joining the lines gives the paragraph back; ten times textwrap's speed."""
    return re.sub(rf"(\S.{{0,{COLUMNS - 1}}})(?:\s+|$)", r"\1\n", paragraph).rstrip("\n")


def epub(document: Document, author: str, identifier: uuid.UUID) -> bytes:
    title, language = escape(document.title), document.language
    chapters = [f"chapter-{number:03}.xhtml" for number in range(1, len(document.sections) + 1)]
    manifest = "".join(
        f'    <item id="c{number}" href="{name}" media-type="application/xhtml+xml"/>\n'
        for number, name in enumerate(chapters)
    )
    spine = "".join(f'    <itemref idref="c{number}"/>\n' for number in range(len(chapters)))
    package = (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id">\n'
        '  <metadata xmlns:dc="http://purl.org/dc/elements/1.1/">\n'
        f'    <dc:identifier id="id">urn:uuid:{identifier}</dc:identifier>\n    <dc:title>{title}</dc:title>\n'
        f"    <dc:creator>{author}</dc:creator>\n    <dc:language>{language}</dc:language>\n"
        '    <meta property="dcterms:modified">2026-01-01T00:00:00Z</meta>\n  </metadata>\n  <manifest>\n'
        '    <item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>\n'
        f'    <item id="css" href="style.css" media-type="text/css"/>\n{manifest}  </manifest>\n'
        f"  <spine>\n{spine}  </spine>\n</package>\n"
    )
    links = "".join(
        f'<li><a href="{name}">{escape(section.heading or document.title)}</a></li>'
        for name, section in zip(chapters, document.sections, strict=True)
    )
    files = {
        "META-INF/container.xml": (
            '<?xml version="1.0"?>\n'
            '<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">\n  <rootfiles>\n'
            '    <rootfile full-path="OEBPS/content.opf" media-type="application/oebps-package+xml"/>\n'
            "  </rootfiles>\n</container>\n"
        ),
        "OEBPS/content.opf": package,
        "OEBPS/nav.xhtml": xhtml(title, language, f'<nav epub:type="toc" id="toc"><ol>{links}</ol></nav>'),
        "OEBPS/style.css": "body { font-family: serif; }\nh1 { page-break-before: always; }\n",
    }
    for name, section in zip(chapters, document.sections, strict=True):
        heading = f"<h1>{escape(section.heading)}</h1>\n" if section.heading else ""
        paragraphs = "\n".join(f"<p>{escape(text)}</p>" for text in section.paragraphs)
        files[f"OEBPS/{name}"] = xhtml(title, language, f"<section>\n{heading}{paragraphs}\n</section>")
    return zipped(files)


def xhtml(title: str, language: str, body: str) -> str:
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE html>\n'
        f'<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" lang="{language}">\n'
        f'<head><title>{title}</title><link rel="stylesheet" type="text/css" href="style.css"/></head>\n'
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def zipped(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in {"mimetype": "application/epub+zip", **files}.items():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # the same bytes on every platform
            entry.compress_type = zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED
            archive.writestr(entry, text)
    return buffer.getvalue()
