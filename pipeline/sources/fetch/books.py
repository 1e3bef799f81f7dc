"""Books: a list of URLs, or numbers of Project Gutenberg, in; the books out.

A list is text: a book per line, `URL [SUM] [SIZE]`, where SUM is an md5, sha1 or sha256 in hex and SIZE is in bytes;
`#` begins a comment. Or JSON lines, as BookCorpus lists are published: `url` (else `txt`, else `epub`), and if known
`sha256` (`sha1`, `md5`), `size`, `name`. A book without a name goes where its URL says: "host/path/book.txt".
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, model_validator

from pipeline.core.errors import UserError
from pipeline.sources.fetch.base import FetchConfig, RemoteFile, published_sum
from pipeline.sources.fetch.web import Web


class Config(FetchConfig):
    """Books by URL or by number."""

    urls: str = ""
    """The list: a file, or its URL."""

    gutenberg: tuple[str, ...] = ()
    """Numbers of books, and ranges of them: [11, 1342, 2700-2710]."""

    path: str = "cache/epub/{number}/pg{number}.txt"
    """Where the mirror keeps book {number}: the text in UTF-8; for EPUB cache/epub/{number}/pg{number}.epub."""

    base_url: str = Field("https://gutenberg.pglaf.org", pattern=r"^https?://")
    connections: int = Field(2, ge=1, le=32)
    requests_per_s: float = Field(0.5, gt=0)  # Project Gutenberg asks robots to wait two seconds

    @model_validator(mode="after")
    def _something_to_fetch(self) -> Self:
        if not self.urls and not self.gutenberg:
            raise ValueError("nothing to fetch: name a list (urls) or numbers of Project Gutenberg (gutenberg)")
        for numbers in self.gutenberg:
            first, _, last = numbers.partition("-")
            if not re.fullmatch(r"\d+(-\d+)?", numbers) or int(last or first) < int(first):
                raise ValueError(f"gutenberg: {numbers!r} is no number and no range like 2700-2710")
        if not re.fullmatch(r"(?:[^{}]|\{number\})+", self.path):
            raise ValueError(f"path: {self.path!r} has braces around something else than {{number}}")
        return self


def listing(config: Config, web: Web) -> list[RemoteFile]:
    files = [*_from_list(config, web), *_from_gutenberg(config)]
    named = {file.name: file for file in reversed(files)}
    twins = [file for file in files if named[file.name] != file]
    if twins:
        raise UserError(f"two books are called {twins[0].name}: {named[twins[0].name].url} and {twins[0].url}")
    return list({file.name: file for file in files}.values())


def _from_gutenberg(config: Config) -> Iterator[RemoteFile]:
    for numbers in config.gutenberg:
        first, _, last = numbers.partition("-")
        for number in range(int(first), int(last or first) + 1):
            path = config.path.format(number=number)
            yield RemoteFile(f"{config.base_url.rstrip('/')}/{path}", path.rpartition("/")[2])


def _from_list(config: Config, web: Web) -> Iterator[RemoteFile]:
    for number, line in enumerate(_lines(config.urls, web) if config.urls else (), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        try:
            yield _from_json(json.loads(line)) if line.startswith("{") else _from_words(line.split())
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise UserError(f"{config.urls}: line {number}: {error}") from None


def _lines(urls: str, web: Web) -> list[str]:
    try:
        raw = web.read(urls) if "://" in urls else Path(urls).read_bytes()
        return raw.decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the list {urls}: {getattr(error, 'strerror', None) or error}") from None


def _from_words(words: list[str]) -> RemoteFile:
    url, *facts = words
    size = [int(fact) for fact in facts if fact.isdecimal() and len(fact) < 20]
    sums = [published_sum(fact) for fact in facts if not (fact.isdecimal() and len(fact) < 20)]
    if len(size) > 1 or len(sums) > 1:
        raise ValueError("expected URL [SUM] [SIZE]")
    return RemoteFile(_checked(url), _name(url), size[0] if size else None, sums[0] if sums else "")


def _from_json(facts: dict[str, Any]) -> RemoteFile:
    url = _checked(facts.get("url") or facts.get("txt") or facts.get("epub"))
    digits = facts.get("sha256") or facts.get("sha1") or facts.get("md5")
    size = facts.get("size")
    return RemoteFile(
        url,
        str(facts.get("name") or _name(url)),
        None if size is None else int(size),
        published_sum(digits) if digits else "",
    )


def _checked(url: str | None) -> str:
    if not url or not re.match(r"https?://[^/\s]+/\S", url):
        raise ValueError(f"{url!r} is no http(s) URL of a file")
    return url


def _name(url: str) -> str:
    """ "host/path/book.txt": no two URLs share it, and it does not depend on the rest of the list."""
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    path = unquote(parts.path + query).replace("\0", "")
    steps = [step.lstrip(".") or "_" for step in f"{parts.hostname}{path}".split("/") if step]
    return "/".join(steps)
