"""What lies behind a URL (s3, gs, http, ...), through fsspec: opened with our options, its failures said in one line.

Options and keys come from fsspec's own configuration and environment (FSSPEC_S3_ANON=true): no secret enters a config,
and a URL with one is refused, as URLs are in ledgers, manifests and logs.

`FarFolder` is a folder there that we write to. S3 makes an object whole or not at all, and on demand only if there is
none of that name. For other protocols that is what their package makes of it: promised is S3.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pipeline.core.errors import ArtifactError, Unreachable, UserError, storage_error
from pipeline.core.files import FileEntry, checksum, checksum_of

logger = logging.getLogger(__name__)

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}  # protocol -> what of ours installs its package
BUNDLES = {"http": "SSL_CERT_FILE", "https": "SSL_CERT_FILE", "s3": "AWS_CA_BUNDLE", "s3a": "AWS_CA_BUNDLE"}
SILENCE_S = 60.0  # of a web server that counts as a broken connection
PAUSES_S = (0.2, 1.0, 3.0)  # before a folder that did not answer is asked again

Answer = TypeVar("Answer")


def is_url(name: str | Path) -> bool:
    return "://" in str(name)


def refuse_keys(url: str, asked_by: str) -> None:
    scheme, _, rest = url.partition("://")
    if "@" in rest.partition("/")[0]:
        raise UserError(f"{asked_by}: a URL holds a name or a key before its @; give it to fsspec in its environment")
    if scheme in ("http", "https") and "?" in rest:
        raise UserError(
            f"{asked_by}: {url.partition('?')[0]} goes on with a '?', and what follows may be a key; "
            "name a file without it, or match one character with [a-z]"
        )


def open_system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    import fsspec

    scheme = url.partition("://")[0]
    try:
        system, path = fsspec.core.url_to_fs(url, **_options(scheme))
    except ValueError as error:  # no such protocol
        raise UserError(f"{url}: {error}") from None
    except ImportError as error:  # its package is not installed
        remedy = f"; pip install 'penstock[{EXTRAS[scheme]}]' wherever workers run" if scheme in EXTRAS else ""
        raise UserError(f"{url}: {error} ({error.__cause__}){remedy}") from None
    system.invalidate_cache()  # it may be one that was asked before
    return system, path


def _options(scheme: str) -> dict[str, Any]:
    """What we ask of a file system where fsspec's configuration does not say otherwise."""
    from fsspec.config import apply_config

    if scheme not in ("http", "https", "s3", "s3a"):
        return {}
    from fsspec import get_filesystem_class

    said = apply_config(get_filesystem_class(scheme), {})
    if scheme in ("s3", "s3a"):
        return {"max_concurrency": 1} | said  # of more at once each holds 50 MB in memory
    import aiohttp

    patience = aiohttp.ClientTimeout(total=None, sock_connect=SILENCE_S, sock_read=SILENCE_S)  # not 5 minutes a file
    return said | {"client_kwargs": {"trust_env": True, "timeout": patience} | said.get("client_kwargs", {})}


def reason(error: Exception) -> BaseException:
    """Over HTTP whatever happens is a file not found, and S3 says it better than s3fs."""
    return error.__cause__ or error


def failure(url: str, error: Exception) -> str:
    """One line."""
    why, bundle = reason(error), BUNDLES.get(url.partition("://")[0])
    said = " ".join(f"{url}: {type(why).__name__}: {why}".split())
    return f"{said}; {bundle} names a bundle to trust" if bundle and "CERTIFICATE_VERIFY_FAILED" in said else said


class FarFolder:
    """Files behind a URL, by their names below it. Raises UserError, and Unreachable after four vain tries."""

    def __init__(self, url: str, asked_by: str) -> None:
        refuse_keys(url, asked_by)
        self.url = url.rstrip("/")
        self._system, self._path = open_system(self.url)

    def locate(self, name: str) -> str:
        return f"{self.url}/{name}" if name else self.url

    def read(self, name: str) -> bytes | None:
        """None if there is no such file."""
        return self._ask("read", name, lambda: self._unless_missing(lambda: self._system.cat_file(self._key(name))))

    def fetch(self, name: str, path: Path) -> FileEntry | None:
        """Into a local file; what came, None if there is no such file."""

        def copy() -> FileEntry:
            self._system.get_file(self._key(name), str(path))
            return checksum(path, name)

        return self._ask("read", name, lambda: self._unless_missing(copy))

    def checksum(self, name: str) -> FileEntry | None:
        """Of the bytes that are there, which are all read; None if there is no such file."""

        def read() -> FileEntry:
            self._system.invalidate_cache()
            with self._system.open(self._key(name), "rb") as file:
                return checksum_of(file, name)

        return self._ask("read", name, lambda: self._unless_missing(read))

    def create(self, path: Path, name: str) -> None:
        """Upload a local file under a name that nobody has; raises ArtifactError if one of other bytes is there.

        With the same ones it is from another attempt, or from this one and the answer was lost.
        """
        try:
            self._ask("write", name, lambda: self._system.put_file(str(path), self._key(name), mode="create"))
        except FileExistsError:
            if self.checksum(name) != checksum(path, name):
                raise ArtifactError(
                    f"{self.locate(name)} is there already, with other bytes than {path}; remove it, or write elsewhere"
                ) from None

    def replace(self, path: Path, name: str) -> None:
        """Upload a local file, whatever is there: a reader sees all of the former one or all of the new."""
        self._ask("write", name, lambda: self._system.put_file(str(path), self._key(name)))

    def sizes(self, name: str) -> dict[str, int]:
        """Files below a sub-folder, by their names in it."""
        top = f"{self._key(name)}/"

        def find() -> dict[str, int]:
            self._system.invalidate_cache()
            return {
                path.removeprefix(top): facts["size"] for path, facts in self._system.find(top, detail=True).items()
            }

        return self._ask("list", name, find)

    def names(self) -> set[str]:
        """Of files and folders in it; raises UserError if the bucket is not there, or not for us."""
        top = f"{self._path}/"

        def find() -> set[str]:
            found = self._system.find(top, maxdepth=1, withdirs=True) or self._nothing()
            return {path.removeprefix(top).rstrip("/") for path in found if path.startswith(top)} - {""}

        return self._ask("list", "", find)

    def abort_uploads(self, name: str) -> None:
        """Those below a folder that somebody began in parts: they are stored, though no listing shows them."""
        if not hasattr(self._system, "abort_mpu"):
            return
        bucket, prefix, _ = self._system.split_path(f"{self._key(name)}/")

        def abort() -> None:
            more = True
            after: dict[str, Any] = {}
            while more:  # a page is a thousand
                listed = self._system.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix, **after)
                for upload in listed.get("Uploads", []):
                    self._system.abort_mpu(bucket, upload["Key"], upload["UploadId"])
                more = listed.get("IsTruncated", False)
                after = {"KeyMarker": listed.get("NextKeyMarker"), "UploadIdMarker": listed.get("NextUploadIdMarker")}

        self._ask("list uploads of", name, abort)

    def _nothing(self) -> list[str]:
        """Raises what is wrong with the folder, of which `find` says nothing: a bucket that is not there."""
        try:
            self._system.info(self._path)
        except FileNotFoundError as error:
            if reason(error) is not error:
                raise
        return []

    def _key(self, name: str) -> str:
        return f"{self._path}/{name}" if name else self._path

    def _unless_missing(self, call: Callable[[], Answer]) -> Answer | None:
        try:
            return call()
        except FileNotFoundError:
            return None

    def _ask(self, what: str, name: str, call: Callable[[], Answer]) -> Answer:
        for pause_s in PAUSES_S:
            try:
                with self._said(what, name):
                    return call()
            except Unreachable as error:
                logger.warning("%s; again in %.1f s", error, pause_s)
                time.sleep(pause_s)
        with self._said(what, name):
            return call()

    @contextmanager
    def _said(self, what: str, name: str) -> Iterator[None]:
        try:
            yield
        except (UserError, FileExistsError):
            raise
        except Exception as error:  # each file system has its own ways to fail
            of_disk = isinstance(error, OSError) and (error.filename or not isinstance(error, PermissionError))
            if of_disk and storage_error(error):  # type: ignore[arg-type]
                raise
            message = f"cannot {what} {failure(self.locate(name), error)}"
            for_good = isinstance(error, FileNotFoundError | PermissionError) and "NoSuchUpload" not in message
            raise (UserError if for_good else Unreachable)(message) from error
