"""One file of a listing: from wherever an earlier attempt left it to the whole, proven file.

1. bytes go to `.NAME.part`; `.NAME.part.json` says which version of the file they are of (ETag, Last-Modified, size)
2. what is there already is not sent again: Range, with If-Range so that a file which changed is sent whole; a server
   that ignores Range, or answers another range or version, starts the file anew
3. whole: size and sum as published; else the file is removed and fetched once more, past caches, then given up; a body
   is read no further than the file is long
4. fsync, rename to NAME

Without a published sum a resumed file is only as sure as the server's validators; without those it is not resumed.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import requests

from pipeline.core.errors import UserError
from pipeline.core.files import FileEntry, checksum, sync, write_json
from pipeline.sources.fetch.base import RemoteFile
from pipeline.sources.fetch.web import Transient, Web, content_length

logger = logging.getLogger(__name__)

_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)$")


class Mismatch(Exception):
    """The bytes are not what was published."""


@dataclass(frozen=True)
class Version:
    """Which bytes a server means by a URL."""

    url: str
    etag: str = ""  # strong ones only: a weak one does not promise equal bytes
    last_modified: str = ""
    num_bytes: int | None = None

    @property
    def validator(self) -> str:
        return self.etag or self.last_modified


@dataclass(frozen=True)
class Fetched:
    """A file that is there, whole."""

    entry: FileEntry
    origin: str  # "URL SUM", or "URL VALIDATOR" where no sum is published


class Part:
    """A file on its way."""

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f".{target.name}.part")
        self.note = target.with_name(f".{target.name}.part.json")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def version(self) -> Version | None:
        try:
            return Version(**json.loads(self.note.read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def begin(self, version: Version) -> None:
        self.remove()  # bytes first: they must never stand beside the note of another version
        write_json(self.note, asdict(version))
        self.path.touch()

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def download(web: Web, remote: RemoteFile, folder: Path, report: Callable[[int], None]) -> Fetched:
    """The file, under its name in `folder`. `report` hears its size as it grows."""
    target = folder / remote.name
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Part(target)
    if target.exists() and (found := _already(web, remote, target)):
        part.remove()
        return found
    wrong = None
    for past_caches in (False, True):
        try:
            web.persist(partial(_go_on, web, remote, part, past_caches, report), remote.url, part.size)
            fetched = _prove(part.path, remote, part.version())
            break
        except Mismatch as mismatch:
            wrong = mismatch
            logger.warning("%s: %s; removed", remote.url, mismatch)
            part.remove()
    else:
        raise UserError(f"{remote.url}: {wrong}, twice in a row; the file was removed")
    sync(part.path)
    os.replace(part.path, target)
    part.remove()
    sync(target.parent)
    return fetched


def _go_on(web: Web, remote: RemoteFile, part: Part, past_caches: bool, report: Callable[[int], None]) -> None:
    """One attempt; returns when the part is whole by all that size can tell."""
    known = part.version()
    same_url = known is not None and known.url == remote.url and known.validator
    start = part.size() if known is not None and (same_url or remote.checksum) else 0
    if start and start == (remote.num_bytes or (known and known.num_bytes)):
        return
    headers = {"Cache-Control": "no-cache"} if past_caches else {}
    if start:
        headers["Range"] = f"bytes={start}-"
        if known is not None and same_url:
            headers["If-Range"] = known.validator
    with web.open(remote.url, headers) as response:
        if response.status_code == 416 and start and _content_range(response)[1] == start:
            return  # killed between the last byte and the rename
        version = _version(remote.url, response)
        if response.status_code == 200:
            start = 0
        elif _content_range(response)[0] != start or (same_url and _differ(known, version)):
            part.remove()
            raise Transient("the server answered with another part or version of the file than was asked for")
        if None not in (remote.num_bytes, version.num_bytes) and remote.num_bytes != version.num_bytes:
            raise Mismatch(f"the server has {version.num_bytes:,} bytes, published are {remote.num_bytes:,}")
        if not start:
            part.begin(version)
        _append(web, response, part, start, version.num_bytes if remote.num_bytes is None else remote.num_bytes, report)
    if version.num_bytes is not None and part.size() != version.num_bytes:
        raise Transient(f"the connection ended after {part.size():,} of {version.num_bytes:,} bytes")


def _append(
    web: Web, response: requests.Response, part: Part, start: int, end: int | None, report: Callable[[int], None]
) -> None:
    with open(part.path, "ab", buffering=0) as file:
        size = start
        for piece in web.pieces(response):
            size += len(piece)
            if end is not None and size > end:
                raise Mismatch(f"more than the {end:,} bytes of the file")
            file.write(piece)
            report(size)


def _already(web: Web, remote: RemoteFile, target: Path) -> Fetched | None:
    """A file from a fetch that was killed before its manifest; removed unless it is what is published."""
    size = remote.num_bytes
    if size is None and not remote.checksum:
        size = web.size(remote.url)
    try:
        return _prove(target, remote, Version(remote.url, num_bytes=size))
    except Mismatch as mismatch:
        logger.warning("%s: %s; fetched anew", target, mismatch)
        target.unlink()
        return None


def _prove(path: Path, remote: RemoteFile, version: Version | None) -> Fetched:
    """Raises Mismatch unless size and sum are those published."""
    size = path.stat().st_size
    expected = remote.num_bytes if remote.num_bytes is not None else version and version.num_bytes
    if expected is not None and size != expected:
        raise Mismatch(f"{size:,} bytes, not {expected:,}")
    entry = checksum(path, remote.name)
    if remote.checksum:
        algorithm, _, published = remote.checksum.partition(":")
        found = entry.sha256 if algorithm == "sha256" else _digest(path, algorithm)
        if found != published:
            raise Mismatch(f"its {algorithm} is {found}, published is {published}")
    mark = remote.checksum or (version.validator if version else "")
    return Fetched(entry, f"{remote.url} {mark}".rstrip())


def _digest(path: Path, algorithm: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def _version(url: str, response: requests.Response) -> Version:
    etag = response.headers.get("ETag", "")
    whole = content_length(response) if response.status_code == 200 else _content_range(response)[1]
    strong = "" if etag.startswith("W/") else etag
    return Version(url, strong, response.headers.get("Last-Modified", ""), whole)


def _content_range(response: requests.Response) -> tuple[int | None, int | None]:
    """(first byte, bytes of the whole file) of a partial answer; None is unknown."""
    match = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    first, whole = match.groups() if match else (None, None)
    return int(first) if first else None, int(whole) if whole and whole != "*" else None


def _differ(known: Version | None, now: Version) -> bool:
    """Whether a server that does not know If-Range goes on with another file."""
    if known is None:
        return False
    pairs = ((known.etag, now.etag), (known.last_modified, now.last_modified), (known.num_bytes, now.num_bytes))
    return any(before and after and before != after for before, after in pairs)
