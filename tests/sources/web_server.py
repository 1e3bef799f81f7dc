"""A web server on loopback that behaves as badly as it is told, and a proxy; both write down what they were asked."""

import hashlib
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Trick:
    """How one request is answered; the default is as it should be."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    drop_after: int | None = None  # bytes of the body before the connection is cut
    pause_after: int | None = None  # bytes of the body before the server waits for `Server.gate`
    pause_before: bool = False  # the server waits for it before it says anything
    ignore_range: bool = False
    ignore_if_range: bool = False
    longest_range: int | None = None  # bytes of a range that are sent at most
    wrong_bytes: bool = False
    extra_length: int = 0  # Content-Length says so many bytes too many
    no_length: bool = False  # the body ends where the connection does
    surplus: bytes = b""  # sent after the body, and in no Content-Length


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    status: int
    num_sent: int
    time: float


class Server:
    """`files`: path -> body. `tricks`: path -> how its next requests are answered, one each."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.tricks: dict[str, list[Trick]] = {}
        self.log: list[Asked] = []
        self.gate = threading.Event()
        self.num_waiting = 0  # requests that have come to a pause
        self.url = ""

    def of(self, path: str) -> list[Asked]:
        return [asked for asked in self.log if asked.path == path]

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        queue = self.tricks.get(request.path, [])
        trick = queue.pop(0) if queue else Trick()
        body = self.files.get(request.path)
        if trick.pause_before:
            self._pause()
        status, start, end, headers = trick.status, 0, len(body or b""), dict(trick.headers)
        if status != 200 or body is None:
            status = 404 if status == 200 else status
        else:
            etag = f'"{hashlib.md5(body).hexdigest()}"'
            headers = {"ETag": etag, "Last-Modified": formatdate(1_700_000_000, usegmt=True)} | headers
            asked = request.headers.get("Range", "")
            same = request.headers.get("If-Range", etag) == etag or trick.ignore_if_range
            if asked and same and not trick.ignore_range:
                start = int(asked.removeprefix("bytes=").rstrip("-"))
                status = 206 if start < len(body) else 416
                end = min(end, start + (trick.longest_range or end))
                span = f"{start}-{end - 1}" if status == 206 else "*"
                headers["Content-Range"] = f"bytes {span}/{len(body)}"
        sent = bytearray(body[start:end] if status in (200, 206) else b"no")
        if trick.wrong_bytes:
            sent[len(sent) // 2] ^= 1
        headers["Content-Length"] = "" if trick.no_length else str(len(sent) + trick.extra_length)
        end = next((at for at in (trick.drop_after, trick.pause_after) if at is not None), len(sent))
        num_sent = 0 if request.command == "HEAD" else min(end, len(sent))
        asked_for = Asked(request.command, request.path, dict(request.headers), status, num_sent, time.monotonic())
        if trick.pause_after is None:
            self.log.append(asked_for)  # before whoever asked has the answer
        request.send_response(status)
        for name, value in headers.items():
            if value:
                request.send_header(name, value)
        request.end_headers()
        if request.command != "HEAD":
            self._send(request, bytes(sent[:end]), trick)
        if trick.pause_after is not None:
            self.log.append(asked_for)

    def _send(self, request: BaseHTTPRequestHandler, body: bytes, trick: Trick) -> None:
        try:
            request.wfile.write(body + trick.surplus)
        except (BrokenPipeError, ConnectionResetError):  # who reads has had enough
            request.close_connection = True
        if trick.pause_after is not None:
            self._pause()
        if (trick.pause_after, trick.drop_after) != (None, None) or trick.extra_length or trick.no_length:
            request.close_connection = True

    def _pause(self) -> None:
        self.num_waiting += 1
        self.gate.wait(30)


@contextmanager
def serving(answer: Any, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """The base URL of a server on loopback that gives every request to `answer`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer(self)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def web_server(tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server()
    with serving(server.answer, tls) as server.url:
        yield server
        server.gate.set()


def self_signed(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for loopback that nobody vouches for, and what a server needs to show it."""
    from cryptography import x509  # here, so that other tests run without it
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    unlocked = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path, key_path = folder / "certificate.pem", folder / "key.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(unlocked)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(path, key_path)
    return path, tls


@contextmanager
def proxy(upstream: str, asked: list[str]) -> Iterator[str]:
    """An HTTP proxy that sends every request, whatever its host, to `upstream`."""

    def forward(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        connection = HTTPConnection(upstream.removeprefix("http://"))
        connection.request(request.command, "/" + request.path.split("/", 3)[3])
        reply = connection.getresponse()
        body = reply.read()
        request.send_response(reply.status)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    with serving(forward) as url:
        yield url
