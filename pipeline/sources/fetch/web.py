"""HTTP with manners: URLs in, responses out, as slowly and as patiently as the other side wants.

- a rate for requests and one for bytes, shared by all threads;
- what may pass (a dropped connection, silence, 408, 425, 429, 5xx) is tried again after 1, 2, 4, ... seconds, without
  jitter: one process is no herd; Retry-After holds all threads back;
- what will not pass (404, a certificate nobody vouches for) is a UserError at once;
- proxies come from the standard variables (HTTPS_PROXY, NO_PROXY, ...), certificates to trust from REQUESTS_CA_BUNDLE
  (requests does not ask for SSL_CERT_FILE); TLS is always verified.

requests does the protocol. Half of our dependencies bring it along; the standard library has neither connections that
are kept open nor proxies for TLS that work without care.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TypeVar

import requests
import urllib3

from pipeline import __version__
from pipeline.core.errors import UserError
from pipeline.sources.fetch.base import FetchConfig

logger = logging.getLogger(__name__)

PIECE_BYTES = 64 << 10  # what a killed process may lose of a body
LISTING_BYTES = 256 << 20
LONGEST_WAIT_S = 60.0
LONGEST_RETRY_AFTER_S = 600.0
MISSING = (403, 404, 410)  # object stores say 403 for what is not there
PASSING = (408, 425, 429)

T = TypeVar("T")


class Missing(UserError):
    """The server does not have it."""


class Transient(Exception):
    """An attempt failed for a reason that may pass."""


class Stopped(Exception):
    """The fetch ends; this thread is to end too."""


class Pace:
    """At most `per_second` of something on average, for all threads together."""

    def __init__(self, per_second: float | None, stop: threading.Event) -> None:
        self.per_second = per_second or math.inf
        self._stop = stop
        self._lock = threading.Lock()
        self._free_at = 0.0  # monotonic time of the next turn

    def take(self, amount: float = 1.0) -> None:
        """Returns when it is this thread's turn."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._free_at)
            self._free_at = turn + amount / self.per_second
        if self._stop.wait(turn - now):
            raise Stopped

    def hold(self, seconds: float) -> None:
        """No turn for anyone before `seconds` have passed."""
        with self._lock:
            self._free_at = max(self._free_at, time.monotonic() + seconds)


class Web:
    def __init__(self, config: FetchConfig) -> None:
        self.config = config
        self._stop = threading.Event()
        self._requests = Pace(config.requests_per_s, self._stop)
        self._bytes = Pace(config.megabytes_per_s and config.megabytes_per_s * 1e6, self._stop)
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=config.connections))
        contact = f"; {config.contact}" if config.contact else ""
        self._session.headers["User-Agent"] = f"penstock/{__version__} (corpus fetcher{contact})"
        self._session.headers["Accept-Encoding"] = "identity"  # ranges count the bytes of the file itself

    def stop(self) -> None:
        """Threads that wait or read end with `Stopped`."""
        self._stop.set()

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    @contextmanager
    def open(
        self, url: str, headers: Mapping[str, str] | None = None, method: str = "GET"
    ) -> Iterator[requests.Response]:
        """One attempt; a status of 200, 206 or 416. Raises Transient, Missing or UserError."""
        self._requests.take()
        try:
            response = self._session.request(
                method, url, headers=headers, stream=True, timeout=self.config.timeout_s, allow_redirects=True
            )
        except requests.exceptions.SSLError as error:
            raise UserError(
                f"{url}: the certificate is not trusted ({_inner(error)}); REQUESTS_CA_BUNDLE names a bundle to trust"
            ) from None
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            raise Transient(_inner(error)) from None
        except (requests.RequestException, ValueError) as error:
            raise UserError(f"{url}: {error}") from None
        with response:
            self._check(url, response)
            yield response

    def pieces(self, response: requests.Response) -> Iterator[bytes]:
        """The body as it is on the server; raises Transient when it breaks off."""
        try:
            for piece in response.raw.stream(PIECE_BYTES, decode_content=False):
                self._bytes.take(len(piece))
                yield piece
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Transient(f"the connection broke: {_inner(error)}") from None

    def read(self, url: str) -> bytes:
        """A small file, a listing, whole."""

        def attempt() -> bytes:
            with self.open(url) as response:
                body = bytearray()
                for piece in self.pieces(response):
                    body += piece
                    if len(body) > LISTING_BYTES:
                        raise UserError(f"{url}: more than {LISTING_BYTES:,} bytes; that is no listing")
                return bytes(body)

        return self.persist(attempt, url)

    def size(self, url: str) -> int | None:
        """What the server says without sending it."""

        def attempt() -> int | None:
            with self.open(url, method="HEAD") as response:
                return content_length(response)

        return self.persist(attempt, url)

    def persist(self, attempt: Callable[[], T], url: str, progress: Callable[[], int] = lambda: 0) -> T:
        """The first attempt that does not fail; one that got further than all before it starts the count anew."""
        failures, reached = 0, progress()
        while True:
            try:
                return attempt()
            except Transient as error:
                failures = 1 if progress() > reached else failures + 1
                reached = max(reached, progress())
                if failures >= self.config.tries:
                    raise UserError(f"{url}: {error}; gave up after {failures} attempts that brought nothing") from None
                logger.debug("%s: attempt %d failed: %s", url, failures, error)
            if self._stop.wait(min(LONGEST_WAIT_S, self.config.retry_wait_s * 2 ** (failures - 1))):
                raise Stopped

    def _check(self, url: str, response: requests.Response) -> None:
        status = response.status_code
        if status in (200, 206, 416):
            return
        said = f"HTTP {status} {response.reason or ''}".rstrip()
        if status in MISSING:
            raise Missing(f"{url}: {said}")
        if status not in PASSING and status < 500:
            raise UserError(f"{url}: {said}")
        wait_s = retry_after(response.headers.get("Retry-After", ""))
        if wait_s > LONGEST_RETRY_AFTER_S:
            raise UserError(f"{url}: {said}; the server asks to come back in {wait_s:,.0f} s")
        self._requests.hold(wait_s)
        raise Transient(said)


def retry_after(value: str) -> float:
    """Seconds that the header asks for, as a number or as a date; 0 if it asks for nothing."""
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0


def content_length(response: requests.Response) -> int | None:
    value = response.headers.get("Content-Length", "")
    return int(value) if value.isascii() and value.isdigit() else None


def _inner(error: BaseException) -> str:
    """The reason inside the wrappers of requests and urllib3."""
    while isinstance(error.args[0] if error.args else None, BaseException):
        error = error.args[0]
    reason = getattr(error, "reason", None)
    return _inner(reason) if isinstance(reason, BaseException) else str(error) or type(error).__name__
