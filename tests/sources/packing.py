"""Archives and books to read back: zip, tar and EPUB, the same bytes every time."""

import io
import tarfile
import zipfile

CONTAINER = (
    '<?xml version="1.0"?><container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="OEBPS/a.opf"/></rootfiles></container>'
)
PACKAGE = (
    '<package xmlns="http://www.idpf.org/2007/opf"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
    "<dc:title>Rain</dc:title><dc:creator>A. Writer</dc:creator></metadata>"
    '<manifest><item id="b" href="b%20c.xhtml" media-type="application/xhtml+xml"/>'
    '<item id="a" href="a.xhtml" media-type="application/xhtml+xml"/>'
    '<item id="n" href="nav.xhtml" properties="nav" media-type="application/xhtml+xml"/></manifest>'
    '<spine><itemref idref="n"/><itemref idref="b"/><itemref idref="a"/></spine></package>'
)


def chapter(title: str, text: str) -> str:
    return f"<html><head><script>bad()</script></head><body><h1>{title}</h1><p>{text}</p></body></html>"


def make_epub(**changed: str) -> bytes:
    """A book of two chapters; a part that is changed to "" is left out."""
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


def tarred(parts: dict[str, bytes], links: tuple[str, ...] = ()) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in parts.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        for name in links:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(entry)
    return packed.getvalue()
