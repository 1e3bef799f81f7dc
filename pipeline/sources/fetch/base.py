"""What a fetcher is: a plugin that knows which files make up a corpus, and what their bytes must be.

    pipeline/sources/fetch/NAME.py holds
        class Config(FetchConfig)                        what `--set` may say
        def listing(config, web) -> list[RemoteFile]     the files, with sizes and sums where they are published

A listing comes from strangers: a name that leads out of the folder is refused.
"""

from dataclasses import dataclass

from pydantic import ConfigDict, Field

from pipeline.core.errors import UserError
from pipeline.core.manifest import MANIFEST
from pipeline.core.plugins import PluginConfig
from pipeline.core.schema import valid_text

PACKAGE = "pipeline.sources.fetch"
ALGORITHM_OF_LENGTH = {32: "md5", 40: "sha1", 64: "sha256"}  # hex digits of a sum


class FetchConfig(PluginConfig):
    """Base of every fetcher's settings: where from, and with what manners."""

    model_config = ConfigDict(coerce_numbers_to_str=True)  # --set date=20260901 is a number in YAML

    base_url: str = Field(pattern=r"^https?://")
    """Public host, or a mirror of it: everything before the paths that the host publishes."""

    connections: int = Field(4, ge=1, le=32)
    """Files that are on their way at the same time."""

    requests_per_s: float = Field(5.0, gt=0)
    """At most so many requests per second, all connections together."""

    megabytes_per_s: float | None = Field(None, gt=0)
    """At most so many MB (1e6 bytes) per second, all connections together; default: no limit."""

    tries: int = Field(6, ge=1)
    """Attempts in a row that bring not one byte more, before a file is given up."""

    retry_wait_s: float = Field(1.0, gt=0)
    """Wait after the first failed attempt; it doubles with each further one, up to a minute."""

    timeout_s: float = Field(60.0, gt=0)
    """Silence of a server that counts as a failed attempt."""

    max_missing_rate: float = Field(0.0, ge=0, le=1)
    """More files that the server does not have than this share fail the fetch, after the others have come."""

    contact: str = ""
    """Mail address or URL for the User-Agent, as some hosts ask of those who fetch a lot."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a listing."""

    url: str
    name: str  # where it goes: relative to OUT
    num_bytes: int | None = None  # as published
    checksum: str = ""  # as published: "sha1:<hex>"; "" if nobody says

    def __post_init__(self) -> None:
        steps = self.name.split("/")
        if (
            "\0" in self.name
            or valid_text(self.name) != self.name
            or self.name == MANIFEST
            or any(not step or step[0] == "." for step in steps)
        ):
            raise UserError(f"{self.url}: the listing names it {self.name!r}, which is no file name to write to")
        if self.num_bytes is not None and (type(self.num_bytes) is not int or self.num_bytes < 0):
            raise UserError(f"{self.url}: the listing says that it has {self.num_bytes!r} bytes")


def published_sum(digits: str) -> str:
    """ "sha1:<hex>" for 40 hex digits, and so on; raises ValueError for what is no sum."""
    algorithm = ALGORITHM_OF_LENGTH.get(len(digits))
    if algorithm is None or not set(digits.lower()) <= set("0123456789abcdef"):
        raise ValueError(f"{digits!r} is no md5, sha1 or sha256")
    return f"{algorithm}:{digits.lower()}"
