"""One form for the URLs of one page, so that its captures meet.

RFC 3986 section 6.2.2 (case, percent-encoding, dot segments) and 6.2.3 (port, empty path), and of what sites do:
session and tracking parameters say nothing about the page, nor does a fragment, unless it is a route ("#!/story/1").
"""

import re
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes, urlsplit, urlunsplit

_TRACKING = re.compile(
    r"utm_\w+|fbclid|gclid|gbraid|wbraid|dclid|msclkid|yclid|twclid|igshid|igsh|mc_[ce]id|mkt_tok|ncid|cmpid|ocid|ref_src"
    r"|ref_url|_ga|_gl|at_(?:medium|campaign|custom\d)|s_cid|wt_mc|xtor|__twitter_impression"
    r"|phpsessid|jsessionid",
    re.IGNORECASE,
)
# what numbers a story or an event is short: "?file=article&sid=123"
_SESSION = re.compile(r"(?:sid|sessionid|session_id)=[\w,.-]{16,}", re.IGNORECASE)
_SESSION_IN_PATH = re.compile(r";jsessionid=[^/?#]*", re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}
_KEPT = "-._~"  # unreserved, beside letters and digits: never encoded
_PATH, _QUERY = "/:@!$&'()*+,;=", "/:@!$'()*+,;=?"
MAX_CHARS = 1 << 16  # of the URL of a page: the cache would hold many


@lru_cache(maxsize=64)  # a record asks for its own three times
def canonical_url(url: str) -> str:
    """The canonical form, which is its own canonical form; "" for what is not an http(s) URL."""
    try:
        parts = urlsplit(url.strip())
        host, port = (parts.hostname or "").rstrip("."), parts.port
        host = host if ":" in host else host.encode("idna").decode() if not host.isascii() else host
    except (ValueError, UnicodeError):
        return ""
    scheme = parts.scheme.lower()
    if scheme not in _PORTS or not host or re.search(r"[\s<>\"@]", host):
        return ""
    host = f"[{host}]" if ":" in host else host
    netloc = host if port in (None, _PORTS[scheme]) else f"{host}:{port}"
    path = _without_dots(_encode(_SESSION_IN_PATH.sub("", parts.path) or "/", _PATH))
    fragment = _encode(parts.fragment, _PATH + "?") if parts.fragment.startswith("!") else ""
    return urlunsplit((scheme, netloc, path, _without_tracking(parts.query), fragment))


def page_key(url: str) -> str:
    """What captures of one page share: the canonical URL without scheme, "www." and closing slash; "" for no URL."""
    if len(url) > MAX_CHARS:
        return ""
    _, _, rest = canonical_url(url).partition("://")
    return rest.removeprefix("www.").rstrip("/")


def _without_tracking(query: str) -> str:
    return "&".join(
        _encode(pair, _QUERY)
        for pair in query.split("&")
        if pair and not _TRACKING.fullmatch(pair.partition("=")[0]) and not _SESSION.fullmatch(pair)
    )


def _encode(text: str, safe: str) -> str:
    """Percent-encoded where it has to be, in capitals, and nowhere else: "%7ea%2f b" is "~a%2F%20b"."""
    parts = re.split(r"((?:%[0-9A-Fa-f]{2})+)", text)
    for number, part in enumerate(parts):
        if number % 2:
            parts[number] = "".join(
                chr(byte) if chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in _KEPT) else f"%{byte:02X}"
                for byte in unquote_to_bytes(part)
            )
        else:
            parts[number] = quote(part, safe=safe + _KEPT, errors="surrogatepass")
    return "".join(parts)


def _without_dots(path: str) -> str:
    """RFC 3986 section 5.2.4."""
    segments: list[str] = []
    for segment in path.split("/")[1:]:
        if segment == "..":
            del segments[-1:]
        elif segment != ".":
            segments.append(segment)
    if path.endswith(("/.", "/..")):
        segments.append("")
    return "/" + "/".join(segments)
