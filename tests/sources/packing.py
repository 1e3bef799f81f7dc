"""Raw files for tests, the same bytes every time: zip, tar, EPUB, a bomb; a dump of Wikipedia; WARC records."""

import io
import tarfile
import zipfile
import zlib

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


def bomb(archive: bytes, name: str, num_bytes: int) -> bytes:
    """The zip, with the member `name` replaced by what unpacks to `num_bytes`, though its header says otherwise."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(packed, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            new.writestr(entry.filename, _deflated_zeros(num_bytes) if entry.filename == name else data)
        stored = new.getinfo(name)
    data = bytearray(packed.getvalue())
    directory = data.rindex(b"PK\1\2", 0, data.rindex(name.encode()))
    for at in (stored.header_offset + 8, directory + 10):  # stored as it is; now it says that it is deflated
        data[at : at + 2] = zipfile.ZIP_DEFLATED.to_bytes(2, "little")
    return bytes(data)


def _deflated_zeros(num_bytes: int) -> bytes:
    """A deflate stream of one block for each mebibyte, all of them equal."""
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    block = packer.compress(b"\0" * (1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * (num_bytes >> 20) + packer.flush()


def dump(*pages: bytes) -> bytes:
    """A MediaWiki dump."""
    head = b'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="en">\n<siteinfo>'
    base = b"<base>https://en.wikipedia.org/wiki/Main_Page</base></siteinfo>\n"
    return head + base + b"".join(pages) + b"</mediawiki>\n"


def wiki_page(title: str, text: str) -> bytes:
    """`text` as it is: whoever wants entities writes them."""
    return (
        f"<page><title>{title}</title><ns>0</ns><id>7</id><revision><id>9</id>"
        f"<timestamp>2026-01-02T03:04:05Z</timestamp><model>wikitext</model><format>text/x-wiki</format>"
        f'<text xml:space="preserve">{text}</text></revision></page>\n'
    ).encode()


def web_page(*paragraphs: str) -> bytes:
    story = "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)
    return (
        f"<!DOCTYPE html><html><head><title>News</title></head><body><article>{story}</article></body></html>".encode()
    )


def response(body: bytes, url: str, *headers: str, excess: int = 0) -> bytes:
    """A WARC record that claims `excess` bytes more than it has."""
    lines = ["HTTP/1.1 200 OK", "Content-Type: text/html", *headers, "", ""]
    block = "\r\n".join(lines).encode() + body
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:0>\r\nWARC-Date: 2026-01-15T00:00:00Z\r\n"
        f"WARC-Target-URI: {url}\r\nContent-Type: application/http; msgtype=response\r\n"
        f"Content-Length: {len(block) + excess}\r\n\r\n"
    )
    return head.encode() + block + b"\r\n\r\n"
