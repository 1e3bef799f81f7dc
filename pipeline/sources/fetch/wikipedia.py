"""Wikipedia dumps: language and date in; the multistream articles and their indexes out.

    BASE/simplewiki/                         the dates there are
    BASE/simplewiki/20260901/dumpstatus.json what is finished, with sizes and sums
    .../simplewiki-20260901-sha1sums.txt     the sums, where the status has none (old dumps, some mirrors)

Large wikis are published in parts (`multistream1.xml-p1p41242.bz2`); the parts are taken, not the file they are later
recombined to: they are there days earlier and are fetched side by side.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import Field

from pipeline.core.errors import UserError
from pipeline.sources.fetch.base import FetchConfig, RemoteFile, published_sum
from pipeline.sources.fetch.web import Missing, Web

JOB = "articlesmultistreamdump"
SHOWN_DATES = 8


class Config(FetchConfig):
    """A dump of one language."""

    language: str = Field(pattern=r"^[a-z]+([-_][a-z]+)*$")
    """Code of the wiki: en, de, simple, zh-min-nan, ..."""

    date: str = Field("latest", pattern=r"^(latest|\d{8})$")
    """Day of the dump, 20260901; or the newest one that is finished."""

    base_url: str = Field("https://dumps.wikimedia.org", pattern=r"^https?://")
    connections: int = Field(2, ge=1, le=32)  # more are refused by the public host


def listing(config: Config, web: Web) -> list[RemoteFile]:
    wiki = f"{config.language.replace('-', '_')}wiki"
    folder = f"{config.base_url.rstrip('/')}/{wiki}"
    dates = _dates(web, folder) if config.date == "latest" else [config.date]
    if not dates:
        raise UserError(f"no dump of {wiki}: {folder}/ lists no date; is '{config.language}' the code of a Wikipedia?")
    job: dict[str, Any] = {}
    for date in dates:
        try:
            job = _job(web, f"{folder}/{date}/dumpstatus.json")
        except Missing:
            job = {"status": "not there"}
        if job.get("status") == "done":
            with _refused(f"{folder}/{date}/dumpstatus.json"):
                return _files(web, folder, wiki, date, job["files"])
    others = ", ".join([date for date in _dates(web, folder) if date not in dates][:SHOWN_DATES]) or "no others"
    raise UserError(f"the articles of {wiki} {dates[0]} are {job.get('status', 'not there')}; there are: {others}")


def _dates(web: Web, folder: str) -> list[str]:
    """Newest first."""
    try:
        page = web.read(f"{folder}/").decode("utf-8", "replace")
    except Missing:
        return []
    return sorted(set(re.findall(r'href="(?:[^"]*/)?(\d{8})/?"', page)), reverse=True)


def _job(web: Web, url: str) -> dict[str, Any]:
    with _refused(url):
        return dict(json.loads(web.read(url))["jobs"].get(JOB, {}))


@contextmanager
def _refused(url: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{url} is no status of a dump: {type(error).__name__}: {error}") from None


def _files(web: Web, folder: str, wiki: str, date: str, files: dict[str, dict[str, Any]]) -> list[RemoteFile]:
    sums = {name: facts["sha1"] for name, facts in files.items() if facts.get("sha1")}
    if sums.keys() < files.keys():
        sums |= _sums(web, f"{folder}/{date}/{wiki}-{date}-sha1sums.txt")
    if unknown := sorted(files.keys() - sums.keys()):
        raise UserError(f"{wiki} {date}: no sum is published for {unknown[0]}")
    return [
        RemoteFile(f"{folder}/{date}/{name}", name, files[name].get("size"), published_sum(sums[name]))
        for name in sorted(files)
    ]


def _sums(web: Web, url: str) -> dict[str, str]:
    """File name -> sha1."""
    lines = (line.split() for line in web.read(url).decode("utf-8", "replace").splitlines())
    return {words[1].lstrip("*"): words[0] for words in lines if len(words) == 2}
