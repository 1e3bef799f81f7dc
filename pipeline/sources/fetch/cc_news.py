"""CC-News by month: the path listing of a month in; its WARC files out.

    BASE/crawl-data/CC-NEWS/2026/09/warc.paths.gz    a path per line, relative to BASE

Common Crawl publishes no sums: a file is as long as the server says, and gzip's own checksums are met when it is read.
The listing of the current month grows; the same command takes what came since.
"""

import gzip
import re
import zlib

from pydantic import Field

from pipeline.core.errors import UserError
from pipeline.sources.fetch.base import FetchConfig, RemoteFile
from pipeline.sources.fetch.web import Missing, Web

FOLDER = "crawl-data/CC-NEWS"
SHOWN_MONTHS = 8


class Config(FetchConfig):
    """The news of one month."""

    month: str = Field(pattern=r"^\d{4}-\d{2}$")
    """Month of the crawl: 2026-09."""

    num_files: int | None = Field(None, ge=1)
    """Only the first ones of the listing (1 GB each); default: all."""

    base_url: str = Field("https://data.commoncrawl.org", pattern=r"^https?://")


def listing(config: Config, web: Web) -> list[RemoteFile]:
    base = config.base_url.rstrip("/")
    url = f"{base}/{FOLDER}/{config.month.replace('-', '/')}/warc.paths.gz"
    try:
        packed = web.read(url)
    except Missing as missing:
        raise UserError(f"no CC-News of {config.month}: {missing}; {_near(web, base, config.month)}") from None
    try:
        paths = gzip.decompress(packed).decode().split()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(f"{url} is no listing: {error}") from None
    if not paths:
        raise UserError(f"{url} lists no file yet")
    return [RemoteFile(f"{base}/{path}", path.rpartition("/")[2]) for path in paths[: config.num_files]]


def _near(web: Web, base: str, month: str) -> str:
    """The months around one that is not there."""
    try:
        page = web.read(f"{base}/{FOLDER}/index.html").decode("utf-8", "replace")
    except UserError:
        return "the first one was 2016-08"
    months = {f"{year}-{number}" for year, number in re.findall(r"(\d{4})/(\d{2})/warc\.paths\.gz", page)}
    near = sorted(sorted(months, key=lambda other: abs(_count(other) - _count(month)))[:SHOWN_MONTHS])
    return f"there are: {', '.join(near) or 'none'}"


def _count(month: str) -> int:
    year, number = month.split("-")
    return int(year) * 12 + int(number)
