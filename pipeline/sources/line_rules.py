"""Which lines of a page are its text: rules over lines, their tags and the share of them that is link.

In: resiliparse's minimal HTML (`<p>`, `<h1>` to `<h6>`, `<li>`, `<pre>`, `<br>`, `<a>`; one block a line). Out: lines.

1. prose     a line is prose when it is long, or ends as a sentence does, and is not mostly link
2. end       a heading that opens comments or a list of other stories, after enough prose, ends the page
3. clusters  prose with little between it is one cluster; the largest is the story, others of some size belong to it
4. body      a cluster grows over paragraphs and list items around it; short lines count between two lines that are kept
5. headings  a heading is kept when a line that follows it is

jusText (Pomikalek 2011) judges blocks by their neighbours in much the same way, with word lists for each language; the
lists here name what pages say about themselves (comments, related stories, newsletters, credits) in the languages in
which they were seen. Bounds were chosen on the last 425 pages of trafilatura's gold set.
"""

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

PROSE_CHARS = 100
SENTENCE_CHARS = 30  # a line that ends as a sentence does
BARE_CHARS = 50  # the same, of a line that is in no block of its own
CJK_WEIGHT = 2  # a character of these scripts says as much as three letters
MAX_LINK_SHARE = 0.6
NOISE_CHARS = 250  # longer lines are text, whatever they say
LABEL_CHARS = 80
MIN_STORY_CHARS = 300  # before comments can begin
MIN_STORY_SHARE = 0.5  # of all prose, before other stories can begin
CLUSTER_GAP = 10  # lines of something else
CLUSTER_SHARE = 0.15  # of the largest cluster
REACH = 4  # lines from a short line to kept lines

_TAG = re.compile(r"<[^>]*>")
_LINK = re.compile(r"<a\b[^>]*>(.*?)(?:</a>|$)")
_OPENING = re.compile(r"\s*<(h[1-6]|p|li|pre)\b")
_CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_SENTENCE_END = re.compile(r"[.!?…:;。！？؟।][\"'”“’»)\]]*$")

# over lower-case text: without IGNORECASE a search skips to where a word of the list may begin, ten times as fast
_COMMENTS_BEGIN = re.compile(
    r"(?:(?:\d+|keine|no) )?(?:comments?|kommentare?|reacties|commentaires?|comentarios?|komentarz[ey]?|commenti"
    r"|antworten|responses?|replies|reaktionen|leserkommentare|diskussion|discussion)\b(?! (?:by|von) )"
)
_COMMENTS = re.compile(
    r"comments? (?:by|rss|are closed)|(?:leave|post|write|add|submit) (?:a |your )?(?:comment|reply)"
    r"|kommentar (?:verfassen|schreiben|hinterlassen|abgeben)|(?:schreib|hinterlass|verfass)\w*\b.{0,20}\bkommentar"
    r"|kommentieren|kommentarfunktion|laisser un commentaire|deja (?:un comentario|una respuesta|tu comentario)"
    r"|lascia un commento|dodaj komentarz|trackback|(?:ihre|deine) e-mail-adresse wird nicht"
    r"|your email address will not|gib (?:hier )?deine e-mail|trage deine daten"
)
_OTHER_STORIES_BEGIN = re.compile(
    r"(?:related\b|read (?:also|more|next)|more (?:from|on|in|stories|news|about)|also (?:on|in|read)"
    r"|you (?:may|might)|recommended|don'?t miss|most (?:read|popular)|trending|latest|popular|previous|next\b|see also"
    r"|share\b|follow|about (?:the )?(?:author|us)|sign up|subscribe"
    r"|d(?:as|ies) könnte|mehr (?:zum|zu|aus|von|über|infos|informationen|news)\b|ähnliche|verwandte|passend"
    r"|weiter\w* (?:artikel|informationen|infos|themen|meldungen|news|beiträge|links|nachrichten)|lesen sie|lesetipp"
    r"|auch interessant|interessante|zum (?:weiterlesen|thema)|meist ?gelesen|die meistgelesenen|viel gelesen|beliebt"
    r"|neue?ste|aktuelle\b|top.?(?:themen|news|artikel)|empfehlung|empfohlen|kommende|archiv\b|suche\b|kategorien?\b"
    r"|schlagw|tags?\b|themen\b|teilen\b|(?:diesen )?(?:artikel|beitrag) (?:teilen|empfehlen|drucken|merken)"
    r"|folgen sie|folge uns|newsletter|über (?:den|die|uns|mich)\b|über .{0,30}artikel|zur person|autor(?:in)?\b"
    r"|author\b|kontakt\b|impressum|quellen?\b|bildnachweis|war (?:der|dieser) artikel|fanden sie"
    r"|à lire|lire (?:aussi|la suite)|vous (?:aimerez|pourriez)|sur le même"
    r"|articles? (?:liés|similaires|associés|récents)|partager|te puede|lee también"
    r"|(?:noticias|temas|notas|artículos) relacionad|relacionad"
    r"|más (?:leíd|noticias|sobre)|lo (?:último|más)|compartir|síguenos|zobacz|czytaj|polecane|polecamy|leia|veja"
    r"|leggi anche|potrebbe|correlati)"
)
_NOISE_BEGINS = re.compile(
    r"(?:by|von|par|por|foto|photo|bild|image|quelle|source|credit|©|\(c\)|copyright|autor|author|tags?|themen"
    r"|kategorien?|category|filed under|schlagworte|stand|veröffentlich|published|updated|aktualisiert|posted"
    r"|pubblicato|publié|publicado|share|teilen|tweet|drucken|print|erstellt am"
    r"|(?:der|dieser) (?:beitrag|eintrag) wurde|this entry was posted|suggested citation"
    r"|lesen sie|mehr zum thema|read (?:more|also)|see also|siehe auch"
    r"|lire aussi|czytaj|zobacz|lee también|puedes ver|leia|related:)\b"
)
_NOISE = re.compile(
    r"cookies?\b|newsletter|e-?mail-?\s?(?:address|adresse)|all rights reserved|alle rechte vorbehalten|eingeloggt"
    r"|angemeldet sein|anmelden\b|log ?in\b|sign ?up|subscribe|abonnier|registrieren|javascript|ad ?block|netiquette"
    r"|datenschutzerklärung|whatsapp|telegram"
)


@dataclass(frozen=True)
class Line:
    """One block of the page, or one line of it."""

    tag: str  # p, h1 to h6, li, pre; br: a line of a larger block; "": in no block of its own
    text: str
    link_share: float  # characters of links, of all

    @property
    def is_heading(self) -> bool:
        return self.tag.startswith("h")

    @cached_property
    def is_prose(self) -> bool:
        if self.link_share >= MAX_LINK_SHARE or self.is_heading:
            return False
        text = self.text
        size = len(text) + (0 if text.isascii() else CJK_WEIGHT * len(_CJK.findall(text)))
        if size < PROSE_CHARS:
            enough = SENTENCE_CHARS if self.tag else BARE_CHARS
            if size < enough or not _SENTENCE_END.search(text, max(0, len(text) - 10)):
                return False
        return not self.is_noise

    @cached_property
    def is_noise(self) -> bool:
        return is_noise(self.text)

    @cached_property
    def is_plain(self) -> bool:
        """Neither a link, nor a heading, nor about the page."""
        if self.link_share >= MAX_LINK_SHARE or self.is_heading:
            return False
        return not self.is_noise and not opens_other_stories(self.text)

    @property
    def is_body(self) -> bool:
        """Belongs to the prose around it."""
        return self.tag in ("p", "li", "br", "pre") and self.is_plain


def is_noise(text: str) -> bool:
    """What a page says about itself, in a short line."""
    if len(text) >= NOISE_CHARS:
        return False
    text = text.lower()
    return bool(_NOISE_BEGINS.match(text) or _NOISE.search(text))


def is_label(text: str) -> bool:
    """A short line that is about the page, whatever its tag."""
    return is_noise(text) or (len(text) < NOISE_CHARS and (opens_other_stories(text) or opens_comments(text)))


def opens_comments(text: str) -> bool:
    text = text.lower()
    return bool(_COMMENTS_BEGIN.match(text) or _COMMENTS.search(text))


def opens_other_stories(text: str) -> bool:
    return bool(_OTHER_STORIES_BEGIN.match(text[:LABEL_CHARS].lower()))


def parse_lines(minimal_html: str) -> list[Line]:
    return list(_parse(minimal_html))


def _parse(minimal_html: str) -> Iterator[Line]:
    in_pre = False
    for raw in minimal_html.split("\n"):
        if not raw or raw.isspace():
            continue
        opening = _OPENING.match(raw)
        tag = opening[1] if opening else "br" if "<br>" in raw else ""
        in_pre |= tag == "pre"
        bare = _TAG.sub("", raw.replace("<br>", " ")) if "<" in raw else raw
        bare = html.unescape(bare) if "&" in bare else bare
        text = bare.rstrip() if in_pre else " ".join(bare.split())
        if text:
            linked = sum(len(_TAG.sub("", link).strip()) for link in _LINK.findall(raw)) if "<a" in raw else 0
            yield Line("pre" if in_pre else tag, text, linked / len(text))
        in_pre &= "</pre" not in raw


def prose_chars(lines: Sequence[Line]) -> int:
    return sum(len(line.text) for line in lines if line.is_prose)


def choose(lines: Sequence[Line]) -> list[Line]:
    """The lines that are the page's text, in order."""
    prose = [line.is_prose for line in lines]
    lines = lines[: _end_of_story(lines, prose)]
    keep = [False] * len(lines)
    body = [line.is_body for line in lines]
    if not any(prose):  # a stub: whether it is too short is not for its source to say
        return [line for line in lines if line.is_body]
    for first, last in _clusters(lines, prose):
        first, last = _grow(lines, body, first, -1), _grow(lines, body, last, 1)
        for number in range(first, last + 1):
            keep[number] = prose[number] or body[number]
        for number in range(first, last + 1):
            if not keep[number] and lines[number].is_plain:
                before, after = keep[max(0, number - REACH) : number], keep[number + 1 : number + 1 + REACH]
                keep[number] = any(before) and any(after)
    for number in reversed(range(len(lines))):
        if lines[number].is_heading:
            keep[number] = any(keep[number + 1 : number + 3]) and _is_title(lines[number])
    return [line for line, kept in zip(lines, keep, strict=True) if kept]


def _end_of_story(lines: Sequence[Line], prose: Sequence[bool]) -> int:
    """The line at which comments or other stories begin."""
    sizes = [len(line.text) * is_prose for line, is_prose in zip(lines, prose, strict=True)]
    total, seen = sum(sizes), 0
    for number, line in enumerate(lines):
        if number and not prose[number] and len(line.text) < LABEL_CHARS:
            if seen >= MIN_STORY_CHARS and opens_comments(line.text):
                return number
            label = line.is_heading or len(line.text) < LABEL_CHARS - 30
            if label and seen >= MIN_STORY_SHARE * total and opens_other_stories(line.text):
                return number
        seen += sizes[number]
    return len(lines)


def _clusters(lines: Sequence[Line], prose: Sequence[bool]) -> list[tuple[int, int]]:
    """First and last line of the clusters that are part of the story."""
    clusters: list[list[int]] = []
    gap = 0
    for number, line in enumerate(lines):
        if not prose[number]:
            gap += line.tag == "" or line.is_heading or line.link_share >= MAX_LINK_SHARE
            continue
        if not clusters or gap > CLUSTER_GAP:
            clusters.append([])
        clusters[-1].append(number)
        gap = 0
    sizes = [sum(len(lines[number].text) for number in cluster) for cluster in clusters]
    least = CLUSTER_SHARE * max(sizes, default=0)
    return [(cluster[0], cluster[-1]) for cluster, size in zip(clusters, sizes, strict=True) if size >= least]


def _grow(lines: Sequence[Line], body: Sequence[bool], start: int, step: int) -> int:
    """The last line of the body in this direction; headings do not end it."""
    reached, number = start, start + step
    while 0 <= number < len(lines) and (body[number] or (lines[number].is_heading and _is_title(lines[number]))):
        if body[number]:
            reached = number
        number += step
    return reached


def _is_title(heading: Line) -> bool:
    text = heading.text[:NOISE_CHARS]
    return heading.link_share < MAX_LINK_SHARE and not (opens_other_stories(text) or opens_comments(text))
