"""Documents that hold a listed word, or come from a listed place. The lists are files of yours.

A list is a UTF-8 text with one entry a line (empty lines are none), alone or in a zip: "lists/en.txt",
"ldnoobw.zip/en". Paths are relative to the folder where the command runs, or absolute. Upper and lower case are one.

| list                  | an entry is found |
|-----------------------|-------------------|
| `words`               | a word or phrase: whole words; anywhere if it has a character of a script without spaces, or no letter |
| `domains`             | a host or the end of one: "example.com" is "news.example.com" too |
| `url_words`           | a whole word of the URL, between marks |
| `url_soft_words`      | the same, but `min_soft_words` different ones are needed |
| `url_parts`           | anywhere in the URL once "-" and "." are gone |

| reason           | dropped when |
|------------------|--------------|
| blocklist_words  | `min_words` different entries of `words` stand in the text |
| blocklist_domain | the document's host is in `domains` |
| blocklist_url    | the URL holds an entry of `url_words` or `url_parts`, or enough `url_soft_words` |

The lists' contents are part of the stage's fingerprint: an edited list is another stage.

Source: the words as C4 has them (Raffel et al. 2020; the test's oracle is datatrove's `C4BadWordsFilter`, with the list
of LDNOOBW); the places as RefinedWeb (arXiv 2306.01116, appendix G.1) and DCLM do.
"""  # noqa: E501  (a row of the table)

import hashlib
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field

from pipeline.clean.characters import ALONE, FLAGS
from pipeline.clean.verdict import Drop, Filter, Verdict
from pipeline.core.errors import UserError
from pipeline.core.plugins import PluginConfig
from pipeline.core.schema import Document


class Config(PluginConfig):
    """Blocklists."""

    name: str = "blocklist"
    words: tuple[str, ...] = ()
    """Files of words and phrases that may not stand in the text; all paths are relative to the folder where the command
    runs, or absolute."""
    min_words: int = Field(1, ge=1)
    """So many different ones drop a document."""
    domains: tuple[str, ...] = ()
    """Files of hosts."""
    url_words: tuple[str, ...] = ()
    """Files of words of which none may stand in the URL."""
    url_soft_words: tuple[str, ...] = ()
    """Files of words of which fewer than `min_soft_words` may stand in the URL."""
    min_soft_words: int = Field(2, ge=1)
    """So many different ones drop a document."""
    url_parts: tuple[str, ...] = ()
    """Files of strings of which none may stand in the URL, not even inside a word."""


def inputs(config: Config) -> dict[str, str]:
    """Every list and the hash of its bytes."""
    lists = (*config.words, *config.domains, *config.url_words, *config.url_soft_words, *config.url_parts)
    return {name: hashlib.sha256(_read(name)).hexdigest() for name in lists}


def build(config: Config) -> Filter:
    if not inputs(config):
        raise UserError("blocklist: no list is named; set words, domains, url_words, url_soft_words or url_parts")
    words = Words(_entries(config.words))
    domains, url_words, soft = (frozenset(_entries(lists)) for lists in
                                (config.domains, config.url_words, config.url_soft_words))  # fmt: skip
    parts = [entry.translate(_UNMARKED) for entry in _entries(config.url_parts)]

    def judge(document: Document) -> Verdict:
        url = document.url.lower()
        if host := next((host for host in _hosts(url) if host in domains), ""):
            return Drop("blocklist_domain", f"in domains: {host}")
        said = set(_MARKS.split(url))
        if found := url_words & said:
            return Drop("blocklist_url", f"in url_words: {', '.join(sorted(found))}")
        if len(found := soft & said) >= config.min_soft_words:
            entries = ", ".join(sorted(found))
            return Drop("blocklist_url", f"in url_soft_words: {entries}; min_soft_words {config.min_soft_words}")
        plain = url.translate(_UNMARKED)
        if part := next((part for part in parts if part in plain), ""):
            return Drop("blocklist_url", f"in url_parts: {part}")
        said_words = words.found_in(document.text, config.min_words)
        if len(said_words) < config.min_words:
            return None
        return Drop("blocklist_words", f"in words: {', '.join(said_words)}; min_words {config.min_words}")

    return judge


_MARKS = re.compile(r"[^a-z0-9]+")
_UNMARKED = str.maketrans("", "", "-.")


def _hosts(url: str) -> Iterable[str]:
    """The host and the domains it is in: "a.b.example" -> "a.b.example", "b.example", "example"."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:  # "http://[": no host
        return ()
    labels = host.split(".")
    return [".".join(labels[at:]) for at in range(len(labels))]


class Words:
    """Entries, found in texts. Most texts share no word with the list, and are settled by that."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._anywhere: list[str] = []
        self._by_first: dict[str, list[str]] = {}
        for entry in entries:
            first = _TOKEN.search(entry)
            if first is None or any(FLAGS[ord(character)] & ALONE for character in entry):
                self._anywhere.append(entry)
            else:
                self._by_first.setdefault(first[0], []).append(entry)
        self._firsts = frozenset(self._by_first)
        self._characters = frozenset("".join(self._anywhere))

    def found_in(self, text: str, enough: int) -> list[str]:
        """Entries in the text, sorted; no more are looked for when there are enough."""
        text = text.lower()
        found: list[str] = []
        if not self._characters.isdisjoint(text):
            found += [entry for entry in self._anywhere if entry in text]
        for token in sorted(self._firsts.intersection(_TOKEN.findall(text))):
            if len(found) >= enough:
                break
            found += [entry for entry in self._by_first[token] if re.search(rf"(?<!\w){re.escape(entry)}(?!\w)", text)]
        return sorted(found)


_TOKEN = re.compile(r"\w+")


def _entries(lists: Iterable[str]) -> list[str]:
    """Lower case, each once, in order."""
    lines = [line for name in lists for line in _decoded(name).splitlines()]
    return sorted({line.strip().lower() for line in lines} - {""})


def _decoded(name: str) -> str:
    try:
        return _read(name).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"blocklist {name} is not UTF-8: {error.reason} at byte {error.start}") from None


def _read(name: str) -> bytes:
    """A file, or a member of a zip; raises UserError."""
    path = Path(name)
    archive = next((above for above in path.parents if above.is_file()), None)
    try:
        if archive is None:
            return path.read_bytes()
        with zipfile.ZipFile(archive) as members:
            return members.read(path.relative_to(archive).as_posix())
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        why = getattr(error, "strerror", None) or error.args[0]
        where = "" if path.is_absolute() else f" (in {Path.cwd()}, where the command runs)"
        raise UserError(f"cannot read blocklist {name}{where}: {why}") from None
