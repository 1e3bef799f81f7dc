"""An EPUB's title and author, and its chapters as HTML in reading order; a BadBook where one of its parts is broken.

The spine gives the order. Left out: navigation (NCX and nav documents), and pages that the package's guide or the
chapter's own `epub:type` calls cover, title page, contents or imprint. XML with a DTD is not read: there is no entity
to expand and nothing to fetch. Names lead to members of the archive, never to the disk.
"""

import io
import posixpath
import re
import zipfile
from dataclasses import dataclass
from urllib.parse import unquote
from xml.etree import ElementTree

from pipeline.sources.books.archives import MAX_MEMBERS, MAX_TEXT_BYTES, BadBook, open_zip, read_zip_member
from pipeline.sources.charset import decode

MAX_XML_BYTES = 4 << 20
ENCRYPTION = "META-INF/encryption.xml"
FRONT = {"cover", "titlepage", "title-page", "halftitlepage", "toc", "loi", "lot", "landmarks", "imprint", "colophon",
         "copyright-page"}  # fmt: skip
DC = "{http://purl.org/dc/elements/1.1/}"
_DOCTYPE = re.compile(r"<!DOCTYPE", re.IGNORECASE)
_EPUB_TYPE = re.compile(r'epub:type="([^"]*)"')


@dataclass(frozen=True)
class Epub:
    title: str
    author: str
    language: str  # as the publisher wrote it: "en-GB"
    chapters: list[str]  # HTML


def read_epub(raw: bytes) -> Epub:
    with open_zip(io.BytesIO(raw)) as archive:
        if len(archive.infolist()) > MAX_MEMBERS:
            raise BadBook("too_large", f"{len(archive.infolist())} members")
        container = _xml(_read(archive, "META-INF/container.xml", MAX_XML_BYTES))
        rootfile = container.find(".//{*}rootfile")
        package_name = rootfile.get("full-path", "") if rootfile is not None else ""
        package = _xml(_read(archive, package_name, MAX_XML_BYTES))
        names = _spine(package, posixpath.dirname(package_name))
        _refuse_encrypted(archive, names)
        return Epub(_fact(package, "title"), _fact(package, "creator"), _fact(package, "language"),
                    _chapters(archive, names))  # fmt: skip


def _spine(package: ElementTree.Element, folder: str) -> list[str]:
    """Members that hold the text, in reading order."""
    items = {item.get("id"): item for item in package.iterfind("{*}manifest/{*}item")}
    guide = package.iterfind("{*}guide/{*}reference")
    front = {_member(folder, mark.get("href", "")) for mark in guide if mark.get("type", "").lower() in FRONT}
    names = []
    for reference in package.iterfind("{*}spine/{*}itemref"):
        item = items.get(reference.get("idref"))
        if item is None:
            raise BadBook("broken_epub", f"the spine names '{reference.get('idref')}', the manifest does not")
        if "nav" not in item.get("properties", "").split() and "html" in item.get("media-type", "html"):
            names.append(_member(folder, item.get("href", "")))
    if not names:
        raise BadBook("broken_epub", "the spine is empty")
    return [name for name in names if name not in front] or names  # a guide may call a book's only file its cover


def _member(folder: str, href: str) -> str:
    return posixpath.normpath(posixpath.join(folder, unquote(href.partition("#")[0])))


def _refuse_encrypted(archive: zipfile.ZipFile, names: list[str]) -> None:
    """Raises BadBook where a chapter is encrypted; fonts often are, and nobody needs them."""
    if ENCRYPTION not in archive.namelist():
        return
    listed = _xml(_read(archive, ENCRYPTION, MAX_XML_BYTES)).iterfind(".//{*}CipherReference")
    locked = {_member("", reference.get("URI", "")) for reference in listed} & set(names)
    if locked:
        raise BadBook("encrypted", f"DRM: {ENCRYPTION} lists {len(locked)} of {len(names)} chapters")


def _chapters(archive: zipfile.ZipFile, names: list[str]) -> list[str]:
    pages, room = [], MAX_TEXT_BYTES
    for name in names:
        data = _read(archive, name, room)
        room -= len(data)
        pages.append(decode(data, html=True)[0])
    return [html for html in pages if not _is_front(html)] or pages  # a book of one file has its title page in it


def _is_front(html: str) -> bool:
    return any(FRONT & set(found.split()) for found in _EPUB_TYPE.findall(html[:3000]))


def _read(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    try:
        member = archive.getinfo(name)
    except KeyError:
        raise BadBook("broken_epub", f"'{name}' is missing") from None
    return read_zip_member(archive, member, limit)


def _fact(package: ElementTree.Element, name: str) -> str:
    return " ".join((package.findtext(f"{{*}}metadata/{DC}{name}") or "").split())


def _xml(raw: bytes) -> ElementTree.Element:
    text, _ = decode(raw)
    if _DOCTYPE.search(text):
        raise BadBook("broken_epub", "a DTD in container, package or encryption is not read")
    try:
        return ElementTree.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text))
    except ElementTree.ParseError as error:
        raise BadBook("broken_epub", error) from error
