"""The text of a book as it was typed: without Project Gutenberg's header and licence, its lines joined to paragraphs.

strip_licence(text)  -> text between the markers of any generation of files, 1991 to today
join_lines(text)     -> hard-wrapped prose as one line per paragraph; verse, lists and headings as they are
find_title(text)     -> "Title: ..." of the header, or ""
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
    r"Transcribed (?:from|by)|Prepared by|Scanned by|Updated editions|Note: Project Gutenberg|"
    r"\[Transcriber['’]s note)[^\n]*(?:\n[^\n]+)*\n\s*\n)+",
    re.IGNORECASE,
)
_TITLE = re.compile(r"^Title:[ \t]*(\S[^\n]*(?:\n[ \t]{2,}\S[^\n]*)*)", re.MULTILINE)
_PARAGRAPHS = re.compile(r"\n[ \t]*\n\s*")
_SENTENCE_END = re.compile(r"[.!?:][\"'”’)\]]*$")
_HYPHEN = re.compile(r"\w-$")
_ITEM = re.compile(r"^\s*(?:[-*•]|\(?\d{1,3}[.)]|[IVXL]{1,6}\.)\s")

MIN_WRAP, MAX_WRAP = 40, 100  # columns at which people and programs wrap lines
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
    return body.strip("\n") + "\n" if starts or end else text


def find_title(text: str) -> str:
    match = _TITLE.search(text[:5000])
    return " ".join(match[1].split()) if match else ""


def join_lines(text: str) -> str:
    """Paragraphs of hard-wrapped text on one line each, separated by blank lines."""
    limit = _wrap_limit(text)
    blocks = (block.strip("\n") for block in _PARAGRAPHS.split(text.replace("\r\n", "\n").replace("\r", "\n")))
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
    return len(line) + 1 + len(following.split()[0]) > limit - SLACK


def _is_wrapped(lines: list[str], limit: int) -> bool:
    if sum(bool(_ITEM.match(line)) for line in lines) > 0.5 * len(lines) and len(lines) > 1:
        return False
    if sum(line.startswith(" " * MARGIN) for line in lines[1:]) > 0.5 * (len(lines) - 1):
        return False
    full = sum(_is_full(line, following, limit) for line, following in pairwise(lines))
    return full >= 0.6 * (len(lines) - 1)
