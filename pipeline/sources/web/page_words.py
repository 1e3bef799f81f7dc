"""What pages say about themselves, as words: comments, other stories, newsletters, credits.

The languages are those in which they were seen: mostly German and English, some French, Spanish, Italian, Polish and
Portuguese. Of a text in another language nothing is found here; line_rules.py then goes by length and links alone.
"""

import re

NOISE_CHARS = 250  # longer lines are text, whatever they say
LABEL_CHARS = 80

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
    r"|d(?:as|ies) könnte|mehr (?:zum|zu|aus|von|über|infos|informationen|news)\b|ähnliche|verwandte"
    r"|passende (?:artikel|themen|beiträge|links|inhalte)"
    r"|weiter\w* (?:artikel|informationen|infos|themen|meldungen|news|beiträge|links|nachrichten)|lesen sie|lesetipp"
    r"|auch interessant|interessante|zum (?:weiterlesen|thema)|meist ?gelesen|die meistgelesenen|viel gelesen|beliebt"
    r"|neue?ste|aktuelle\b|top.?(?:themen|news|artikel)|empfehlung|empfohlen|kommende|archiv\b|suche\b|kategorien?\b"
    r"|schlagw|tags?\b|themen\b|teilen\b|(?:diesen )?(?:artikel|beitrag) (?:teilen|empfehlen|drucken|merken)"
    r"|folgen sie|folge uns|newsletter|über (?:den|die|uns|mich)\b|über .{0,30}artikel|zur person|autor(?:in)?\b"
    r"|author\b|kontakt\b|contact\b|explore\b|vorschau\b|impressum|quellen?\b|bildnachweis|fanden sie"
    r"|war (?:der|dieser) artikel"
    r"|à lire|lire (?:aussi|la suite)|vous (?:aimerez|pourriez)|sur le même"
    r"|articles? (?:liés|similaires|associés|récents)|partager|te puede|lee también"
    r"|(?:noticias|temas|notas|artículos) relacionad|relacionad"
    r"|más (?:leíd|noticias|sobre)|lo (?:último|más)|compartir|síguenos|zobacz|czytaj|polecane|polecamy|leia|veja"
    r"|leggi anche|potrebbe|correlati)"
)
# a word for the page, which a story may hold too
_MAY_BE_WITHIN = re.compile(
    r"(?:kategorien?|tags?|themen|newsletter|bildnachweis|quellen?|share|teilen|kontakt|archiv|suche|autor|author|über)\b"
)
_NOISE_BEGINS = re.compile(
    r"\(?(?:fotos?|photos?|bild|beitragsbild|titelbild|image|quelle|source|credits?|crédits?|©|\(c\)|copyright|autor"
    r"|author|tags?|themen|kategorien?|category|filed under|schlagworte|stand|veröffentlich|published|updated"
    r"|aktualisiert|posted|pubblicato|publié|publicado|share|teilen|tweet|drucken|print|erstellt am"
    r"|(?:der|dieser) (?:beitrag|eintrag) wurde|this entry was posted|suggested citation"
    r"|lesen sie|mehr zum thema|read (?:more|also)|see also|siehe auch"
    r"|lire aussi|czytaj|zobacz|lee también|puedes ver|leia|related:)\b"
)
_BYLINE = re.compile(r"(?:by|von|par|por)\b")
_NOISE = re.compile(
    r"\b(?:cookie|newsletter|all rights reserved|alle rechte vorbehalten|eingeloggt|angemeldet sein|anmelden|log ?in\b"
    r"|sign ?up|subscribe|abonnier|registrieren|javascript|ad ?block|netiquette|datenschutzerklärung|whatsapp|telegram"
    r"|akismet|browser|privatsphäre|pinterest|disclaimer|disclosure|advertisement|bewertungen|per e-?mail|impressum"
    r"|dieser (?:web)?(?:site|seite)|enter your email|e-?mail-?\s?adress|als pdf|mediadaten|anzeige\b|ausgabe \d"
    r"|(?:artikel|beitrag|story|article)\b.{0,25} (?:teilen|share))"
)


def is_noise(text: str) -> bool:
    """What a page says about itself, in a short line."""
    if len(text) >= NOISE_CHARS:
        return False
    text = text.lower()
    if _NOISE_BEGINS.match(text) or (len(text) < LABEL_CHARS and _BYLINE.match(text)):
        return True
    return _NOISE.search(text) is not None


def is_label(text: str) -> bool:
    """A short line that is about the page, whatever its tag."""
    return is_noise(text) or (len(text) < NOISE_CHARS and (opens_other_stories(text) or opens_comments(text)))


def opens_comments(text: str) -> bool:
    text = text.lower()
    return bool(_COMMENTS_BEGIN.match(text) or _COMMENTS.search(text))


def opens_other_stories(text: str) -> bool:
    return bool(_OTHER_STORIES_BEGIN.match(text[:LABEL_CHARS].lower()))


def may_be_within(text: str) -> bool:
    """Of what opens other stories: also seen in the middle of a story."""
    return bool(_MAY_BE_WITHIN.match(text[:LABEL_CHARS].lower()))
