"""`prepare --out s3://...`: the bytes of a local run in the bucket, whatever is killed, damaged, or working beside it.

Real processes against a real server (moto's). The work folder is lost after a kill, unless the test says otherwise.
"""

import json
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.config import load
from pipeline.core.errors import ArtifactError, UserError
from pipeline.core.manifest import stage_folders
from pipeline.core.mirror import Mirror, mark
from pipeline.core.pull import pull
from pipeline.core.splits import _fetch
from pipeline.prepare import PrepareConfig, prepare
from tests.processes import descendants, found, kill, penstock, started, title, wait_for
from tests.sources.s3_server import S3, bucket_of, configure, environment, relay, s3_server
from tests.test_prepare import sentences, tree

NUM_FILES = 4
KEYS = ("AKIAKEY", "hidden-secret")
SETTINGS = (
    f"sources=[{', '.join(f'{{name: jsonl, label: s{n}, paths: [{n}.jsonl]}}' for n in range(NUM_FILES))}]",
    "num_workers=2",
    "clean.filters=[unicode, quality]",
    "tokenizer={vocab_size: 300}",
    "shards={validation_fraction: 0.2}",
)


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with s3_server() as running:
        yield running


@pytest.fixture
def bucket(server: S3, request: pytest.FixtureRequest) -> str:
    return bucket_of(request.node.name, server)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng, folder = random.Random(0), tmp_path_factory.mktemp("corpus")
    for number in range(NUM_FILES):
        lines = [json.dumps({"id": f"{number} {n}", "text": sentences(rng)}) for n in range(40)]
        (folder / f"{number}.jsonl").write_text("".join(f"{line}\n" for line in [*lines, lines[0]]))
    return folder


@pytest.fixture(scope="module")
def local(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run into a folder writes."""
    out = tmp_path_factory.mktemp("local") / "data"
    done = penstock(*arguments(corpus, out))
    assert done.returncode == 0, done.stderr
    return tree(out)


def arguments(corpus: Path, out: str | Path, work: Path | None = None, *settings: str) -> list[str]:
    chosen = [part for setting in (f"input={corpus}", *SETTINGS, *settings) for part in ("--set", setting)]
    where = [] if work is None else ["--work", str(work)]
    return ["prepare", "--config", "configs/data/sample.yaml", "--out", str(out), *where, *chosen]


def objects(server: S3, bucket: str, prefix: str = "run/") -> dict[str, bytes]:
    """All that lies in the bucket but for the summary, which has a clock; nothing is half uploaded."""
    client = server.client()
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
    bodies = {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}
    assert all(key.startswith(prefix) for key in keys)
    return {key.removeprefix(prefix): body for key, body in bodies.items() if key != f"{prefix}summary.json"}


def times(server: S3, bucket: str) -> dict[str, Any]:
    listed = server.client().list_objects_v2(Bucket=bucket)["Contents"]
    return {item["Key"]: item["LastModified"] for item in listed}


@pytest.fixture(scope="module")
def finished(server: S3, corpus: Path, local: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of a run into s3://finished/run; an upload of an earlier one was killed in the middle."""
    client, work = server.client(), tmp_path_factory.mktemp("finished") / "work"
    client.create_bucket(Bucket="finished")
    unfinished = next(name for name in local if name.startswith("clean-"))
    client.create_multipart_upload(Bucket="finished", Key=f"run/{unfinished}")
    done = penstock(
        *arguments(corpus, "s3://finished/run", work), **environment(server.url, "AKIAKEY", "hidden-secret")
    )
    assert done.returncode == 0, done.stderr
    (work.parent / "said").write_text(done.stdout + done.stderr)
    return work


def test_the_bytes_of_a_local_run(server: S3, local: dict[str, bytes], finished: Path) -> None:
    assert objects(server, "finished") == local
    assert tree(finished) == local
    summary = json.loads(server.client().get_object(Bucket="finished", Key="run/summary.json")["Body"].read())
    assert summary["out"] == "s3://finished/run"
    files = [path.read_bytes() for path in finished.parent.rglob("*") if path.is_file()]
    assert not [secret for secret in KEYS if any(secret.encode() in file for file in files)]


def test_a_finished_run_writes_nothing_and_fetches_what_it_shows(
    server: S3, corpus: Path, finished: Path, tmp_path: Path
) -> None:
    before = times(server, "finished")
    done = penstock(*arguments(corpus, "s3://finished/run", tmp_path / "new"), **environment(server.url))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("done already") == 5
    assert times(server, "finished") == before
    fetched = [path.name for path in (tmp_path / "new").glob("*-*/*") if path.name != "manifest.json"]
    assert len(fetched) == 4 * NUM_FILES
    assert all(name.endswith(".ledger.parquet") for name in fetched)


def test_pull_and_verify_find_what_was_damaged(
    server: S3, local: dict[str, bytes], finished: Path, tmp_path: Path
) -> None:
    client, variables = server.client(), environment(server.url)
    name = next(name for name in local if name.endswith(".train.00.tokens.arrow"))
    client.put_object(Bucket="finished", Key=f"run/{name}", Body=local[name][:-1] + b"?")
    try:
        for verb in (["verify", "s3://finished/run"], ["pull", "s3://finished/run", str(tmp_path / "here")]):
            found = penstock(*verb, **variables)
            assert found.returncode == 2
            assert found.stderr.splitlines() == [
                f"penstock: s3://finished/run/{name}: damaged (its bytes do not match the manifest's checksum)"
            ]
        assert not (tmp_path / "here" / "manifest.json").exists()
    finally:
        client.put_object(Bucket="finished", Key=f"run/{name}", Body=local[name])
    pulled = penstock("pull", "s3://finished/run/", tmp_path / "here", **variables)
    assert pulled.returncode == 0, pulled.stderr
    assert tree(tmp_path / "here") == local
    summary = (tmp_path / "here" / "summary.json").read_bytes()
    assert summary == client.get_object(Bucket="finished", Key="run/summary.json")["Body"].read()
    assert not [path for path in (tmp_path / "here").rglob(".*") if path.name != ".lock"]
    as_aws = {"AWS_ENDPOINT_URL": server.url, "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    said = penstock("verify", "s3://finished/run", **as_aws)
    assert said.stderr == "", "what botocore finds is no news of ours"
    assert said.stdout == pulled.stdout.replace(str(tmp_path / "here"), "s3://finished/run")
    assert re.fullmatch(r"s3://finished/run: \d+ files, all as written\n", said.stdout)


def test_pull_does_not_write_into_what_is_something_else(
    server: S3, local: dict[str, bytes], finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, environment(server.url))
    stage = next(name.partition("/")[0] for name in local if name.startswith("tokenizer-"))
    assert pull(f"s3://finished/run/{stage}", tmp_path / "here") == 3
    shutil.copytree(finished, tmp_path / "run")
    text = (tmp_path / "run" / "manifest.json").read_text()
    (tmp_path / "run" / "manifest.json").write_text(text.replace('"shards-', '"shards-0'))
    before = tree_of(tmp_path / "run")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").touch()
    for url, folder, said in (
        ("s3://finished/run", "run", "holds another artifact than s3://finished/run; name another folder"),
        ("s3://finished/run", "here", "holds another artifact than s3://finished/run; name another folder"),
        ("s3://finished/run", "mine", r"has other files in it \(a.txt\); name a new folder"),
        ("s3://finished/run", "mine/a.txt", "is a file; name a folder"),
        ("s3://finished", "new", "s3://finished is not a finished artifact: it has no manifest.json"),
    ):
        with pytest.raises(UserError, match=f"{said}$"):
            pull(url, tmp_path / folder)
    assert tree_of(tmp_path / "run") == before


def tree_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_object_that_is_there_with_other_bytes_is_named(
    server: S3, bucket: str, corpus: Path, local: dict[str, bytes], tmp_path: Path
) -> None:
    name = next(name for name in local if name.endswith("s1-00000.documents.parquet"))
    server.client().put_object(Bucket=bucket, Key=f"run/{name}", Body=b"other bytes")
    work = tmp_path / "work"
    done = penstock(*arguments(corpus, f"s3://{bucket}/run", work), **environment(server.url))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"penstock: s3://{bucket}/run/{name} is there already, with other bytes than {work / name}; "
        "remove it, or write elsewhere"
    )
    assert objects(server, bucket).items() - local.items() == {(name, b"other bytes")}
    assert f"{name.partition('/')[0]}/receipts/s1-00000.json" not in objects(server, bucket)


@pytest.mark.parametrize(
    ("receipt", "why"),
    [
        (b"[]", "list indices must be integers or slices, not str"),
        (b'{"split": "s1-00000", "counts": {}, "files": [["../s1-00000.x", 1, "", ""]]}',
         r"it is of split s1-00000 and files \.\./s1-00000\.x"),
    ],
)  # fmt: skip
def test_a_damaged_receipt_is_named(
    server: S3, bucket: str, local: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    receipt: bytes, why: str,
) -> None:  # fmt: skip
    configure(monkeypatch, environment(server.url))
    stage = next(name.partition("/")[0] for name in local if name.startswith("sources-"))
    key = f"run/{stage}/receipts/s1-00000.json"
    server.client().put_object(Bucket=bucket, Key=key, Body=receipt)
    (tmp_path / stage).mkdir()
    mark(tmp_path, f"s3://{bucket}/run")
    (tmp_path / ".attempt").mkdir()
    with pytest.raises(ArtifactError, match=rf"^s3://{bucket}/{key} is damaged \({why}\); remove it and rerun$"):
        _fetch(Mirror.of(tmp_path / stage), "s1-00000", tmp_path / stage, tmp_path / ".attempt")


def test_what_cannot_be_is_said_before_anything_is_done(
    server: S3, bucket: str, corpus: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, environment(server.url))
    work, client, before = tmp_path / "work", server.client(), tree(finished)
    client.put_object(Bucket=bucket, Key="other/notes.txt", Body=b"")
    client.put_object(Bucket=bucket, Key="fetched/manifest.json", Body=b"{}")
    config = load(PrepareConfig, Path("configs/data/sample.yaml"), [f"input={corpus}", *SETTINGS])
    for out, where, said in (
        ("memory://bucket/run", work, "--out memory://bucket/run is the memory of one process, and the stages run in"),
        ("nosuch://bucket/run", work, "nosuch://bucket/run: Protocol not known: nosuch"),
        ("s3://key:secret@bucket/run", work, "--out: a URL holds a name or a key before its @; give it to fsspec in"),
        (f"s3://{bucket}/run", None, f"--out s3://{bucket}/run needs --work DIR: the stages work there; on a cluster"),
        (tmp_path / "out", work, f"--work {work} is for an --out that is a URL; the stages work in --out"),
        ("s3://nobucket/run", work, "cannot list s3://nobucket/run: .*The specified bucket does not exist"),
        (f"s3://{bucket}/other", work, f"--out s3://{bucket}/other has other files in it \\(notes.txt\\); name a new"),
        (f"s3://{bucket}/fetched", work, f"s3://{bucket}/fetched/manifest.json: format None, this version reads 1"),
        (
            f"s3://{bucket}/run",
            finished,
            f"--work {finished} is the work folder of s3://finished/run; name another one",
        ),
        (finished, None, f"--out {finished} is the work folder of s3://finished/run; say --out s3://finished/run --wo"),
    ):
        with pytest.raises(UserError, match=f"^{said}"):
            prepare(config, out, where)
        assert list(tmp_path.iterdir()) == []
    assert tree(finished) == before


def test_keys_are_needed_and_never_said(server: S3, bucket: str, corpus: Path, tmp_path: Path) -> None:
    key, _ = server.keys("otto")
    with server.asking_for_keys():
        wrong = environment(server.url, key, KEYS[1])
        done = penstock(*arguments(corpus, f"s3://{bucket}/run", tmp_path / "work"), **wrong)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert re.match(rf"penstock: cannot list s3://{bucket}/run: .*SignatureDoesNotMatch", line)
    assert not [secret for secret in (key, KEYS[1]) if secret in line]
    assert not (tmp_path / "work").exists()


# ---- killed, cut off, side by side -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("victim", ["driver", "worker"])
def test_killed_at_a_random_moment(
    victim: str, seed: int, server: S3, bucket: str, corpus: Path, local: dict[str, bytes], tmp_path: Path
) -> None:
    """Rerun in the same work folder (odd seeds), or in an empty one as on another machine."""
    rng = random.Random(f"{victim} {seed}")
    url, work = f"s3://{bucket}/run", tmp_path / "work"
    num_committed = rng.randrange(sum("/receipts/" in name for name in local))
    command = [sys.executable, "-m", "pipeline", *arguments(corpus, url, work)]
    with started(command, tmp_path / "log", **environment(server.url)) as driver:
        wait_for(lambda: len(found(work, "*/receipts/*.json")) >= num_committed, 200, f"{num_committed} splits")
        time.sleep(rng.uniform(0, 0.1))
        if victim == "driver":
            kill(driver.pid)
        else:
            wait_for(lambda: busy(driver.pid) or driver.poll() is not None, 60, "a worker")
            for worker in busy(driver.pid)[:1]:
                kill(worker)
        ended = driver.wait(timeout=200)
    assert ended == (0 if victim == "worker" else -signal.SIGKILL), (tmp_path / "log").read_text()
    promised(server, bucket, local)
    if ended:
        again = work if seed % 2 else tmp_path / "empty"
        done = penstock(*arguments(corpus, url, again), **environment(server.url))
        assert done.returncode == 0, done.stderr
    assert objects(server, bucket) == local


def busy(driver: int) -> list[int]:
    return [pid for pid in descendants(driver) if "ray::attempt" in title(pid)]


def promised(server: S3, bucket: str, local: dict[str, bytes]) -> None:
    """What is there is as it will be, and whatever proves others has them beside it."""
    there = objects(server, bucket)
    assert there.items() <= local.items()
    for name, body in there.items():
        if name.endswith("manifest.json"):
            folder, files = name.removesuffix("manifest.json"), [entry["name"] for entry in json.loads(body)["files"]]
        elif "/receipts/" in name:
            folder, files = name.partition("receipts/")[0], [entry[0] for entry in json.loads(body)["files"]]
        else:
            continue
        assert {folder + file for file in files} <= there.keys(), name


@pytest.mark.slow
@pytest.mark.parametrize("num_bytes", [2_000, 8_000, 20_000])
def test_a_server_that_goes_away(
    num_bytes: int, server: S3, bucket: str, corpus: Path, local: dict[str, bytes], tmp_path: Path
) -> None:
    url = f"s3://{bucket}/run"
    with relay(server.url, num_bytes, lambda: None) as cut:
        done = penstock(*arguments(corpus, url, tmp_path / "work"), **environment(cut, *KEYS))
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("penstock: ")]
    assert re.match(rf"penstock: cannot (read|write|list|list uploads of) {url}.*: Endpoint\w+Error: ", line)
    assert "Traceback" not in done.stderr
    assert not [secret for secret in KEYS if secret in done.stdout + done.stderr]
    promised(server, bucket, local)
    done = penstock(*arguments(corpus, url, tmp_path / "empty"), **environment(server.url))
    assert done.returncode == 0, done.stderr
    assert objects(server, bucket) == local


@pytest.mark.slow
def test_two_drivers_at_once(server: S3, bucket: str, corpus: Path, local: dict[str, bytes], tmp_path: Path) -> None:
    """Each in a work folder of its own. Of one they share the second is refused, as ever."""

    def run(name: str) -> Any:
        return penstock(*arguments(corpus, f"s3://{bucket}/run", tmp_path / name), **environment(server.url))

    with ThreadPoolExecutor() as pool:
        both = list(pool.map(run, ["one", "two"]))
    assert [done.returncode for done in both] == [0, 0], [done.stderr for done in both]
    assert objects(server, bucket) == local


@pytest.mark.slow
def test_other_settings_into_the_same_place(
    server: S3, bucket: str, corpus: Path, local: dict[str, bytes], tmp_path: Path
) -> None:
    """The manifest is that of the last run; the stages of both stay, and the first settings bring theirs back."""
    url, variables = f"s3://{bucket}/run", environment(server.url)
    for number, settings in enumerate([(), ("shards={validation_fraction: 0.3}",), ()]):
        done = penstock(*arguments(corpus, url, tmp_path / str(number), *settings), **variables)
        assert done.returncode == 0, done.stderr
        there = objects(server, bucket)
        assert (there["manifest.json"] == local["manifest.json"]) == (not settings)
        assert there.items() >= {name: body for name, body in local.items() if name != "manifest.json"}.items()
    assert len({name.partition("/")[0] for name in there if name.startswith("shards-")}) == 2
    assert stage_folders(tmp_path / "2")["shards"].name in {name.partition("/")[0] for name in local}
