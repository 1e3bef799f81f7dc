"""The text of a book as it was typed: without Project Gutenberg's header and licence, its lines joined to paragraphs.

normalise(text)             -> "\\n" line ends, no spaces at the ends of lines, no more than five blank lines together
find_facts(text)            -> title and author, as the header tells them
strip_licence(text)         -> text between the markers of any generation of files, 1991 to today
join_lines(text)            -> hard-wrapped prose as one line per paragraph; verse, lists and headings as they are
"""

import re
from itertools import pairwise

# "*** START OF THIS PROJECT GUTENBERG EBOOK EMMA ***" or "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*...*END*"
_START = re.compile(
    r"^[ \t]*\*{3} ?START OF (?:THE|THIS) PROJECT GUTENBERG[^*]*\*{3}.*$"
    r"|^[ \t]*\*END ?\*? ?THE SMALL PRINT!.*$",
    re.MULTILINE | re.IGNORECASE,
)
_END = re.compile(
    r"^[ \t]*\*{3} ?END OF (?:THE|THIS) PROJECT GUTENBERG.*$"
    r"|^[ \t]*(?:The )?End of (?:the |this )?Project Gutenberg(?:['’]s)?\b.*$"
    r"|^[ \t]*\*{3} ?START: FULL LICENSE.*$"
    r"|^[ \t]*\*\*The Legal Small Print\*\*.*$",
    re.MULTILINE | re.IGNORECASE,
)
_CREDITS = re.compile(
    r"(?:\s*(?:Produced by|E-?text prepared by|This e-?text was (?:prepared|produced)|This etext was|HTML version by|"
    r"Transcribed (?:from|by)|Prepared by|Scanned by|Updated editions|Note: Project Gutenberg)"
    r"(?:[^\n]*(?:\n[^\n]+){0,8}\n\n|[^\n]*\n))+",
    re.IGNORECASE,
)
_FIRST_LINE = re.compile(
    r"Project Gutenberg(?:['’]s)?(?: (?:Etext|eBook))?(?: of)? (?P<title>[^*\n]{1,150}?),? by "
    r"(?P<author>[^*\n(\[]{1,80})",
    re.IGNORECASE,
)
_MENTION = re.compile(r"Project Gutenberg\b|\bgutenberg\.(?:org|net)\b", re.IGNORECASE)
_FIELD = re.compile(r"^(Title|Author):[ \t]*(\S[^\n]*(?:\n[ \t]{2,}\S[^\n]*)*)", re.MULTILINE)
_BLANK = r"[ \t\v\f\x1c-\x1e\x85\u2028\u2029]"
_TRAILING = re.compile(rf"(?<!{_BLANK}){_BLANK}+$", re.MULTILINE)  # looking behind: linear in long runs
_GAP = re.compile(r"\n{7,}")
_PARAGRAPHS = re.compile(r"\n[ \t]*\n\s*")
_SENTENCE_END = re.compile(r"[.!?:][\"'”’)\]]*$")
_HYPHEN = re.compile(r"\w-$")
_ITEM = re.compile(r"^\s*(?:[-*•]|\(?\d{1,3}[.)]|[IVXL]{1,6}\.)\s")

HEADER_CHARS = 5_000  # in which the header's fields are looked for
AROUND_CHARS = 6_000  # at either end, in which whoever speaks of Project Gutenberg is not the author
MIN_WRAP, MAX_WRAP = 50, 100  # columns at which people and programs wrap lines; verse is shorter
SLACK = 12  # a wrapped line may end this much before its limit
MARGIN = 4  # verse and signatures are indented by at least this much
LONG_BLOCK = 30  # lines: a longer block without a blank line is more than one paragraph


def strip_licence(text: str) -> str:
    """A marker counts as a start in the first half only, as an end in the second: novels quote licences too."""
    middle = max(len(text) // 2, min(len(text), 40_000))
    starts = [match.end() for match in _START.finditer(text, 0, middle)]
    begin = starts[-1] if starts else 0
    end = _END.search(text, max(begin, len(text) // 2))
    body = text[begin : end.start() if end else len(text)]
    if starts:
        credits = _CREDITS.match(body)
        body = body[credits.end() :] if credits else body
    return _without_mentions(body).strip("\n") + "\n" if starts or end else text


def _without_mentions(body: str) -> str:
    """Without the blocks up to its last mention in the beginning, and without those from its first in the end."""
    around = min(AROUND_CHARS, len(body) // 3)
    head = [match.end() for match in _MENTION.finditer(body, 0, around)]
    begin = body.find("\n\n", head[-1]) if head else 0
    tail = _MENTION.search(body, len(body) - around)
    end = body.rfind("\n\n", 0, tail.start()) if tail else len(body)
    return body[max(begin, 0) : max(end, 0)]


def normalise(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n\n")
    return _GAP.sub("\n" * 6, _TRAILING.sub("", text))


def find_facts(text: str) -> tuple[str, str]:
    """(title, author): "Title: ..." of the header, else "The Project Gutenberg Etext of TITLE, by AUTHOR", else ""."""
    header = text[:HEADER_CHARS]
    fields = {match[1].lower(): " ".join(match[2].split()) for match in reversed(list(_FIELD.finditer(header)))}
    first = _FIRST_LINE.search(header[:500])
    told = {name: value.strip() for name, value in first.groupdict().items()} if first else {}
    return fields.get("title") or told.get("title", ""), fields.get("author") or told.get("author", "")


def join_lines(text: str) -> str:
    """Paragraphs of hard-wrapped text on one line each, separated by blank lines."""
    limit = _wrap_limit(text)
    blocks = (block.strip("\n") for block in _PARAGRAPHS.split(text))
    return "\n\n".join(_join(block.split("\n"), limit) for block in blocks if block.strip())


def _wrap_limit(text: str) -> int:
    """The column at which the text is wrapped: nearly all lines are shorter, many nearly as long. 0: it is not."""
    lengths = sorted(len(line.rstrip()) for line in text.split("\n") if line.strip())
    if len(lengths) < 4:
        return 0
    longest = lengths[int(0.98 * (len(lengths) - 1))]
    near = sum(longest - SLACK <= length <= longest for length in lengths)
    return longest if MIN_WRAP <= longest <= MAX_WRAP and near > 0.2 * len(lengths) else 0


def _join(lines: list[str], limit: int) -> str:
    """The lines of a block as one, if it is prose; as several paragraphs, if it is too long to be one."""
    lines = [line.rstrip() for line in lines]
    if not limit or len(lines) == 1 or not _is_wrapped(lines, limit):
        return "\n".join(lines)
    paragraphs, words = [], [lines[0].strip()]
    for line, following in pairwise(lines):
        if len(lines) > LONG_BLOCK and not _is_full(line, following, limit) and _SENTENCE_END.search(line):
            paragraphs.append("".join(words))  # books without blank lines: only the short line tells
            words = [following.strip()]
            continue
        glue = "" if line.endswith("--") or following.startswith("--") or _HYPHEN.search(line) else " "
        words.append(glue + following.strip())
    return "\n\n".join([*paragraphs, "".join(words)])


def _is_full(line: str, following: str, limit: int) -> bool:
    """Where a wrapped line ends, the next line's first word had no room."""
    return len(line) + 1 + len(following.lstrip().partition(" ")[0]) > limit - SLACK


def _is_wrapped(lines: list[str], limit: int) -> bool:
    if sum(bool(_ITEM.match(line)) for line in lines) > 0.5 * len(lines) and len(lines) > 1:
        return False
    if sum(line.startswith(" " * MARGIN) for line in lines[1:]) > 0.5 * (len(lines) - 1):
        return False
    full = sum(_is_full(line, following, limit) for line, following in pairwise(lines))
    return full >= 0.6 * (len(lines) - 1)
