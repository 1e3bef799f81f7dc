"""What a page says of itself: title, date of publication, language."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from resiliparse.parse.html import HTMLTree

_TITLES = {"og:title": "property", "twitter:title": "name"}  # of <meta>, and the attribute that says so
_PUBLISHED = {
    "article:published_time": "property", "datePublished": "itemprop", "date": "name", "pubdate": "name",
    "DC.date.issued": "name",
}  # fmt: skip
MAX_HEADINGS = 8  # that are looked at: every node of a list is a search from its beginning
_JSON_DATE = re.compile(r'"datePublished"\s*:\s*"([^"]{8,40})"')
_DATE = re.compile(r"^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?")


@dataclass(frozen=True)
class About:
    """Each "" where the page does not say."""

    title: str
    date: str  # ISO 8601
    language: str  # as in <html lang>, lower case: "en-gb"
    headings: frozenset[str]  # title and h1, squeezed: the lines that repeat the title


def read_about(tree: HTMLTree, html: str) -> About:
    found = tree.document.query_selector_all("h1") if tree.document else []
    headings = [squeeze(found[number].text) for number in range(min(len(found), MAX_HEADINGS))]
    title = next(_metas(tree, html, _TITLES), "")
    if not title:
        title = headings[0] if len(headings) == 1 and headings[0] else squeeze(tree.title)
    language = _attribute(tree, "html", "lang").lower()
    return About(title, _published(tree, html), language, frozenset(map(str.lower, [title, *headings])))


def without_title(text: str, about: About) -> str:
    """The headline stands in `title`; as for the other sources, it is not repeated in the text."""
    first, _, rest = text.partition("\n")
    return rest.lstrip() if squeeze(first).lower() in about.headings else text


def squeeze(text: str | None) -> str:
    return " ".join((text or "").split())


def _published(tree: HTMLTree, html: str) -> str:
    for found in _metas(tree, html, _PUBLISHED):
        if match := _DATE.match(found):
            return match[0]
    if match := _DATE.match(_attribute(tree, "time[datetime]", "datetime")):
        return match[0]
    embedded = _JSON_DATE.search(html)
    match = _DATE.match(embedded[1]) if embedded else None
    return match[0] if match else ""


def _metas(tree: HTMLTree, html: str, names: dict[str, str]) -> Iterator[str]:
    """What is said under these names, in their order; a page is not searched for a name that is not in it."""
    for name, attribute in names.items():
        if name in html and (said := _attribute(tree, f'meta[{attribute}="{name}"]', "content")):
            yield said


def _attribute(tree: HTMLTree, query: str, name: str) -> str:
    """Of the first node; lists of nodes cost more than the search for them."""
    node = tree.document.query_selector(query) if tree.document is not None else None
    return squeeze(node.getattr(name)) if node is not None else ""
