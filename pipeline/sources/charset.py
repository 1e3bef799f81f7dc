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
    """(text, charset): by BOM, as UTF-8, as declared (in `html` also by <meta>), as detected, else Windows-1252.

    UTF-8 comes before what was declared: text that is valid UTF-8 and not ASCII is UTF-8, whatever its header says.
    """
    for mark, charset in BOMS:
        if raw.startswith(mark):
            return raw[len(mark) :].decode(charset, "replace"), charset
    try:
        return raw.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        pass
    # as for browsers, Latin-1 means Windows-1252
    for guess in (_known(declared), detect_encoding(raw, from_html_meta=html), "cp1252"):
        if guess:
            try:
                return raw.decode(guess), guess
            except (UnicodeError, LookupError):  # LookupError: a codec that is not of text, base64
                continue
    return raw.decode("utf-8" if _mostly_utf8(raw) else "cp1252", "replace"), "damaged"


def _known(charset: str) -> str:
    try:
        name = codecs.lookup(charset).name if charset else ""
    except (LookupError, ValueError):
        return ""
    if name in NOT_OF_TEXT:
        return ""
    return "cp1252" if name in ("iso8859-1", "ascii") else name


def _mostly_utf8(raw: bytes) -> bool:
    return raw[:100_000].decode("utf-8", "replace").count("\ufffd") < 0.001 * len(raw[:100_000])
