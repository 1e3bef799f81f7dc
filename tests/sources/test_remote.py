"""Inputs behind URLs: the same documents as from a folder, copies that are gone afterwards, files that change."""

import gzip
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp import ClientTimeout

from pipeline.core.errors import Unreachable, UserError
from pipeline.core.shard_map import Workers
from pipeline.core.tables import read_documents
from pipeline.prepare import PrepareConfig
from pipeline.sources.run import _splits, find_files, fingerprint, read_split, run
from tests.sources.reading import listed, source
from tests.sources.web_server import Server, Trick, self_signed, web_server

FILES = {
    "a.jsonl": b"".join(json.dumps({"text": f"document {n}"}).encode() + b"\n" for n in range(20)),
    "b.jsonl.gz": gzip.compress(b'{"text": "packed"}\n', mtime=0),
}


@pytest.fixture
def server() -> Iterator[Server]:
    with web_server() as running:
        table = pa.BufferOutputStream()
        pq.write_table(pa.table({"text": ["row 0", "row 1"]}), table)
        bodies = FILES | {"c.parquet": table.getvalue().to_pybytes()}
        links = "".join(f'<a href="{name}">{name}</a>' for name in bodies)
        running.files = {f"/corpus/{name}": body for name, body in bodies.items()} | {"/corpus/": links.encode()}
        yield running


def texts(folder: Path) -> dict[str, str]:
    return {doc.origin: doc.text for path in sorted(folder.glob("*documents.parquet")) for doc in read_documents(path)}


def test_a_folder_on_a_web_server_gives_what_a_local_folder_gives(
    server: Server, tmp_path: Path, workers: Workers
) -> None:
    config = [source("*.jsonl*", "*.parquet")]
    near = tmp_path / "in"
    near.mkdir()
    for path, body in server.files.items():
        if not path.endswith("/"):
            (near / Path(path).name).write_bytes(body)
    local = run(config, near, tmp_path / "local", workers)
    far = run(config, f"{server.url}/corpus", tmp_path / "far", workers)
    assert texts(far) == texts(local)
    assert len(texts(far)) == 23
    assert [path.name for path in far.rglob(".copy-*")] == [], "the copies are gone"
    bodies = [asked for asked in server.log if asked.method == "GET" and not asked.path.endswith("/")]
    assert len(bodies) == 3, "every file was sent once"


def test_a_single_url_beside_local_files(server: Server, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text('{"text": "near"}\n')
    url = f"{server.url}/corpus/a.jsonl"
    files = find_files(source("*.jsonl", url), tmp_path)
    assert [(file.name, file.key, file.url) for file in files] == [("d.jsonl", "d.jsonl", ""), (url, "a.jsonl", url)]
    assert files[1].version
    changed = [files[0], replace(files[1], version="another")]
    assert fingerprint([(source("*"), files)]) != fingerprint([(source("*"), changed)])


def read_one(server: Server, folder: Path) -> None:
    config = source("a.jsonl")
    (split,) = _splits(config, find_files(config, f"{server.url}/corpus"))
    server.files["/corpus/a.jsonl"] = server.files.pop("next", FILES["a.jsonl"])
    try:
        read_split(split.task, folder)
    finally:
        assert list(folder.glob(".copy-*")) == []


def test_a_file_that_changed_since_it_was_listed_stops_the_stage(server: Server, tmp_path: Path) -> None:
    for body in (FILES["a.jsonl"].upper(), FILES["a.jsonl"] + b"\n"):
        server.files["/corpus/a.jsonl"] = FILES["a.jsonl"]
        server.files["next"] = body
        with pytest.raises(UserError, match=r"a\.jsonl changed since it was listed: .* bytes, version .*; not 470, "):
            read_one(server, tmp_path)


def test_a_file_that_changes_while_it_is_copied_stops_the_stage(server: Server, tmp_path: Path) -> None:
    """Its version is asked for when the bytes are there: before, two halves of two versions would pass."""
    server.tricks["/corpus/a.jsonl"] = [Trick(), Trick(), Trick(headers={"ETag": '"another"'})]
    with pytest.raises(
        UserError, match=r'a\.jsonl changed since it was listed: 470 bytes, version "another"; not 470, "'
    ):
        read_one(server, tmp_path)


def test_a_broken_connection_is_an_error_that_may_pass(server: Server, tmp_path: Path) -> None:
    server.tricks["/corpus/a.jsonl"] = [Trick(), Trick(drop_after=100)]
    with pytest.raises(Unreachable, match=r"cannot copy http.*/corpus/a\.jsonl: .* \(received 100 of 470 bytes\)"):
        read_one(server, tmp_path)
    (tmp_path / "again").mkdir()
    read_one(server, tmp_path / "again")
    assert len(texts(tmp_path / "again")) == 20


def test_a_file_may_take_longer_than_five_minutes_but_not_be_silent_for_one(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiohttp's own limit is on the whole of a file; here it is a tenth of a second."""
    monkeypatch.setattr("aiohttp.client.DEFAULT_TIMEOUT", ClientTimeout(total=0.1))
    monkeypatch.setattr("pipeline.core.storage.SILENCE_S", 2.0)
    server.tricks["/corpus/a.jsonl"] = [Trick(), Trick(pause_after=100)]
    threading.Timer(0.5, server.gate.set).start()
    with pytest.raises(Unreachable, match="received 100 of 470 bytes"):  # it goes on half a second later, with the end
        read_one(server, tmp_path)
    server.gate.clear()
    server.tricks["/corpus/a.jsonl"] = [Trick(), Trick(pause_after=100)]
    with pytest.raises(Unreachable, match=r"a\.jsonl: SocketTimeoutError: Timeout on reading data"):
        read_one(server, tmp_path)


def test_what_fsspec_is_told_otherwise_counts(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"FSSPEC_HTTP_CLIENT_KWARGS": json.dumps({"headers": {"Authorization": "Bearer hidden"}})}
    monkeypatch.setitem(fsspec.config.conf, "http", {})
    fsspec.config.set_conf_env(fsspec.config.conf, told)
    find_files(source("a.jsonl"), f"{server.url}/corpus")
    assert {asked.headers.get("Authorization") for asked in server.log} == {"Bearer hidden"}


def test_links_that_only_sort_a_listing_are_no_files(server: Server) -> None:
    server.files["/corpus/"] += (
        b'<a href="?C=N;O=D">Name</a> <a href="../">up</a> <a href="/corpus/manifest.json">m</a>'
    )
    for pattern in ("*", "**"):
        names = [file.name for file in find_files(source(pattern), f"{server.url}/corpus")]
        assert names == ["a.jsonl", "b.jsonl.gz", "c.parquet"]


def test_a_certificate_nobody_vouches_for(tmp_path: Path) -> None:
    """Refused in a line that names the variable which helps; it is not the one of `penstock fetch`."""
    certificate, tls = self_signed(tmp_path)
    with web_server(tls) as server:
        server.files["/corpus/a.jsonl"] = FILES["a.jsonl"]
        said = listed(f"{server.url}/corpus", "a.jsonl", REQUESTS_CA_BUNDLE=str(certificate))
        assert re.search(r"cannot list https.*self-signed certificate.*; SSL_CERT_FILE names a bundle to trust$", said)
        assert listed(f"{server.url}/corpus", "a.jsonl", SSL_CERT_FILE=str(certificate)) == "a.jsonl"


def test_a_server_that_does_not_tell_sizes_is_refused(server: Server) -> None:
    server.tricks["/corpus/a.jsonl"] = [Trick(no_length=True)] * 10
    with pytest.raises(UserError, match=r"a\.jsonl does not say how long it is; fetch it first"):
        find_files(source("a.jsonl"), f"{server.url}/corpus")


def test_urls_that_lead_nowhere(server: Server) -> None:
    for url, pattern, message in (
        (f"{server.url}/corpus", "x*", r"source jsonl: no file matches 'x\*' in http://127.*/corpus$"),
        (
            f"{server.url}/corpus",
            "x.jsonl",
            r"source jsonl: cannot list .*/corpus/x\.jsonl: .*404, message='Not Found'",
        ),
        ("http://127.0.0.1:9", "x.jsonl", r"source jsonl: cannot list http://127\.0\.0\.1:9/x\.jsonl: Client"),
        ("nosuch://bucket", "x.jsonl", "nosuch://bucket/x.jsonl: Protocol not known: nosuch"),
    ):
        with pytest.raises(UserError, match=message):
            find_files(source(pattern), url)


@pytest.mark.parametrize("pattern", ["a.jsonl?X-Amz-Signature=hidden", "*.jsonl?sig=hidden", "a?.jsonl"])
def test_what_follows_a_question_mark_may_be_a_key(pattern: str, server: Server) -> None:
    with pytest.raises(
        UserError, match=r"/corpus/(a|.*\.jsonl) goes on with a '\?', and what follows may be a key"
    ) as caught:
        find_files(source(pattern), f"{server.url}/corpus")
    assert "hidden" not in str(caught.value)
    assert server.log == []


@pytest.mark.parametrize("input", ["s3://KEY:hidden@bucket/corpus", "http://anna:hidden@127.0.0.1:9/corpus"])
def test_a_key_in_a_url_is_refused_and_said_nowhere(input: str, tmp_path: Path) -> None:
    for given, path in ((input, "*.jsonl"), (tmp_path, f"{input}/*.jsonl")):
        with pytest.raises(UserError, match="a URL holds a name or a key before its @") as caught:
            list(find_files(source(path), given))
        assert "hidden" not in str(caught.value)


def test_the_config_tells_a_folder_from_a_url() -> None:
    given = ("s3://bucket/corpus", "build/raw")
    assert [PrepareConfig(input=name, sources=["jsonl"]).input for name in given] == [given[0], Path(given[1])]
