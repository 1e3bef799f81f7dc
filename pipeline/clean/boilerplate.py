"""Lines that belong to the page, not to the text: cookies, sharing, subscriptions, navigation, copyright.

A line is removed when it is short (`max_words`) and one of RULES describes it whole: a sentence that merely mentions
cookies stays. Lines of four menu entries or more between "|", "›", "»" or "·" are navigation; but two or more of them
among adjacent lines with " | " are rows of a table.

| edit        | when |
|-------------|------|
| boilerplate | at least one line was removed |

Source: the line rules of RefinedWeb (arXiv 2306.01116, appendix G.2: "items in cart", "Read more...", "Sign-in",
counters) and DCLM's `dclm_baseline_refinedweb.yaml`, and what CC-News pages were seen to leave.
"""

import re
from dataclasses import replace
from itertools import groupby

from pipeline.clean.verdict import Filter, Replace, Verdict
from pipeline.core.plugins import PluginConfig
from pipeline.core.schema import Document

_SHARE = r"(?:share|tweet|pin it|e-?mail|print|facebook|twitter|linkedin|whatsapp|reddit|pinterest|telegram|copy link)"
RULES = (
    r"(?:we|(?:this|our) (?:web)?site)(?: [\w,-]+){0,6} (?:uses?|using|sets?|stores?|places?)\b.{0,40}\bcookies\b.*",
    r"by (?:using|continuing|browsing)\b.{0,60}\bcookies\b.*",
    r"(?:accept|reject|allow|manage)(?: all)?(?: cookies| preferences)?(?: (?:accept|reject|allow|manage).*)?",
    r"(?:cookie|privacy) (?:policy|settings|notice|preferences)(?:\W.*)?|terms (?:of|and) (?:use|service|conditions)",
    rf"{_SHARE}(?:[ |•·,/&-]+(?:{_SHARE}|this|on|via|to|by|article|story|page|link))*",
    r"(?:please )?(?:follow|like|find) us(?:(?: on\b|:| @).{0,60})?[.! ]*",
    r"(?:click|tap) here\b.*",
    r"(?:read|see|show|load|view|learn|find out) (?:more|all|full story)\b(?: \w+){0,4}[.…»>→ ]*",
    r"continue reading\b.*|keep reading[.…»>→ ]*|(?:scroll|swipe) (?:down|up|to)\b.*",
    r"(?:subscribe|sign (?:up|in|out)|log (?:in|out)|register now|create (?:an )?account)"
    r"(?: (?:now|today|here|free|for free|or (?:register|sign up|log in)|to (?:continue|comment|our .{1,30})))*[.! ]*",
    r"(?:get|receive) (?:our|the|your) .{0,40}\bnewsletter\b.*",
    r"(?:advertisement|advertising|sponsored(?: content)?|promoted|story continues below.*|ad)[.: ]*",
    r"(?:related|recommended|popular|trending|latest|most read|more|top) "
    r"(?:articles?|stories|posts|news|content|from \w+)\s*:?",
    r"most read|you may also like|read also|(?:tags?|filed under|categor(?:y|ies)):.{0,120}",
    r"(?:leave a (?:comment|reply)|post a comment|(?:no|\d+) comments?|comments? \(?\d+\)?|comments are closed.*)",
    r"(?:©|\(c\)|copyright)[ ,:©(c)]{0,6}\d{4}.{0,120}|.{0,60}\ball rights reserved\.?",
    r"(?:home|menu|search|skip to (?:main )?content|back to top|top of page)",
    r"(?:next|previous) (?:article|page|post|story)",
    r"\d+ (?:items? in cart|likes?|shares?|views?|comments?)|\d+ (?:min|minutes?) read",
    r"(?:image|photo|picture)(?: credit| source)s?:.{0,80}",
)


class Config(PluginConfig):
    """Boilerplate lines."""

    name: str = "boilerplate"

    max_words: int = 20
    """Longer lines are text, whatever they say."""


_RULES = re.compile("|".join(f"(?:{rule})" for rule in RULES), re.IGNORECASE)
_BETWEEN_ENTRIES = re.compile("[|›»·]")
MIN_ENTRIES, MAX_ENTRY_CHARS = 4, 30
CELL_END = " | "  # as `tables: lines` of Wikipedia writes rows
_BLANKS = re.compile(r"\n{3,}")


def build(config: Config) -> Filter:
    def strip(document: Document) -> Verdict:
        text = without_boilerplate(document.text, config.max_words)
        return None if text == document.text else Replace(replace(document, text=text), "boilerplate")

    return strip


def without_boilerplate(text: str, max_words: int) -> str:
    lines = text.split("\n")
    kept: list[str] = []
    for has_cells, run in groupby(lines, lambda line: CELL_END in line):
        rows = list(run)
        is_table = has_cells and sum(map(_is_menu, rows)) > 1
        kept += [line for line in rows if not is_boilerplate(line, max_words) or (is_table and _is_menu(line))]
    return text if len(kept) == len(lines) else _BLANKS.sub("\n\n", "\n".join(kept)).strip("\n")


def is_boilerplate(line: str, max_words: int = 20) -> bool:
    if len(line) > 12 * max_words:
        return False
    line = line.strip().removeprefix("- ").strip()
    if not line or line.count(" ") >= max_words:
        return False
    return bool(_RULES.fullmatch(line)) or _is_menu(line)


def _is_menu(line: str) -> bool:
    entries = [entry.strip() for entry in _BETWEEN_ENTRIES.split(line)]
    return len(entries) >= MIN_ENTRIES and all(0 < len(entry) <= MAX_ENTRY_CHARS for entry in entries)
