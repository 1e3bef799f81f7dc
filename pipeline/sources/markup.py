"""A book's HTML to text: blocks separated by blank lines; headings, list items and verse on lines of their own.

Scripts, styles, navigation and page numbers are left out. A heading (h1 to h4) begins with HEADING, so that chapters.py
need not guess; chapters.py takes the mark away.
"""

import re

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from pipeline.sources.books.archives import BadBook

HEADING = "\x01"
MAX_OPTIONS = 20_000  # of forms: time grows with their square
MAX_ATTRIBUTES = 1000  # of one tag: the parser compares each with all before it
MAX_READINGS = 4  # times the page that its tags, read from every "<", may have in all
FEW_CHARS = 300_000  # of a page whose attributes cannot be too many to read
MAX_TAGS = 1_000_000  # a tree takes ten times the bytes of its tags; the longest books have 100,000
NOT_TEXT = [
    "nav", ".toc", "[role=doc-toc]", ".pagenum", ".pageno", ".page-number", ".pagenumber", ".x-ebookmaker-pageno",
    "[role=doc-pagebreak]", ".transnote", ".tnote",
]  # fmt: skip
_BULLET = re.compile(r"^([^\S\n]*)[•◦▪‣] ", re.MULTILINE)
_PAGE_BREAK = re.compile(r"<(\w{1,20}+)[^<>]{0,200}epub:type=[\"'][^\"'<>]{0,50}pagebreak[^<>]{0,200}>[^<>]{0,20}</\1>")
_DTD = re.compile(r"\s*(?:<\?xml[^>]*>\s*)?<!DOCTYPE[^>\[]*\[.*?\]\s*>", re.IGNORECASE | re.DOTALL)
_OPTION = re.compile("<option", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""[^\s/>][^\s/>=]*+(?:\s*+=\s*+(?:"[^"]*+"|'[^']*+'|[^\s>"'][^\s>]*+)?)?""")  # as in browsers
_TAG = re.compile(rf"(?=(<[a-zA-Z][^\s/>]*+(?:[\s/]++|{_ATTRIBUTE.pattern})*+))")  # from every "<": they overlap
_HEADING = re.compile(r"<h[1-4](?:\s[^<>]{0,1000})?>", re.IGNORECASE)  # in the tree, marks take time squared
_EMPTY_HEADING = re.compile(rf"^[ \t{HEADING}]+$", re.MULTILINE)
_GAP = re.compile(r"\n\s*\n\s*")


def too_complex(html: str, max_tags: int) -> str:
    """Why it must not be parsed, as time or memory would grow without bound; "" if it may be."""
    if (num_tags := html.count("<")) > max_tags:
        return f"{num_tags} tags, {max_tags} are read"
    if num_tags > MAX_OPTIONS and (num_options := len(_OPTION.findall(html))) > MAX_OPTIONS:
        return f"{num_options} options of forms, {MAX_OPTIONS} are read"
    return _too_many_attributes(html) if len(html) > FEW_CHARS else ""


def _too_many_attributes(html: str) -> str:
    """Which "<" begin a tag only the parser knows: in a comment "<x y='" begins none, and its quote hides nothing. So
    each is read as if it did; where that takes longer than a page of tags within attributes could be, it is refused."""
    chars_left = MAX_READINGS * len(html)
    for found in _TAG.finditer(html + "\"'"):  # a quote that nothing closes would be looked for anew from every "<"
        tag = found[1]
        chars_left -= len(tag)
        if len(tag) > MAX_ATTRIBUTES and len(_ATTRIBUTE.findall(tag)) > MAX_ATTRIBUTES:
            return f"a tag of more than {MAX_ATTRIBUTES} attributes"
        if chars_left < 0:
            return f"tags within attributes of tags, {MAX_READINGS} times the page"
    return ""


def html_to_text(html: str) -> tuple[str, str]:
    """(title, text); raises BadBook for a document that is nothing but tags."""
    if why := too_complex(html, MAX_TAGS):
        raise BadBook("too_large", why)
    if dtd := _DTD.match(html):  # an HTML parser takes it for text
        html = html[dtd.end() :]
    html = _HEADING.sub(rf"\g<0>{HEADING}", _PAGE_BREAK.sub("", html.replace(HEADING, "")))
    tree = HTMLTree.parse(html)
    if tree.body is None:
        return "", ""
    text = extract_plain_text(tree, preserve_formatting=True, alt_texts=False, skip_elements=NOT_TEXT)
    text = _EMPTY_HEADING.sub("", text)
    return " ".join((tree.title or "").split()), _GAP.sub("\n\n", _BULLET.sub(r"\1- ", text)).strip()
