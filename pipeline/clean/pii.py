"""Personal data masked: e-mail addresses, phone numbers, IP addresses, bank accounts, payment cards.

A placeholder depends on nothing but the kind of what it replaces, so equal texts stay equal and order plays no part
(datatrove's replacements come from a counter over the stream).

| edit | placeholder | what |
|------|-------------|------|
| pii  | [EMAIL]     | addresses as in RFC 5322's dot-atom form |
| pii  | [IBAN]      | ISO 13616: a listed country, its length, check digits (mod 97 = 1) |
| pii  | [CARD]      | 12 to 19 digits, first digits and a length that an issuer uses (ISO/IEC 7812), and Luhn's check |
| pii  | [IP]        | IPv4, IPv6; not private, loopback, link-local, multicast: they name no person |
| pii  | [PHONE]     | +CC or 00CC and 8 to 15 digits (E.164); (AAA) BBB-CCCC in its usual spellings; 0AA and groups |
| pii  | [PHONE]     | any 7 to 15 digits beside a word like "phone" or "fax" |

How it is fast: most text holds no "@" and no run of digits that could be any of these; a kernel over the UTF-8 bytes
finds the few places that might, and expressions look there only. All of it is linear in the text.

Source: the kinds are those of Dolma's `pii` tagger, datatrove's `PIIFormatter` and Presidio's recognisers; lengths are
those of the IBAN registry (SWIFT) and of the issuers' ranges.
"""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from pipeline.clean.verdict import Filter, Replace, Verdict
from pipeline.core.kernels import kernel
from pipeline.core.plugins import PluginConfig
from pipeline.core.schema import Document

Place = tuple[int, int]  # byte range, end not included


class Config(PluginConfig):
    """Masking of personal data."""

    name: str = "pii"
    email: bool = True
    """Mask e-mail addresses."""
    iban: bool = True
    """Mask international bank account numbers."""
    card: bool = True
    """Mask payment card numbers."""
    ip: bool = True
    """Mask public IPv4 and IPv6 addresses."""
    phone: bool = True
    """Mask phone numbers."""


def build(config: Config) -> Filter:
    def strip(document: Document) -> Verdict:
        text = mask(document.text, config)
        return None if text == document.text else Replace(replace(document, text=text), "pii")

    return strip


def mask(text: str, config: Config) -> str:
    data = bytearray(text.encode())
    numbers, addresses = number_places(data)
    if not numbers and not addresses and "@" not in text:
        return text
    found: list[tuple[Place, bytes]] = []
    # in this order: what a kind has found is blanked for the next, so a card is no phone number
    for wanted, search, placeholder in (
        (config.email, emails, b"[EMAIL]"),
        (config.iban, partial(ibans, places=numbers), b"[IBAN]"),
        (config.card, partial(cards, places=numbers), b"[CARD]"),
        (config.ip, partial(ips, places=addresses), b"[IP]"),
        (config.phone, partial(phones, places=numbers), b"[PHONE]"),
    ):
        for start, end in search(data) if wanted else ():
            found.append(((start, end), placeholder))
            data[start:end] = bytes(end - start)
    return _replaced(text.encode(), sorted(found)).decode() if found else text


def _replaced(data: bytes, found: list[tuple[Place, bytes]]) -> bytes:
    parts, at = [], 0
    for (start, end), placeholder in found:
        parts += [data[at:start], placeholder]
        at = end
    return b"".join([*parts, data[at:]])


# ---- e-mail ------------------------------------------------------------------------------------------------------

_LOCAL_PART = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._%+'-]{0,63}\Z")
_DOMAIN = re.compile(rb"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}(?![\w-])")


def emails(data: bytearray) -> Iterator[Place]:
    """From every "@" backwards and forwards, so that a text without one costs nothing."""
    at = end = -1
    while (at := data.find(b"@", at + 1)) >= 0:
        domain = _DOMAIN.match(data, at + 1)
        first = max(at - 64, end, 0)
        if domain and (local := _LOCAL_PART.search(data[first:at])):
            end = domain.end()
            yield first + local.start(), end


# ---- numbers -----------------------------------------------------------------------------------------------------

GAP, BEFORE, AFTER = 3, 24, 36  # bytes: between digits of one number; looked at around them (the longest IBAN is 34)
MIN_DIGITS, MIN_DOTS, MIN_COLONS = 7, 3, 2
NUMBER, ADDRESS = 1, 2


def number_places(data: bytearray) -> tuple[list[list[int]], list[list[int]]]:
    """Around digits that may be a phone or account number, and around those that may be an IP address."""
    places = _digit_places(np.frombuffer(data, dtype=np.uint8)).tolist()
    numbers, addresses = ([place[:2] for place in places if place[2] & kind] for kind in (NUMBER, ADDRESS))
    return numbers, addresses


@kernel
def _digit_places(data):  # type: ignore[no-untyped-def]
    """uint8 [n] -> int64 [k, 3]: first byte, end and what may be there; apart and in order."""
    places = np.empty((len(data) // MIN_DIGITS + 1, 3), dtype=np.int64)
    count = at = 0
    while at < len(data):
        if not 48 <= data[at] <= 57:
            at += 1
            continue
        start = last = at
        digits, dots, colons = 1, 0, 0
        while at - last <= GAP and at + 1 < len(data):
            at += 1
            if 48 <= data[at] <= 57:
                digits += 1
                last = at
            dots += data[at] == 46
            colons += data[at] == 58
        at += 1
        kind = NUMBER * (digits >= MIN_DIGITS) + ADDRESS * (dots >= MIN_DOTS or colons >= MIN_COLONS)
        if kind:
            first, end = max(0, start - BEFORE), min(len(data), last + AFTER)
            if count and first <= places[count - 1, 1]:
                places[count - 1, 1] = end
                places[count - 1, 2] |= kind
            else:
                places[count] = first, end, kind
                count += 1
    return places[:count]


IBAN_CHARS = {
    country.encode(): length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FK FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK", 21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
        29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip
_IBAN = re.compile(rb"(?<![A-Za-z0-9])(?=([A-Za-z]{2}\d\d(?: ?[A-Za-z0-9]){11,29}))")


def ibans(data: bytearray, places: list[list[int]]) -> Iterator[Place]:
    for found in _matches(_IBAN, data, places):
        wanted = IBAN_CHARS.get(bytes(found[1][:2]).upper(), 0)
        compact = found[1].replace(b" ", b"")[:wanted]
        if not wanted or len(compact) < wanted:
            continue
        end = found.start() + _span(found[1], wanted)
        whole = not data[end : end + 1].isalnum()
        if whole and int("".join(str(int(chr(byte), 36)) for byte in compact[4:] + compact[:4])) % 97 == 1:
            yield found.start(), end


def _span(spaced: bytes, wanted: int) -> int:
    """How many bytes hold the first `wanted` that are no space."""
    seats = [at for at, byte in enumerate(spaced) if byte != 32]
    return seats[wanted - 1] + 1


_CARD = re.compile(
    rb"(?<![\w.+-])(?:\d{12,19}|\d{4}(?P<mark>[ -])\d{4}(?P=mark)\d{4}(?P=mark)\d{4}(?:(?P=mark)\d{3})?"
    rb"|\d{4}(?P<mark2>[ -])\d{6}(?P=mark2)\d{4,5})(?![\w-]|\.\d)"
)
_ISSUERS = re.compile(
    rb"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    rb"|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"  # Mastercard
    rb"|3[47]\d{13}|3(?:0[0-5]|[68]\d|9\d)\d{11}"  # American Express, Diners Club
    rb"|(?:6011|65\d\d|64[4-9]\d|62\d\d)\d{12,15}"  # Discover, UnionPay
    rb"|35\d{14}|(?:2131|1800)\d{11}"  # JCB
    rb"|(?:0604|50\d\d|5[6-8]\d\d|6\d{3})\d{8,15}"  # Maestro
)


def cards(data: bytearray, places: list[list[int]]) -> Iterator[Place]:
    for found in _matches(_CARD, data, places):
        digits = found[0].translate(None, b" -")
        if _ISSUERS.fullmatch(digits) and luhn(digits):
            yield found.span()


def luhn(digits: bytes) -> bool:
    """ISO/IEC 7812-1, annex B."""
    values = [byte - 48 for byte in reversed(digits)]
    return (sum(values[::2]) + sum(2 * value - 9 * (value > 4) for value in values[1::2])) % 10 == 0


_OCTET = rb"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = re.compile(rb"(?<![\w.])(?:%b\.){3}%b(?!\w|\.\d)" % (_OCTET, _OCTET))
_LOCAL_IPV4 = re.compile(rb"(?:0|10|127|22[4-9]|23\d|24\d|25[0-5])\.|192\.168\.|169\.254\.|172\.(?:1[6-9]|2\d|3[01])\.")
_IPV6 = re.compile(rb"(?<![\w:.])[0-9A-Fa-f]{1,4}(?::{1,2}[0-9A-Fa-f]{1,4}){2,7}+(?:::)?(?![\w:])")
_LOCAL_IPV6 = re.compile(rb"f[cdef]|0{0,4}:", re.IGNORECASE)


def ips(data: bytearray, places: list[list[int]]) -> Iterator[Place]:
    yield from (found.span() for found in _matches(_IPV4, data, places) if not _LOCAL_IPV4.match(found[0]))
    for found in _matches(_IPV6, data, places):
        if not _LOCAL_IPV6.match(found[0]) and _is_ipv6(found[0].decode()):
            yield found.span()


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


_MARK = rb"(?:[ ./-]|\xe2\x80\x91)"
_EXTENSION = rb"(?: ?(?:x|ext\.?) ?\d{1,5}+)?+(?!\w|[.-]\d)"
_NOT_AFTER = rb"(?<![\w.+/-])"
_PHONE = re.compile(
    _NOT_AFTER
    + rb"(?:(?:\+|00(?=\d{1,3}%b))\d++(?: ?\(\d{1,5}\) ?\d++)?+(?:%b\d{2,}+){0,5}+" % (_MARK, _MARK)
    + rb"|(?:1[ .-])?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}"
    + rb"|\(?0\d{1,4}\)?(?P<mark>[ .-])\d{2,8}+(?:(?P=mark)\d{2,4}+){0,4}+)"
    + _EXTENSION
)
_ANY_PHONE = re.compile(_NOT_AFTER + rb"\(?\d++\)?(?:%b?\(?\d{2,}+\)?){0,4}+" % _MARK + _EXTENSION)
_CUE_BEFORE = re.compile(
    rb"\b(?:(?:tele)?phone|tel|mobile|cell|fax|desk|call(?: \w+)?|dial|whatsapp|sms|answering|reached)"
    rb"(?: number| no)?[.:]?\s{0,3}(?:(?:at|on|is)\s)?\Z",
    re.IGNORECASE,
)
_CUE_AFTER = re.compile(rb"[ -](?:fax|mobile|cell|phone|landline|office)\b", re.IGNORECASE)
_OTHER = re.compile(rb"(?:1\d|20)\d\d[ ./-](?:1\d|20)\d\d|\d{3}-\d\d-\d{4}")  # years; a social security number


def phones(data: bytearray, places: list[list[int]]) -> Iterator[Place]:
    for found in _matches(_ANY_PHONE, data, places):
        if 7 <= num_digits(found[0]) <= 15 and not _OTHER.fullmatch(found[0]):
            start, end = found.span()
            if _CUE_AFTER.match(data, end) or _CUE_BEFORE.search(data[max(0, start - 30) : start]):
                yield start, end
    for found in _matches(_PHONE, data, places):
        least = 8 if not found["mark"] else 9 if found[0].count(found["mark"]) > 1 else 10
        if least <= num_digits(found[0]) <= 15 and not _OTHER.fullmatch(found[0]):
            yield found.span()


def num_digits(number: bytes) -> int:
    return len(number.translate(None, _NO_DIGITS))


_NO_DIGITS = bytes(byte for byte in range(256) if not 48 <= byte <= 57)


def _matches(pattern: re.Pattern[bytes], data: bytearray, places: list[list[int]]) -> Iterator[re.Match[bytes]]:
    """One after the other: whoever asked may blank what was found before it asks for the next."""
    for start, end in places:
        yield from pattern.finditer(data, start, end)
