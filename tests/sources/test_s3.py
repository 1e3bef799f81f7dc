"""Inputs in a bucket: byte for byte what a folder gives; buckets, keys, objects and servers that are not as expected.

The server is moto's, a process of its own. What fsspec has to know, it reads from its environment, here as elsewhere.
"""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import Unreachable, UserError
from pipeline.sources.run import _splits, find_files, read_split
from tests.processes import ROOT, hiding, penstock
from tests.sources.reading import listed, source
from tests.sources.s3_server import S3, bucket_of, configure, environment, relay, s3_server
from tests.sources.web_server import self_signed

LINES = b"".join(json.dumps({"text": f"document {n}"}).encode() + b"\n" for n in range(20))
STAGE = """
import json, pathlib, sys
from pipeline.core.plugins import parse
from pipeline.core.shard_map import Workers
from pipeline.sources.base import PACKAGE
from pipeline.sources.run import run
config = [parse(PACKAGE, section) for section in json.loads(sys.argv[1])]
with Workers(num_workers=2) as workers:
    for number, input in enumerate(sys.argv[3:]):
        print(run(config, input, pathlib.Path(sys.argv[2]) / str(number), workers))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with s3_server() as running:
        yield running


@pytest.fixture
def bucket(server: S3, request: pytest.FixtureRequest) -> str:
    return bucket_of(request.node.name, server)


def put(server: S3, bucket: str, files: dict[str, bytes]) -> None:
    client = server.client()
    for key, body in files.items():
        client.put_object(Bucket=bucket, Key=key, Body=body)


def read_one(input: str, folder: Path, *, before: Any = None) -> int:
    """Documents of the bucket; `before` is called between listing and copying."""
    config = source("*.jsonl")
    (split,) = _splits(config, find_files(config, input))
    if before:
        before()
    folder.mkdir(exist_ok=True)
    try:
        return read_split(split.task, folder)["kept"]
    finally:
        assert list(folder.glob(".copy-*")) == [], "no partial file is left"


def corpus(sample: Path, folder: Path) -> None:
    """The embedded corpus, its topics in all the forms that jsonl reads, a dataset folder, and what is not meant."""
    for name in ("wikipedia", "bookcorpus", "cc_news"):
        shutil.copytree(sample / name, folder / name)
    tables = folder / "tables"
    (tables / "set/train").mkdir(parents=True)
    lines = (sample / "finetune/topics.jsonl").read_bytes()
    rows = pa.Table.from_pylist([json.loads(line) for line in lines.splitlines()])
    (tables / "a.jsonl").write_bytes(lines)
    (tables / "b.jsonl.gz").write_bytes(gzip.compress(lines + b"{broken\n"))
    pq.write_table(rows, tables / "c.parquet", row_group_size=50)
    for name, new in (("d.arrow", pa.ipc.new_file), ("set/train/data-00000-of-00001.arrow", pa.ipc.new_stream)):
        with pa.OSFile(str(tables / name), "wb") as file, new(file, rows.schema) as writer:
            writer.write_table(rows)
    (tables / "set/train/state.json").write_text("{}")
    (tables / "empty.jsonl").touch()
    (tables / ".hidden.jsonl").write_bytes(lines)
    (tables / "manifest.json").write_text("{}")


def outcome(folder: Path) -> dict[str, Any]:
    """All that the stage wrote; of its manifest what does not depend on where the input lies."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    manifest = json.loads(files.pop("manifest.json"))
    return files | {"counts": manifest["counts"], "files": manifest["files"], "config": manifest["config"]}


# ---- what a bucket gives ---------------------------------------------------------------------------------------


def test_a_bucket_gives_byte_for_byte_what_a_folder_gives(
    server: S3, bucket: str, sample: Path, tmp_path: Path
) -> None:
    near = tmp_path / "in"
    corpus(sample, near)
    files = {path.relative_to(near).as_posix(): path.read_bytes() for path in near.rglob("*") if path.is_file()}
    put(server, bucket, {f"raw/{name}": body for name, body in files.items()} | {"raw/tables/": b""})
    sections = ["wikipedia", "bookcorpus", "cc_news", {"name": "jsonl", "paths": ["tables"]}]
    command = [sys.executable, "-c", STAGE, json.dumps(sections), tmp_path / "out", near, f"s3://{bucket}/raw"]
    variables = os.environ | environment(server.url)
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    local, far = (outcome(Path(folder)) for folder in done.stdout.split())
    assert far == local
    made = {name: counts["documents"] for name, counts in local["counts"]["sources"].items()}
    assert made.keys() == {"wikipedia", "bookcorpus", "cc_news", "jsonl"}
    assert min(made.values()) > 10
    assert local["counts"]["sources"]["jsonl"]["reasons"] == {"malformed": 1, "not_data": 1, "empty_file": 1}


def test_a_pattern_means_the_same_files(
    server: S3, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hidden files have to be named, keys are relative to a folder that is named, a marker of a folder is no file."""
    configure(monkeypatch, environment(server.url))
    names = ["a.jsonl", "b.txt", ".h.jsonl", "manifest.json", "sub/a.jsonl", "sub/.h", "sub/deep/c.jsonl"]
    put(server, bucket, {f"in/{name}": LINES for name in names} | {"in/": b"", "in/sub/": b""})
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(LINES)
    for pattern in (
        "*",
        "**",
        "**/*.jsonl",
        "sub",
        "sub/*",
        "*/*",
        "a.jsonl",
        ".h*",
        "*/.*",
        "[ab].*",
        "?.jsonl",
        "sub/deep/**",
    ):
        near, far = (find_files(source(pattern), input) for input in (tmp_path, f"s3://{bucket}/in"))
        assert [(f.name, f.key, f.num_bytes) for f in far] == [(f.name, f.key, f.num_bytes) for f in near], pattern
    far, turned = (find_files(source(*paths), f"s3://{bucket}/in") for paths in (["sub", "**/c*"], ["**/c*", "sub"]))
    assert far == turned, "of two patterns that match a file always the same names it"


def test_a_folder_is_listed_anew_every_time(server: S3, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """s3fs remembers listings for as long as the process lives."""
    configure(monkeypatch, environment(server.url))
    for size in (1, 2, 3):
        put(server, bucket, {"in/a.jsonl": b"x" * size})
        assert [file.num_bytes for file in find_files(source("in/*.jsonl"), f"s3://{bucket}")] == [size]


def test_a_large_object_does_not_lie_in_memory(server: S3, bucket: str, tmp_path: Path) -> None:
    """s3fs fetches ten parts of 50 MB side by side, unless told otherwise."""
    put(server, bucket, {"a.jsonl": b" " * 200_000_000 + b"\n" + LINES})
    script = (
        "import sys, pathlib, re\n"
        "from pipeline.sources import remote\n"
        "def peak_kib(): return int(re.search(r'VmHWM:\\s+(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])\n"
        "(file,) = remote.find('jsonl', sys.argv[1], 'a.jsonl')\n"
        "before = peak_kib()\n"
        "with remote.copied(file, pathlib.Path(sys.argv[2])) as copy:\n"
        "    print(copy.path.stat().st_size, peak_kib() - before)\n"
    )
    command = [sys.executable, "-c", script, f"s3://{bucket}", tmp_path]
    variables = os.environ | environment(server.url)
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    num_bytes, grown_kib = map(int, done.stdout.split())
    assert num_bytes == 200_000_001 + len(LINES)
    assert grown_kib < 50_000


# ---- what is not as expected -----------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["a.jsonl", "*.jsonl", "**/*.jsonl", "sub"])
def test_a_bucket_that_is_not_there(pattern: str, server: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, environment(server.url))
    with pytest.raises(UserError, match=r"cannot list s3://nosuch/corpus/.*: The specified bucket does not exist$"):
        find_files(source(pattern), "s3://nosuch/corpus")


def test_a_folder_that_is_not_in_the_bucket(server: S3, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, environment(server.url))
    put(server, bucket, {"a.jsonl": LINES})
    for pattern in ("*.jsonl", "a.jsonl"):
        with pytest.raises(UserError, match=r"source jsonl: no file matches '.*a?\.jsonl' in s3://[a-z-]+/corpus$"):
            find_files(source(pattern), f"s3://{bucket}/corpus")


def test_keys_are_needed_and_never_said(
    server: S3, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(server, bucket, {"a.jsonl": LINES})
    key, secret = server.keys("anna")
    wrong = {
        "InvalidAccessKeyId": ("AKIANOBODY", secret),
        "SignatureDoesNotMatch": (key, "hidden-secret"),
    }  # 403: to a HEAD
    with server.asking_for_keys():
        for code, (given, hidden) in wrong.items():
            configure(monkeypatch, environment(server.url, given, hidden))
            for pattern in ("*.jsonl", "a.jsonl"):
                with pytest.raises(
                    UserError, match=rf"cannot list s3://.*/{re.escape(pattern)}: .*({code}|403)"
                ) as caught:
                    find_files(source(pattern), f"s3://{bucket}")
                assert given not in str(caught.value)
                assert hidden not in str(caught.value)
        configure(monkeypatch, environment(server.url, key, secret))
        assert read_one(f"s3://{bucket}", tmp_path / "out") == 20
        usual = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
        assert listed(f"s3://{bucket}", "a.jsonl", FSSPEC_S3_ENDPOINT_URL=server.url, **usual) == "a.jsonl"


def test_an_object_that_changes_between_listing_and_copying(
    server: S3, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, environment(server.url))
    for changed in (LINES.upper(), LINES + b"\n"):
        put(server, bucket, {"a.jsonl": LINES})
        with pytest.raises(
            UserError, match=r'a\.jsonl changed since it was listed: .* bytes, version "\w+"; not 470, "'
        ):
            read_one(f"s3://{bucket}", tmp_path, before=lambda body=changed: put(server, bucket, {"a.jsonl": body}))
    with pytest.raises(Unreachable, match=r"cannot copy s3://.*/a\.jsonl: .*NoSuchKey"):
        read_one(f"s3://{bucket}", tmp_path, before=lambda: server.client().delete_object(Bucket=bucket, Key="a.jsonl"))


def test_a_server_that_dies_in_the_middle(tmp_path: Path) -> None:
    """Four attempts, then one line; no partial file, no key."""
    with s3_server() as server, relay(server.url, 3_000_000, server.process.kill) as url:
        server.client().create_bucket(Bucket="bucket")
        put(server, "bucket", {"a.jsonl": LINES * 20_000})
        (tmp_path / "c.yaml").write_text("sources: [{name: jsonl, paths: [a.jsonl]}]\n")
        arguments = [
            "prepare",
            "--config",
            tmp_path / "c.yaml",
            "--set",
            "input=s3://bucket",
            "--out",
            tmp_path / "out",
        ]
        done = penstock(*arguments, **environment(url, "AKIAKEY", "hidden-secret"))
        assert server.process.poll() is not None, "it died, and not before"
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("penstock: ")]
    assert re.findall(r"attempt (\d) failed", done.stderr) == ["1", "2", "3"]
    assert re.match(r"penstock: cannot copy s3://bucket/a\.jsonl: EndpointConnectionError: Could not connect", line)
    assert "Traceback" not in done.stderr
    assert not {"AKIAKEY", "hidden-secret"} & set(re.findall(r"[\w-]+", done.stdout + done.stderr))
    left = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert left == {".lock", "progress.json", "sources.jsonl"}, "what the attempts did, and nothing of the file"


def test_a_certificate_nobody_vouches_for(tmp_path: Path) -> None:
    certificate, _ = self_signed(tmp_path)
    with s3_server("-s", "-c", certificate, "-k", certificate.with_name("key.pem")) as server:
        keys = environment(server.url)
        said = listed("s3://bucket", "a.jsonl", **keys, SSL_CERT_FILE=str(certificate))
        assert re.search(r"cannot list s3.*self-signed certificate.*; AWS_CA_BUNDLE names a bundle to trust$", said)
        said = listed("s3://bucket", "a.jsonl", **keys, AWS_CA_BUNDLE=str(certificate))
        assert said.endswith("The specified bucket does not exist")


@pytest.mark.parametrize(("protocol", "package", "extra"), [("s3", "s3fs", "s3"), ("gs", "gcsfs", "gs")])
def test_the_package_of_a_protocol_that_is_missing_is_named(
    protocol: str, package: str, extra: str, tmp_path: Path
) -> None:
    (tmp_path / "c.yaml").write_text("sources: [jsonl]\n")
    arguments = [
        "prepare",
        "--config",
        tmp_path / "c.yaml",
        "--set",
        f"input={protocol}://bucket",
        "--out",
        tmp_path / "out",
    ]
    done = penstock(*arguments, **hiding(package, tmp_path / "hidden"))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.endswith(f"(No module named '{package}'); pip install 'penstock[{extra}]' wherever workers run")
