"""Bytes to text when nobody says, or wrongly says, which charset it is."""

import codecs

from resiliparse.parse.encoding import detect_encoding

BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins with the BOM of UTF-16-LE: has to come first
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
NOT_OF_TEXT = ("undefined", "unicode-escape", "raw-unicode-escape", "idna", "punycode")  # codecs, yet no charsets


def decode(raw: bytes, declared: str = "", html: bool = False) -> tuple[str, str]:
    """(text, charset): by BOM, as UTF-8, as declared (in `html` also by <meta>), as detected, else Windows-1252;
    "damaged" where some bytes are of no charset and became U+FFFD.

    UTF-8 comes before what was declared: text that is valid UTF-8 and not ASCII is UTF-8, whatever its header says.
    So is what is UTF-8 but for a few bytes: nearly any byte is valid Windows-1252, which would garble all the others.
    """
    for mark, charset in BOMS:
        if raw.startswith(mark):
            return raw[len(mark) :].decode(charset, "replace"), charset
    try:
        return raw.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        text = raw.decode("utf-8", "replace")
    if _is_utf8(text):
        return text, "damaged"
    # as for browsers, Latin-1 means Windows-1252
    for guess in (_known(declared), detect_encoding(raw, from_html_meta=html), "cp1252"):
        if guess:
            try:
                return raw.decode(guess), guess
            except (UnicodeError, LookupError):  # LookupError: a codec that is not of text, base64
                continue
    return raw.decode("cp1252", "replace"), "damaged"


def _known(charset: str) -> str:
    try:
        name = codecs.lookup(charset).name if charset else ""
    except (LookupError, ValueError):
        return ""
    if name in NOT_OF_TEXT:
        return ""
    return "cp1252" if name in ("iso8859-1", "ascii") else name


def _is_utf8(replaced: str) -> bool:
    """Whether most that is not ASCII was UTF-8. Of the Declaration of Human Rights in 388 languages and 29 old charsets
    no text comes to more than 0.84 characters for each U+FFFD."""
    num_broken = replaced.count("\ufffd")
    return len(replaced) - len(replaced.encode("ascii", "ignore")) - num_broken > 2 * num_broken
