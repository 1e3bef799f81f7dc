"""Pages as a MediaWiki export: bz2 multistream with its index.

In:  items (key = page title). Out: `samplewiki-20260101-pages-articles-multistream.xml.bz2`: one stream with the
header, streams of up to 100 pages, one with the closing tag; and `...-multistream-index.txt.bz2`, one line
`offset of the stream:page id:title` a page.

Format: https://www.mediawiki.org/xml/export-0.11.xsd, https://meta.wikimedia.org/wiki/Data_dumps/Dump_format.
Documents with sections get the markup of an encyclopedia, which leaves their words as they are; documents
without are written as plain paragraphs.
"""

import bz2
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from xml.sax.saxutils import escape

from pipeline.sources.sample.records import Document, Item

DUMP = "samplewiki-20260101-pages-articles-multistream"
PAGES_PER_STREAM = 100
NAMESPACES = {
    -2: "Media", -1: "Special", 0: "", 1: "Talk", 2: "User", 3: "User talk", 4: "Project", 5: "Project talk",
    6: "File", 7: "File talk", 8: "MediaWiki", 9: "MediaWiki talk", 10: "Template", 11: "Template talk",
    12: "Help", 13: "Help talk", 14: "Category", 15: "Category talk",
}  # fmt: skip
EXPORT = "http://www.mediawiki.org/xml/export-0.11/"
# Unescaped markup: the XML of this page alone is not well-formed.
MALFORMED = "<ref name=weir & sluice></text "


@dataclass(frozen=True, slots=True)
class Page:
    title: str
    namespace: int
    text: str
    redirect: str = ""
    is_broken: bool = False


def write_mediawiki(folder: Path, items: Sequence[Item], rng: Random) -> None:
    pages = list(all_pages(items, rng))
    offset, index = 0, []
    with open(folder / f"{DUMP}.xml.bz2", "wb") as dump:
        offset += dump.write(bz2.compress(header().encode()))
        for start in range(0, len(pages), PAGES_PER_STREAM):
            stream = pages[start : start + PAGES_PER_STREAM]
            index += [f"{offset}:{page_id}:{page.title}\n" for page_id, page in enumerate(stream, start + 1)]
            xml = "".join(page_xml(page_id, page, rng) for page_id, page in enumerate(stream, start + 1))
            offset += dump.write(bz2.compress(xml.encode()))
        dump.write(bz2.compress(b"</mediawiki>\n"))
    (folder / f"{DUMP}-index.txt.bz2").write_bytes(bz2.compress("".join(index).encode()))


def header() -> str:
    namespaces = "".join(
        f'      <namespace key="{key}" case="first-letter"' + (f">{name}</namespace>\n" if name else " />\n")
        for key, name in NAMESPACES.items()
    )
    return (
        f'<mediawiki xmlns="{EXPORT}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xsi:schemaLocation="{EXPORT} http://www.mediawiki.org/xml/export-0.11.xsd" version="0.11" xml:lang="en">\n'
        "  <siteinfo>\n    <sitename>Sample Wiki</sitename>\n    <dbname>samplewiki</dbname>\n"
        "    <base>https://sample.wiki.example/wiki/Main_Page</base>\n"
        "    <generator>MediaWiki 1.46.0-wmf.1</generator>\n    <case>first-letter</case>\n"
        f"    <namespaces>\n{namespaces}    </namespaces>\n  </siteinfo>\n"
    )


def page_xml(page_id: int, page: Page, rng: Random) -> str:
    data = page.text.encode()
    sha1 = base36(int.from_bytes(hashlib.sha1(data).digest())).rjust(31, "0")
    revision = 1_300_000_000 + page_id * 17
    redirect = f'    <redirect title="{escape(page.redirect)}" />\n' if page.redirect else ""
    text = escape(page.text) + (MALFORMED if page.is_broken else "")
    return (
        f"  <page>\n    <title>{escape(page.title)}</title>\n    <ns>{page.namespace}</ns>\n"
        f"    <id>{page_id}</id>\n{redirect}    <revision>\n      <id>{revision}</id>\n"
        f"      <parentid>{revision - 9}</parentid>\n"
        f"      <timestamp>2025-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}T{rng.randint(0, 23):02}:15:00Z"
        "</timestamp>\n      <contributor>\n        <username>Millwright</username>\n        <id>7</id>\n"
        "      </contributor>\n      <comment>/* References */ copyedit</comment>\n"
        f"      <origin>{revision}</origin>\n      <model>wikitext</model>\n      <format>text/x-wiki</format>\n"
        f'      <text bytes="{len(data)}" sha1="{sha1}" xml:space="preserve">{text}</text>\n'
        f"      <sha1>{sha1}</sha1>\n    </revision>\n  </page>\n"
    )


def base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits


def all_pages(items: Sequence[Item], rng: Random) -> Iterator[Page]:
    """Articles, and after every tenth one a page that a reader of articles must leave out."""
    titles = [item.key for item in items]
    for number, item in enumerate(items):
        yield Page(item.key, 0, wikitext(item.document, titles, rng), is_broken=item.is_broken)
        if number % 10 == 9:
            yield other_page(number // 10, item, rng)


def other_page(number: int, item: Item, rng: Random) -> Page:
    title = item.key
    match number % 6:
        case 0 | 1:
            short = title.partition(" (")[0]
            return Page(f"{short} redirect {number}", 0, f"#REDIRECT [[{title}]]\n\n{{{{R from move}}}}", title)
        case 2:
            talk = f"== Sources ==\nCould someone add a source to the second section? ~~~~\n: Done, see [[{title}]]."
            return Page(f"Talk:{title}", 1, talk)
        case 3:
            return Page(f"User:Millwright{number}", 2, "I repair old mills and the articles about them.")
        case 4:
            return Page(
                f"Template:Unit{number}",
                10,
                "<includeonly>{{{1|0}}} {{{2|km}}}</includeonly><noinclude>{{doc}}</noinclude>",
            )
        case _:
            area = item.document.area or "Fragments"
            return Page(f"Category:{area.capitalize()} {rng.randint(1, 9)}{number}", 14, "[[Category:Contents]]")


def wikitext(document: Document, titles: Sequence[str], rng: Random) -> str:
    if len(document.sections) == 1:
        return "\n\n".join(document.paragraphs)
    name, category = document.title.partition(" (")[0], document.area.capitalize()
    body = "\n\n".join(section_wikitext(number, section.heading, section.paragraphs, titles, rng)
                       for number, section in enumerate(document.sections))  # fmt: skip
    links = "\n".join(f"* [[{title}]]" for title in rng.sample(titles, 3))
    return (
        f"{{{{Short description|Part of {document.area}}}}}\n{infobox(name, document.area, rng)}\n"
        f"[[File:{name} diagram.svg|thumb|right|220px|A diagram of ''{name}''.]]\n{body}\n\n"
        f"{table(rng)}\n\n== See also ==\n{links}\n\n"
        "== References ==\n{{Reflist}}\n\n== External links ==\n"
        f"* [https://www.{document.area}.example/docs Official documentation]\n\n"
        f"{{{{DEFAULTSORT:{name}}}}}\n[[Category:{category}]]\n[[Category:Articles with {rng.randint(2, 9)} sections]]"
    )


def section_wikitext(number: int, heading: str, paragraphs: Sequence[str], titles: Sequence[str], rng: Random) -> str:
    lines = [decorated(text, titles, rng) for text in paragraphs]
    if number == 0:
        lines[0] = re.sub(r"^(\w+ \w+)", r"'''\1'''", lines[0])
        if rng.random() < 0.2:  # templates whose arguments are text
            lines.append(
                f"The archive lies {{{{convert|{rng.randint(100, 1900)}|mi|km}}}} from the coast, where it is known as "
                f"{{{{lang|fr|{rng.choice(('la bibliothèque', 'le moulin', 'la vanne', 'le barrage'))}}}}}."
            )
    elif len(lines) > 2:  # the rest of a long section as a list
        lines[1:] = ["\n".join(f"* {line}" for line in lines[1:])]
    return "\n\n".join(([f"{'=' * (2 + number % 2)} {heading} {'=' * (2 + number % 2)}"] if heading else []) + lines)


def decorated(text: str, titles: Sequence[str], rng: Random) -> str:
    """Links, italics and references, which a reader removes without changing a word."""
    words = text.split(" ")
    for at in range(rng.randint(2, 9), len(words), 23):
        if words[at].isalpha():
            words[at] = rng.choice(
                (f"[[{rng.choice(titles)}|{words[at]}]]", f"[[{words[at]}]]", f"''{words[at]}''", words[at])
            )
    if rng.random() < 0.4:
        words[-1] += (
            f"<ref>{{{{cite web |url=https://docs.example/{rng.randint(1, 999)} |title=Reference manual "
            f"|access-date=2025-11-{rng.randint(1, 28)}}}}}</ref>"
        )
    if rng.random() < 0.05:
        words[-1] += "<!-- check this against the source -->"
    return " ".join(words)


def infobox(name: str, area: str, rng: Random) -> str:
    return (
        f"{{{{Infobox software\n| name = {name}\n| author = {{{{nowrap|The {area} developers}}}}\n"
        f"| released = {{{{Start date|{rng.randint(1991, 2024)}|{rng.randint(1, 12):02}}}}}\n| programming language = "
        "[[Python (programming language)|Python]]\n}}"
    )


def table(rng: Random) -> str:
    rows = "\n".join(f"|-\n| 2.{number} || {rng.randint(10, 900)}" for number in range(rng.randint(2, 5)))
    return f'{{| class="wikitable sortable"\n|+ Changes by version\n! Version !! Lines\n{rows}\n|}}'
