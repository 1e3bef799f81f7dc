"""`penstock fetch` against a real server: listings, resumption after every kind of failure, manners, the manifest."""

import gzip
import hashlib
import json
import os
import random
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.config import load
from pipeline.core.errors import ConfigError, UserError
from pipeline.core.manifest import Manifest
from pipeline.sources.fetch.base import RemoteFile, published_sum
from pipeline.sources.fetch.run import config_of, fetch, list_files
from pipeline.sources.fetch.web import retry_after
from pipeline.verify import verify
from tests.processes import kill, penstock, started, wait_for
from tests.sources.web_server import Server, Trick, proxy, self_signed, web_server

BODY = random.Random(0).randbytes(300_000)
BOOK = "/books/a.txt"
JOB = "articlesmultistreamdump"


@pytest.fixture
def server() -> Iterator[Server]:
    with web_server() as running:
        yield running


def config(name: str, server: Server | str, **settings: object) -> Any:
    url = server if isinstance(server, str) else server.url
    quick = {"base_url": url, "retry_wait_s": 0.01, "requests_per_s": 1000, "tries": 4} | settings
    return load(
        config_of(name), None, [f"name={name}", *(f"{key}={json.dumps(value)}" for key, value in quick.items())]
    )


def fetch_list(server: Server, out: Path, *lines: str, **settings: object) -> Manifest:
    """The books of a list; `{url}` in a line is the server."""
    path = out.with_name("list.txt")
    path.write_text("\n".join(lines).replace("{url}", server.url))
    return fetch(config("books", server, urls=str(path), **settings), out)


def fetch_one(server: Server, out: Path, *tricks: Trick, facts: str = "", **settings: object) -> bytes:
    """BODY as the book BOOK, whose first requests are answered by `tricks`."""
    server.files.setdefault(BOOK, BODY)
    server.tricks[BOOK] = list(tricks)
    fetch_list(server, out, f"{{url}}{BOOK} {facts}", **settings)
    hidden = [path.name for path in out.rglob(".*") if path.name != ".lock"]
    assert hidden == [], "what was on its way is gone"
    return (out / "127.0.0.1/books/a.txt").read_bytes()


def ranges(server: Server) -> list[str]:
    return [asked.headers.get("Range", "") for asked in server.of(BOOK)]


def sha(body: bytes, algorithm: str = "sha256") -> str:
    return hashlib.new(algorithm, body).hexdigest()


# ---- one file, whatever happens on the way ---------------------------------------------------------------------


def test_a_dropped_connection_is_resumed_where_it_broke(server: Server, tmp_path: Path) -> None:
    got = fetch_one(server, tmp_path / "out", Trick(drop_after=100_000), Trick(drop_after=150_000))
    assert got == BODY
    assert ranges(server) == ["", "bytes=100000-", "bytes=250000-"]
    assert sum(asked.num_sent for asked in server.of(BOOK)) == len(BODY), "not a byte was sent twice"
    assert server.of(BOOK)[1].headers["If-Range"] == f'"{sha(BODY, "md5")}"'


def test_attempts_that_bring_something_are_not_counted(server: Server, tmp_path: Path) -> None:
    assert fetch_one(server, tmp_path / "out", *[Trick(drop_after=20_000)] * 10, tries=2) == BODY


def test_a_server_without_ranges_sends_the_file_anew(server: Server, tmp_path: Path) -> None:
    assert fetch_one(server, tmp_path / "out", Trick(drop_after=100_000), Trick(ignore_range=True)) == BODY
    assert [asked.status for asked in server.of(BOOK)] == [200, 200]


def test_a_server_that_sends_less_than_was_asked_for_is_asked_again(server: Server, tmp_path: Path) -> None:
    assert fetch_one(server, tmp_path / "out", Trick(drop_after=100_000), Trick(longest_range=120_000)) == BODY
    assert ranges(server) == ["", "bytes=100000-", "bytes=220000-"]


@pytest.mark.parametrize("trick", [Trick(), Trick(ignore_if_range=True)])
def test_a_file_that_changes_between_attempts_is_not_glued_together(
    trick: Trick, server: Server, tmp_path: Path
) -> None:
    """The second server answers a range of the new file although it was asked for one of the old."""
    changed = BODY[::-1]
    server.files[BOOK] = BODY
    server.tricks[BOOK] = [Trick(drop_after=100_000)] * 2
    with pytest.raises(UserError, match=r"ended after|the connection broke"):
        fetch_list(server, tmp_path / "out", f"{{url}}{BOOK}", tries=1)
    server.files[BOOK] = changed
    assert fetch_one(server, tmp_path / "out", trick) == changed


def test_without_validators_and_sums_nothing_is_resumed(server: Server, tmp_path: Path) -> None:
    bare = {"ETag": "", "Last-Modified": ""}
    assert fetch_one(server, tmp_path / "out", Trick(drop_after=100_000, headers=bare), Trick(headers=bare)) == BODY
    assert ranges(server) == ["", ""]


def test_a_weak_etag_is_no_validator_but_a_published_sum_is(server: Server, tmp_path: Path) -> None:
    weak = {"ETag": 'W/"x"', "Last-Modified": ""}
    tricks = [Trick(drop_after=100_000, headers=weak), Trick(headers=weak)]
    assert fetch_one(server, tmp_path / "weak", *tricks) == BODY
    assert fetch_one(server, tmp_path / "sum", *tricks, facts=sha(BODY)) == BODY
    assert ranges(server) == ["", "", "", "bytes=100000-"]


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256"])
def test_wrong_bytes_are_removed_and_fetched_once_more(algorithm: str, server: Server, tmp_path: Path) -> None:
    got = fetch_one(server, tmp_path / "out", Trick(wrong_bytes=True), facts=sha(BODY, algorithm))
    assert got == BODY
    assert ranges(server) == ["", ""]
    assert server.of(BOOK)[1].headers["Cache-Control"] == "no-cache"


def test_wrong_bytes_twice_are_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"its sha1 is \w{40}, published is \w{40}, twice in a row; the file was removed"
    ):
        fetch_one(server, tmp_path / "out", *[Trick(wrong_bytes=True)] * 2, facts=sha(BODY, "sha1"))
    assert len(server.of(BOOK)) == 2
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == [".lock"]


def test_a_size_other_than_published_is_refused_before_it_is_sent(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the server has 300,000 bytes, published are 299,999, twice in a row"):
        fetch_one(server, tmp_path / "out", facts="299999")


def test_a_length_that_lies(server: Server, tmp_path: Path) -> None:
    """The body ends before what Content-Length promises: once it is a dropped connection, always it is an error."""
    assert fetch_one(server, tmp_path / "once", Trick(extra_length=100)) == BODY
    remedy = r"gave up after 4 attempts that brought nothing.*\nwhat came stays: run the same command again to go on"
    with pytest.raises(UserError, match=remedy):
        fetch_one(server, tmp_path / "always", *[Trick(extra_length=100, ignore_range=True)] * 50)


@pytest.mark.parametrize("facts", ["", "300000", f"{hashlib.md5(BODY).hexdigest()}"])
def test_bytes_behind_the_end_are_not_taken(facts: str, server: Server, tmp_path: Path) -> None:
    """More than Content-Length says; the next file comes over the same connection, where the rest still lies."""
    server.files = {BOOK: BODY, "/b.txt": b"next"}
    server.tricks[BOOK] = [Trick(surplus=b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")]
    fetch_list(server, tmp_path / "out", f"{{url}}{BOOK} {facts}", "{url}/b.txt", connections=1)
    assert (tmp_path / "out/127.0.0.1/books/a.txt").read_bytes() == BODY
    assert (tmp_path / "out/127.0.0.1/b.txt").read_bytes() == b"next"


def test_a_body_that_does_not_end_is_cut_where_the_file_ends(server: Server, tmp_path: Path) -> None:
    """Without Content-Length nothing but the published size says when it is enough."""
    endless = Trick(no_length=True, surplus=bytes(10_000_000))
    assert fetch_one(server, tmp_path / "once", endless, facts="300000") == BODY
    assert server.of(BOOK)[1].headers["Cache-Control"] == "no-cache"
    with pytest.raises(
        UserError, match=r"a\.txt: more than the 300,000 bytes of the file, twice in a row; the file was"
    ):
        fetch_one(server, tmp_path / "always", endless, endless, facts="300000")
    assert [path.name for path in (tmp_path / "always").rglob("*") if path.is_file()] == [".lock"]


def test_a_range_that_does_not_end_is_cut_where_the_file_ends(server: Server, tmp_path: Path) -> None:
    endless = Trick(no_length=True, surplus=bytes(10_000_000))
    assert fetch_one(server, tmp_path / "out", Trick(drop_after=100_000), endless) == BODY
    assert ranges(server) == ["", "bytes=100000-", ""]


def test_the_server_is_waited_for_as_long_as_it_asks(server: Server, tmp_path: Path) -> None:
    busy = [Trick(status=429, headers={"Retry-After": "1"}), Trick(status=503)]
    assert fetch_one(server, tmp_path / "out", *busy) == BODY
    first, second, third = (asked.time for asked in server.of(BOOK))
    assert second - first >= 1
    assert third - second < 1
    with pytest.raises(UserError, match=r"HTTP 503 Service Unavailable; the server asks to come back in 86,400 s"):
        fetch_one(server, tmp_path / "later", Trick(status=503, headers={"Retry-After": "86400"}))


def test_retry_after_may_be_a_date() -> None:
    assert retry_after("Tue, 24 Nov 2099 10:00:00 GMT") > 1e9
    assert [retry_after(value) for value in ("2", "-1", "", "soon")] == [2, 0, 0, 0]


def test_silence_is_a_failed_attempt(server: Server, tmp_path: Path) -> None:
    assert fetch_one(server, tmp_path / "out", Trick(pause_after=65_536), timeout_s=0.3) == BODY
    assert ranges(server)[0] == "bytes=65536-"  # the log of the request that still hangs comes last


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:9/simplewiki/.*refused.*; gave up after 4 attempts"):
        fetch(config("wikipedia", "http://127.0.0.1:9", language="simple"), tmp_path / "out")


def test_a_refusal_is_not_tried_again(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"1 of 1 files could not be fetched: http.*a\.txt: HTTP 401 Unauthorized"):
        fetch_one(server, tmp_path / "out", Trick(status=401))
    assert len(server.of(BOOK)) == 1


# ---- manners ---------------------------------------------------------------------------------------------------


def test_requests_and_bytes_are_paced(server: Server, tmp_path: Path) -> None:
    names = [f"/{number}.txt" for number in range(5)]
    server.files = dict.fromkeys(names, bytes(40_000))
    start = time.monotonic()
    fetch_list(server, tmp_path / "out", *(f"{{url}}{name}" for name in names), requests_per_s=20)
    assert time.monotonic() - start >= 4 / 20
    start = time.monotonic()
    fetch_list(server, tmp_path / "slow", *(f"{{url}}{name}" for name in names), megabytes_per_s=0.4)
    assert time.monotonic() - start >= 4 * 40_000 / 0.4e6
    assert {asked.headers["User-Agent"].partition("/")[0] for asked in server.log} == {"penstock"}


def test_a_contact_is_part_of_the_user_agent(server: Server, tmp_path: Path) -> None:
    fetch_one(server, tmp_path / "out", contact="data@lab.example")
    assert "; data@lab.example)" in server.log[0].headers["User-Agent"]


def test_the_proxy_of_the_environment_is_used(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files["/cache/epub/11/pg11.txt"] = b"Alice"
    asked: list[str] = []
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with proxy(server.url, asked) as url:
        monkeypatch.setenv("http_proxy", url)
        fetch(config("books", "http://books.invalid", gutenberg=[11]), tmp_path / "out")
    assert asked == ["http://books.invalid/cache/epub/11/pg11.txt"]
    assert (tmp_path / "out/pg11.txt").read_bytes() == b"Alice"


def test_a_certificate_nobody_vouches_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused at once, in a line that names the variable which helps; SSL_CERT_FILE is one that does not."""
    certificate, tls = self_signed(tmp_path)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with web_server(tls) as server:
        server.files["/cache/epub/11/pg11.txt"] = b"Alice"
        book = config("books", server, gutenberg=[11])
        with pytest.raises(
            UserError, match=r"pg11\.txt: the certificate is not trusted \(.*self-signed certificate"
        ) as error:
            fetch(book, tmp_path / "out")
        (variable,) = re.findall(r"\); (\w+) names a bundle to trust$", str(error.value).splitlines()[0])
        assert server.log == [], "nothing was said to it"
        monkeypatch.setenv(variable, str(certificate))
        fetch(book, tmp_path / "out")
    assert (tmp_path / "out/pg11.txt").read_bytes() == b"Alice"


# ---- the whole fetch -------------------------------------------------------------------------------------------


def test_a_second_run_moves_nothing_and_more_files_may_join(server: Server, tmp_path: Path) -> None:
    server.files = {"/a.txt": b"first", "/b.txt": b"second"}
    out = tmp_path / "out"
    fetch_list(server, out, "{url}/a.txt")
    before = (out / "manifest.json").read_bytes()
    fetch_list(server, out, "{url}/a.txt")
    assert (out / "manifest.json").read_bytes() == before
    made = fetch_list(server, out, "{url}/b.txt")
    assert [asked.path for asked in server.log] == ["/a.txt", "/b.txt"]
    assert made.counts == {"files": 2, "bytes": 11, "missing": 0}
    assert made.inputs["127.0.0.1/a.txt"] == f'{server.url}/a.txt "{sha(b"first", "md5")}"'
    assert verify(out) == ([], 2)
    (out / "127.0.0.1/a.txt").write_bytes(b"f1rst")
    assert "a.txt: damaged" in verify(out)[0][0]


def test_a_cut_file_is_fetched_again(server: Server, tmp_path: Path) -> None:
    fetch_one(server, tmp_path / "out")
    (tmp_path / "out/127.0.0.1/books/a.txt").write_bytes(b"cut")
    assert fetch_one(server, tmp_path / "out") == BODY


def test_another_version_is_not_mixed_in(server: Server, tmp_path: Path) -> None:
    fetch_one(server, tmp_path / "out", facts=sha(BODY))
    with pytest.raises(UserError, match=r"a\.txt is of another version .*; name another folder"):
        fetch_one(server, tmp_path / "out", facts=sha(b"new"))
    (tmp_path / "stage").mkdir()
    manifest = json.loads((tmp_path / "out/manifest.json").read_text()) | {"stage": "clean"}
    (tmp_path / "stage/manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="is the output of 'clean'; name another folder"):
        fetch_one(server, tmp_path / "stage")


def test_missing_files_do_not_keep_the_others_from_coming(server: Server, tmp_path: Path) -> None:
    server.files = {"/a.txt": b"first"}
    lines = ["{url}/a.txt", "{url}/gone.txt"]
    with pytest.raises(
        UserError, match=r"1 of 2 files are not on the server: .*gone\.txt: HTTP 404 Not Found"
    ) as error:
        fetch_list(server, tmp_path / "out", *lines)
    assert "--set max_missing_rate=0.5 accepts it" in str(error.value)
    assert not (tmp_path / "out/manifest.json").exists()
    made = fetch_list(server, tmp_path / "out", *lines, max_missing_rate=0.5)
    assert made.counts == {"files": 1, "bytes": 5, "missing": 1}
    assert [asked.method for asked in server.of("/a.txt")] == ["GET", "HEAD"], "it was there already"


def test_kill_and_go_on(server: Server, tmp_path: Path) -> None:
    """kill -9 in the middle of a file; the rerun asks for the rest of it, and for nothing of what was whole."""
    server.files = {"/a.txt": b"whole", "/b.txt": BODY}
    server.tricks["/b.txt"] = [Trick(pause_after=200_000)]
    (tmp_path / "list.txt").write_text(f"{server.url}/a.txt {sha(b'whole')}\n{server.url}/b.txt {sha(BODY)}\n")
    out, part = tmp_path / "out", tmp_path / "out/127.0.0.1/.b.txt.part"
    settings = [f"urls={tmp_path / 'list.txt'}", "requests_per_s=100", "connections=1"]
    arguments = ["fetch", "books", str(out), *(word for setting in settings for word in ("--set", setting))]
    with started([sys.executable, "-m", "pipeline", *arguments], tmp_path / "log") as process:
        wait_for(lambda: part.exists() and part.stat().st_size > 100_000, 30, "half of the file")
        kill(process.pid)
    had = part.stat().st_size
    server.gate.set()
    wait_for(lambda: server.of("/b.txt"), 10, "the log of the first attempt")
    done = penstock(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"files": 2, "bytes": 300_005, "missing": 0}
    assert (out / "127.0.0.1/b.txt").read_bytes() == BODY
    assert [asked.num_sent for asked in server.of("/b.txt")] == [200_000, 300_000 - had]
    assert len(server.of("/a.txt")) == 1
    assert "2 files, all as written" in penstock("verify", out).stdout


def test_ctrl_c_ends_at_once_and_the_next_call_goes_on(server: Server, tmp_path: Path) -> None:
    """While one file is in silence, another waits for its headers, and a third for its turn."""
    server.files = {"/a.txt": BODY, "/b.txt": BODY, "/c.txt": BODY}
    server.tricks = {"/a.txt": [Trick(pause_after=200_000)], "/b.txt": [Trick(pause_before=True)]}
    (tmp_path / "list.txt").write_text("".join(f"{server.url}{name} {sha(BODY)}\n" for name in server.files))
    out, part = tmp_path / "out", tmp_path / "out/127.0.0.1/.a.txt.part"
    settings = [f"urls={tmp_path / 'list.txt'}", "requests_per_s=100", "connections=2"]
    arguments = ["fetch", "books", str(out), *(word for setting in settings for word in ("--set", setting))]
    with started([sys.executable, "-m", "pipeline", *arguments], tmp_path / "log") as process:
        wait_for(
            lambda: part.exists() and part.stat().st_size > 100_000 and server.num_waiting == 2, 30, "half of the file"
        )
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(20) == 130, (tmp_path / "log").read_text()
    assert (tmp_path / "log").read_text().splitlines()[
        -1
    ] == "penstock: interrupted; what is done stays: run the same command again to go on"
    assert sorted(path.name for path in part.parent.iterdir()) == [".a.txt.part", ".a.txt.part.json"]
    had = part.stat().st_size
    server.gate.set()
    done = penstock(*arguments, "--json")
    assert json.loads(done.stdout) == {"files": 3, "bytes": 900_000, "missing": 0}, done.stderr
    assert [asked.headers.get("Range", "") for asked in server.of("/a.txt")] == ["", f"bytes={had}-"]
    assert verify(out) == ([], 3)


def test_two_at_once_into_one_folder(server: Server, tmp_path: Path) -> None:
    """The second is refused at once, moves nothing, and does no harm to the first."""
    server.files[BOOK] = BODY
    server.tricks[BOOK] = [Trick(pause_after=200_000)]
    (tmp_path / "list.txt").write_text(f"{server.url}{BOOK} {sha(BODY)}\n")
    out, part = tmp_path / "out", tmp_path / "out/127.0.0.1/books/.a.txt.part"
    arguments = ["fetch", "books", str(out), "--set", f"urls={tmp_path / 'list.txt'}", "--set", "timeout_s=20"]
    with started([sys.executable, "-m", "pipeline", *arguments], tmp_path / "log") as first:
        wait_for(lambda: part.exists() and part.stat().st_size > 100_000, 30, "half of the file")
        second = penstock(*arguments)
        assert (second.returncode, second.stderr) == (
            2, f"penstock: another process is at work in {out}; wait for it, or name another folder\n"
        )  # fmt: skip
        assert server.log == [], "it asked for nothing"
        server.gate.set()
        assert first.wait(60) == 0, (tmp_path / "log").read_text()
    assert (out / "127.0.0.1/books/a.txt").read_bytes() == BODY
    assert verify(out) == ([], 1)


def test_a_full_disk_is_one_line_and_keeps_what_came(server: Server, tmp_path: Path) -> None:
    server.files[BOOK] = BODY
    (tmp_path / "list.txt").write_text(f"{server.url}{BOOK}\n")
    arguments = ["fetch", "books", tmp_path / "out", "--set", f"urls={tmp_path / 'list.txt'}"]
    full = penstock(*arguments, max_file_kib=128)
    assert full.returncode == 2, full.stderr
    assert full.stderr.startswith("penstock: no room left on the disk")
    assert len(full.stderr.splitlines()) == 1
    assert penstock(*arguments).returncode == 0
    assert sum(asked.num_sent for asked in server.of(BOOK)[1:]) == len(BODY) - (128 << 10)


def test_room_is_counted_before_anything_comes(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"1,000,000\.00 GB are to come and .* GB are free; make room"):
        fetch_list(server, tmp_path / "out", f"{{url}}{BOOK} {10**15}")
    assert server.log == []


def test_dry_run_lists_and_writes_nothing(server: Server, tmp_path: Path) -> None:
    server.files[BOOK] = BODY
    (tmp_path / "list.txt").write_text(f"{server.url}{BOOK} {sha(BODY)}\n{server.url}/b.txt 2000000\n")
    out = tmp_path / "out"
    shown = penstock("fetch", "books", out, "--dry-run", "--set", f"urls={tmp_path / 'list.txt'}").stdout.splitlines()
    assert shown[0].split() == ["300.0", "kB", "127.0.0.1/books/a.txt", f"sha256:{sha(BODY)}"]
    assert shown[2].split() == ["2.3", "MB", "in", "2", "files"]
    assert not out.exists()
    assert [asked.method for asked in server.log] == ["HEAD"]


def test_mistakes_of_the_command(tmp_path: Path) -> None:
    said = penstock("fetch", "wikipeda", tmp_path / "out")
    assert (said.returncode, said.stderr.splitlines()) == (
        2, ["penstock: unknown name 'wikipeda'; did you mean 'wikipedia'?"]
    )  # fmt: skip
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is a file; name a folder"), web_server() as server:
        fetch_list(server, tmp_path / "file")


# ---- listings --------------------------------------------------------------------------------------------------


def publish_dump(server: Server, date: str, status: str = "done", sums: bool = True) -> dict[str, bytes]:
    """A dump of two files, as the public host lays it out."""
    prefix = f"simplewiki-{date}-pages-articles-multistream"
    files = {f"{prefix}.xml.bz2": BODY, f"{prefix}-index.txt.bz2": b"index"}
    facts = {
        name: {"size": len(body), "url": f"/simplewiki/{date}/{name}"} | ({"sha1": sha(body, "sha1")} if sums else {})
        for name, body in files.items()
    }
    jobs = {JOB: {"status": status, "files": facts}, "articlesdump": {"status": "done", "files": {"x": {}}}}
    folder = f"/simplewiki/{date}"
    server.files |= {f"{folder}/{name}": body for name, body in files.items()}
    server.files[f"{folder}/dumpstatus.json"] = json.dumps({"version": "0.8", "jobs": jobs}).encode()
    lines = [f"{sha(body, 'sha1')}  {name}" for name, body in files.items()]
    server.files[f"{folder}/simplewiki-{date}-sha1sums.txt"] = "\n".join(lines).encode()
    dates = sorted({path.split("/")[2] for path in server.files if path.count("/") == 3})
    links = "".join(f'<a href="{date}/">{date}/</a>' for date in dates)
    server.files["/simplewiki/"] = f'<a href="../">../</a>{links}<a href="latest/">latest/</a>'.encode()
    return files


@pytest.mark.parametrize("sums", [True, False])
def test_wikipedia(sums: bool, server: Server, tmp_path: Path) -> None:
    files = publish_dump(server, "20260901", sums=sums)
    made = fetch(config("wikipedia", server, language="simple", date=20260901), tmp_path / "out")
    assert {name: (tmp_path / "out" / name).read_bytes() for name in files} == files
    assert [entry.name for entry in made.files] == sorted(files)
    index = "simplewiki-20260901-pages-articles-multistream-index.txt.bz2"
    assert made.inputs[index] == f"{server.url}/simplewiki/20260901/{index} sha1:{sha(b'index', 'sha1')}"


def test_the_latest_dump_is_the_newest_that_is_finished(server: Server) -> None:
    for date, status in (("20260801", "done"), ("20260901", "done"), ("20260920", "in-progress")):
        publish_dump(server, date, status)
    server.files["/simplewiki/20261001/x"] = b""
    publish_dump(server, "20260820")
    names = [file.name for file in list_files(config("wikipedia", server, language="simple"))]
    assert all(name.startswith("simplewiki-20260901-") for name in names)


def test_a_dump_that_is_not_there_names_those_that_are(server: Server, tmp_path: Path) -> None:
    publish_dump(server, "20260901")
    publish_dump(server, "20260920", "in-progress")
    for date, state in (("20260902", "not there"), ("20260920", "in-progress")):
        with pytest.raises(UserError, match=rf"the articles of simplewiki {date} are {state}; there are: .*20260901"):
            list_files(config("wikipedia", server, language="simple", date=date))
    with pytest.raises(UserError, match=r"no dump of xxwiki: .* is 'xx' the code of a Wikipedia\?"):
        list_files(config("wikipedia", server, language="xx"))


def test_a_damaged_status_is_refused(server: Server) -> None:
    publish_dump(server, "20260901", sums=False)
    server.files["/simplewiki/20260901/simplewiki-20260901-sha1sums.txt"] = b"nothing here"
    wanted = config("wikipedia", server, language="simple", date="20260901")
    with pytest.raises(UserError, match=r"simplewiki 20260901: no sum is published for simplewiki-20260901-pages"):
        list_files(wanted)
    server.files["/simplewiki/20260901/dumpstatus.json"] = b"[]"
    with pytest.raises(UserError, match=r"dumpstatus\.json is no status of a dump: TypeError"):
        list_files(wanted)
    for job, error in (
        ({}, "KeyError: 'files'"),
        ({"files": [1]}, "AttributeError"),
        ({"files": {"a": 5}}, "AttributeError"),
        ({"files": {"a": {"sha1": 5}}}, "TypeError"),
        ({"files": {"a": {"sha1": "zz"}}}, "ValueError: 'zz' is no md5, sha1 or sha256"),
    ):
        told = {"jobs": {JOB: {"status": "done"} | job}}
        server.files["/simplewiki/20260901/dumpstatus.json"] = json.dumps(told).encode()
        with pytest.raises(UserError, match=rf"dumpstatus\.json is no status of a dump: {error}"):
            list_files(wanted)
    told = {"jobs": {JOB: {"status": "done", "files": {"a": {"sha1": "a" * 40, "size": "1"}}}}}
    server.files["/simplewiki/20260901/dumpstatus.json"] = json.dumps(told).encode()
    with pytest.raises(UserError, match="the listing says that it has '1' bytes"):
        list_files(wanted)


def test_cc_news(server: Server, tmp_path: Path) -> None:
    folder = "/crawl-data/CC-NEWS/2026/09"
    paths = [f"{folder}/CC-NEWS-2026090{day}000000-00001.warc.gz" for day in (1, 2, 3)]
    server.files = {path: path.encode() for path in paths}
    listing = "\n".join(path[1:] for path in paths)
    server.files[f"{folder}/warc.paths.gz"] = gzip.compress(listing.encode())
    made = fetch(config("cc_news", server, month="2026-09", num_files=2), tmp_path / "out")
    assert [entry.name for entry in made.files] == [path.rpartition("/")[2] for path in paths[:2]]
    assert (tmp_path / "out" / made.files[1].name).read_bytes() == paths[1].encode()
    server.files[f"{folder}/warc.paths.gz"] = b"no gzip"
    with pytest.raises(UserError, match=r"warc\.paths\.gz is no listing: Not a gzipped file"):
        list_files(config("cc_news", server, month="2026-09"))
    server.files[f"{folder}/warc.paths.gz"] = gzip.compress(b"")
    with pytest.raises(UserError, match=r"warc\.paths\.gz lists no file yet"):
        list_files(config("cc_news", server, month="2026-09"))


def test_a_month_that_is_not_there_names_those_that_are(server: Server) -> None:
    wanted = config("cc_news", server, month="2026-12")
    with pytest.raises(UserError, match=r"no CC-News of 2026-12: .*HTTP 404 Not Found; the first one was 2016-08"):
        list_files(wanted)
    months = "".join(f'<a href="{year}/{month:02}/warc.paths.gz">' for year in (2016, 2026) for month in range(8, 12))
    server.files["/crawl-data/CC-NEWS/index.html"] = months.encode()
    with pytest.raises(UserError, match=r"there are: 2016-08, .*2026-08, 2026-09, 2026-10, 2026-11$"):
        list_files(wanted)


def test_book_lists(server: Server, tmp_path: Path) -> None:
    lines = [
        "# books",
        f"https://a.example/x/rain.txt {'0' * 64} 12",
        "https://a.example/get?id=../../1 7",
        json.dumps({"page": "p", "epub": "http://b.example/r.epub", "txt": "http://b.example/r.txt", "md5": "A" * 32}),
        json.dumps({"url": "http://b.example/r.txt", "name": "named/r.txt", "size": 3}),
    ]
    (tmp_path / "list").write_text("\n".join(lines))
    server.files["/list"] = (tmp_path / "list").read_bytes()
    expected = [
        RemoteFile("https://a.example/x/rain.txt", "a.example/x/rain.txt", 12, f"sha256:{'0' * 64}"),
        RemoteFile("https://a.example/get?id=../../1", "a.example/get?id=../_/1", 7),
        RemoteFile("http://b.example/r.txt", "b.example/r.txt", None, f"md5:{'a' * 32}"),
        RemoteFile("http://b.example/r.txt", "named/r.txt", 3),
    ]
    from pipeline.sources.fetch import books
    from pipeline.sources.fetch.web import Web

    for urls in (str(tmp_path / "list"), f"{server.url}/list"):
        chosen = config("books", server, urls=urls)
        assert books.listing(chosen, Web(chosen)) == expected
    chosen = config("books", server, gutenberg=[11, "1341-1342"])
    assert [file.url.removeprefix(server.url) for file in books.listing(chosen, Web(chosen))] == [
        "/cache/epub/11/pg11.txt", "/cache/epub/1341/pg1341.txt", "/cache/epub/1342/pg1342.txt"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ftp://a/b", r"line 1: 'ftp://a/b' is no http\(s\) URL of a file"),
        ("http://a/b abc", "line 1: 'abc' is no md5, sha1 or sha256"),
        ("http://a/b 1 2", r"line 1: expected URL \[SUM\] \[SIZE\]"),
        ('{"url": "http://a/b", "name": "../b"}', r"the listing names it '\.\./b', which is no file name to write to"),
        ('{"url": "http://a/b", "name": "manifest.json"}', "which is no file name to write to"),
        ('{"url": "http://a/b", "name": "/etc/passwd"}', "which is no file name to write to"),
        (
            '{"url": "http://a/b", "name": "x"}\n{"url": "http://a/c", "name": "x"}',
            "two books are called x: http://a/b",
        ),
        ("{broken", "line 1: Expecting property name"),
        ('{"url": ' + "[" * 100_000, "line 1: maximum recursion depth exceeded"),
        ('{"url": "http://a/b", "size": Infinity}', "line 1: cannot convert float infinity to integer"),
        ('{"url": "http://a/b", "size": -5}', "the listing says that it has -5 bytes"),
        ('{"url": "http://a/b", "name": "\\ud83d"}', "which is no file name to write to"),
    ],
)
def test_lists_that_are_wrong(line: str, message: str, server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        fetch_list(server, tmp_path / "out", line)


def test_settings_that_are_wrong(server: Server, tmp_path: Path) -> None:
    for name, settings, message in (
        ("books", {}, "nothing to fetch: name a list"),
        ("books", {"gutenberg": ["x"]}, "gutenberg: 'x' is no number and no range like 2700-2710"),
        ("books", {"gutenberg": ["20-11"]}, "gutenberg: '20-11' is no number and no range like 2700-2710"),
        ("books", {"gutenberg": [1], "path": "{id}.txt"}, "path: '{id}.txt' has braces around something else"),
        ("wikipedia", {}, "language: required, but not given"),
        ("wikipedia", {"language": "en", "date": "yesterday"}, "date: String should match"),
        ("cc_news", {"month": "2026"}, "month: String should match"),
        ("cc_news", {"month": "2026-09", "base_url": "s3://x"}, "base_url: String should match"),
    ):
        with pytest.raises(ConfigError, match=message):
            config(name, server, **settings)
    with pytest.raises(UserError, match=r"cannot read the list .*missing: No such file"):
        fetch(config("books", server, urls=str(tmp_path / "missing")), tmp_path / "out")
    assert published_sum("A" * 40) == f"sha1:{'a' * 40}"
