"""Pages, HTTP responses and WARC records to plant things in."""

import gzip

STORY = [
    "The old weir above the town mill was opened for the first time in eleven years on Friday, after a winter in which "
    "the river had risen twice above the level that the council calls alarming.",
    "“We had no choice”, said the miller, who is 61 years old and has looked after the sluice since his father died. "
    "“If the gate had not moved, the water would have taken the bridge.”",
    "Engineers will look at the foundations in March. Until then the footpath along the east bank remains closed.",
]


def html(title: str = "Weir opened", meta: str = "") -> str:
    story = "".join(f"<p>{paragraph}</p>" for paragraph in STORY)
    return (
        f"<!DOCTYPE html><html lang='en-GB'><head>{meta}<title>{title} | The Courier</title>"
        "<meta property='article:published_time' content='2026-01-14T06:00:00Z'><script>var x = '<p>no</p>';</script>"
        "</head><body><nav><ul><li><a href='/'>Home</a></li><li><a href='/sport'>Sport</a></li></ul></nav>"
        f"<article><h1>{title}</h1>{story}</article><footer>Imprint</footer></body></html>"
    )


def http(body: bytes, status: str = "200 OK", kind: str = "text/html; charset=utf-8", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(body: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(body[at : at + 99]), body[at : at + 99]) for at in range(0, len(body), 99))


def record(block: bytes, url: str, kind: str = "response", length: int | None = None) -> bytes:
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:0>\r\nWARC-Date: 2026-01-15T00:00:00Z\r\n"
        f"WARC-Target-URI: {url}\r\nContent-Type: application/http; msgtype={kind}\r\n"
        f"Content-Length: {len(block) if length is None else length}\r\n\r\n"
    )
    return head.encode() + block + b"\r\n\r\n"


def member(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)
