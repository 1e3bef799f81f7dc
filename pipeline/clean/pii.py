"""Personal data masked: e-mail addresses, phone numbers, public IPv4 addresses.

A placeholder depends on nothing but the kind of what it replaces, so equal texts stay equal and order plays no part
(datatrove's replacements come from a counter over the stream).

| edit | placeholder | what |
|------|-------------|------|
| pii  | [EMAIL]     | addresses as in RFC 5322's dot-atom form |
| pii  | [PHONE]     | +CC and 8 to 15 digits, or (AAA) BBB-CCCC and its usual spellings |
| pii  | [IP]        | four octets; not private, loopback, link-local, multicast: they name no person |

Source: the kinds and the e-mail expression are those of Dolma's `pii` tagger and datatrove's `PIIFormatter`.
"""

import re
from dataclasses import replace

from pipeline.clean.verdict import Filter, Replace, Verdict
from pipeline.core.plugins import PluginConfig
from pipeline.core.schema import Document

EMAIL, PHONE, IP = "[EMAIL]", "[PHONE]", "[IP]"

_EMAIL = re.compile(
    r"(?<![\w.+-])[A-Za-z0-9][A-Za-z0-9._%+'-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}\b"
)
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IP = re.compile(rf"(?<![\w.])(?:{_OCTET}\.){{3}}{_OCTET}(?!\w|\.\d)")
_LOCAL = re.compile(r"(?:0|10|127|22[4-9]|23\d|24\d|25[0-5])\.|192\.168\.|169\.254\.|172\.(?:1[6-9]|2\d|3[01])\.")
_PHONE = re.compile(
    r"(?<![\w.+(/-])(?:"
    r"\+\d{1,3}[ .\u2011-]?(?:\(\d{1,5}\)[ .\u2011-]?)?\d{1,5}(?:[ .\u2011-]?\d{2,5}){1,4}"
    r"|(?:1[ .-])?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}"
    r")(?![\w-]|\.\d)"
)


class Config(PluginConfig):
    """Masking of personal data."""

    name: str = "pii"
    email: bool = True
    phone: bool = True
    ip: bool = True


def build(config: Config) -> Filter:
    def strip(document: Document) -> Verdict:
        text = mask(document.text, config)
        return None if text == document.text else Replace(replace(document, text=text), "pii")

    return strip


def mask(text: str, config: Config) -> str:
    if config.email and "@" in text:
        text = _EMAIL.sub(EMAIL, text)
    if config.ip:
        text = _IP.sub(lambda found: found[0] if _LOCAL.match(found[0]) else IP, text)
    if config.phone:
        text = _PHONE.sub(lambda found: PHONE if 8 <= sum(map(str.isdigit, found[0])) <= 15 else found[0], text)
    return text
