"""A folder behind a URL, on a real S3 server: made whole, once, and what happens when it is not."""

import re
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from pipeline.core.errors import ArtifactError, Unreachable, UserError
from pipeline.core.files import checksum
from pipeline.core.mirror import Mirror, mark
from pipeline.core.storage import FarFolder
from tests.sources.s3_server import S3, configure, environment, s3_server

LARGE = 101 << 20  # s3fs uploads it in parts


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with s3_server() as running:
        running.client().create_bucket(Bucket="bucket")
        yield running


@pytest.fixture(params=["s3://bucket/run", "memory://bucket/run"])
def far(request: pytest.FixtureRequest, server: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[FarFolder]:
    configure(monkeypatch, environment(server.url))
    yield FarFolder(request.param, "--out")
    fsspec.filesystem("memory").store.clear()
    for item in server.client().list_objects_v2(Bucket="bucket").get("Contents", []):
        server.client().delete_object(Bucket="bucket", Key=item["Key"])


def test_a_file_is_created_once_and_replaced_on_demand(far: FarFolder, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"one")
    other.write_bytes(b"two")
    assert far.read("a/file") is far.checksum("a/file") is far.fetch("a/file", tmp_path / "b") is None
    far.create(one, "a/file")
    far.create(one, "a/file")  # another attempt at the same
    with pytest.raises(ArtifactError, match=r"://bucket/run/a/file is there already, with other bytes than /.*/other;"):
        far.create(other, "a/file")
    assert far.read("a/file") == b"one"
    assert far.sizes("a") == {"file": 3}
    assert far.names() == {"a"}
    far.replace(other, "a/file")
    assert far.checksum("a/file") == far.fetch("a/file", tmp_path / "b") == checksum(other, "a/file")


def test_a_large_file_is_whole_or_not_there(server: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In parts: the second one of two attempts leaves none behind, and neither does one that was killed."""
    configure(monkeypatch, environment(server.url))
    far, client, large = FarFolder("s3://bucket/large", "--out"), server.client(), tmp_path / "large"
    with open(large, "wb") as file:
        file.truncate(LARGE)
    far.create(large, "stage/file")
    assert client.head_object(Bucket="bucket", Key="large/stage/file")["ETag"].endswith('-3"'), "it went in parts"
    with open(large, "r+b") as file:
        file.write(b"other")
    with pytest.raises(ArtifactError, match="is there already"):
        far.create(large, "stage/file")
    assert "Uploads" not in client.list_multipart_uploads(Bucket="bucket")
    for key in ("large/stage/killed", "large/stage-of-another/killed"):
        client.create_multipart_upload(Bucket="bucket", Key=key)
    far.abort_uploads("stage")
    (left,) = client.list_multipart_uploads(Bucket="bucket")["Uploads"]
    assert left["Key"] == "large/stage-of-another/killed"


def test_a_server_that_does_not_answer_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with s3_server() as server:
        configure(monkeypatch, environment(server.url))
        far = FarFolder("s3://bucket/run", "--out")
        with pytest.raises(UserError, match=r"^cannot list s3://bucket/run: .* The specified bucket does not exist$"):
            far.names()
        (tmp_path / "file").touch()
        with pytest.raises(UserError, match=r"^cannot write s3://bucket/run/file: NoSuchBucket: "):
            far.create(tmp_path / "file", "file")
        assert caplog.messages == [], "that is no reason to try again"
    with pytest.raises(Unreachable, match=r"^cannot read s3://bucket/run/file: EndpointConnectionError: "):
        far.read("file")
    assert [message.rpartition("; ")[2] for message in caplog.messages] == [
        "again in 0.2 s", "again in 1.0 s", "again in 3.0 s"
    ]  # fmt: skip


def test_a_work_folder_is_found_from_within_but_for_scratch(
    server: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A work folder may well lie on a disk that is called scratch."""
    configure(monkeypatch, environment(server.url))
    stage, work = "clean-0123456789ab", tmp_path / "scratch" / "work"
    (work / stage / "scratch" / "survey").mkdir(parents=True)
    assert Mirror.of(work / stage) is None
    mark(work, "s3://bucket/run/")
    mirror = Mirror.of(work / stage)
    assert mirror
    assert mirror.far.url == "s3://bucket/run"
    assert mirror.name(work / stage / "a") == f"{stage}/a"
    assert Mirror.of(work / stage / "index")
    assert Mirror.of(work / stage / "scratch" / "survey") is None
    assert Mirror.of(work / "another" / stage) is None
    with pytest.raises(UserError, match=re.escape(f"--work {work} is the work folder of s3://bucket/run; name anoth")):
        mark(work, "s3://bucket/other")
