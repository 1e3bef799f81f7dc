"""`ray job submit -- penstock prepare ...`, on a real `ray start --head` with its job server and a token."""

import os
import re
import secrets
import shlex
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.core.ports import free_port
from tests.processes import ROOT, found, penstock, started, title, wait_for, with_environment
from tests.test_prepare import arguments, tree

pytestmark = pytest.mark.slow

RAY = Path(sys.executable).parent / "ray"
MARK = "PENSTOCK_TEST_JOBS"  # in the environment of all processes of the server


@dataclass(frozen=True)
class JobServer:
    address: str
    environment: dict[str, str]
    log: Path

    def job(self, verb: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """`ray job VERB` on this server, as its user would type it."""
        command = [RAY, "job", verb, "--address", self.address, *arguments]
        return subprocess.run(command, cwd=ROOT, env=os.environ | self.environment | environment, capture_output=True,
                              text=True, timeout=300, check=False)  # fmt: skip

    def submit(self, *command: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        return self.job("submit", *options, "--", *command)

    def answers(self) -> bool:
        try:
            return self.status(self.environment["RAY_AUTH_TOKEN"]) == 200
        except OSError:
            return False

    def status(self, token: str) -> int:
        """Of HTTP, to a question which jobs there are."""
        request = urllib.request.Request(f"{self.address}/api/jobs/", headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobServer]:
    port, dashboard, client, agent = (free_port() for _ in range(4))
    mark, log = uuid.uuid4().hex, tmp_path_factory.mktemp("ray") / "log"
    environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    head = JobServer(f"http://127.0.0.1:{dashboard}", environment, log)
    with tempfile.TemporaryDirectory(prefix="penstock-", dir="/tmp", ignore_cleanup_errors=True) as temporary:
        command = [str(RAY), "start", "--head", "--block", "--num-cpus=2", "--node-ip-address=127.0.0.1",
                   f"--port={port}", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}",
                   f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}",
                   f"--temp-dir={temporary}", "--disable-usage-stats"]  # fmt: skip
        extra = {MARK: mark, "RAY_JOB_STOP_WAIT_TIME_S": "60"}
        with started(command, log, **environment, **extra) as process:
            wait_for(lambda: head.answers() or process.poll() is not None, 120, "the job server")
            assert process.poll() is None, log.read_text()
            yield head
            process.terminate()
            process.wait(timeout=60)
        wait_for(lambda: not any(map(title, with_environment(f"{MARK}={mark}"))), 60, "the end of all its processes")


def small(folder: Path) -> list[str]:
    """What prepare is told, without `--out`: sixty documents."""
    folder.mkdir()
    text = "The quick brown fox and the lazy dog have to be in that story with all of the others. " * 12
    (folder / "a.jsonl").write_text("".join(f'{{"text": "{number} {text}"}}\n' for number in range(60)))
    settings = [f"input={folder}", "sources=[jsonl]", "clean.filters=[unicode]", "dedup.near=false",
                "tokenizer.vocab_size=300"]  # fmt: skip
    chosen = [part for setting in settings for part in ("--set", setting)]
    return ["prepare", "--config", "configs/data/sample.yaml", *chosen]


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "pipeline", *map(str, arguments)]


def drivers(out: Path) -> list[str]:
    """Titles of processes that were started to write `out`."""
    titles = [title(int(entry.name)) for entry in Path("/proc").glob("[0-9]*")]
    return [line for line in titles if str(out) in line]


def test_a_submitted_prepare_has_the_bytes_of_an_embedded_one(server: JobServer, tmp_path: Path) -> None:
    told = small(tmp_path / "in")
    alone = penstock(*told, "--out", tmp_path / "alone")
    assert alone.returncode == 0, alone.stderr
    done = server.submit(*command(*told, "--out", tmp_path / "job"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "succeeded" in done.stdout
    assert "Documents" in done.stdout, "what prepare says is seen where it was submitted"
    assert not re.search("warn|Traceback", done.stdout, re.IGNORECASE)
    assert tree(tmp_path / "job") == tree(tmp_path / "alone")


def test_a_failed_prepare_fails_the_submission(server: JobServer, tmp_path: Path) -> None:
    """Ray makes 1 of every exit code; the code of ours and its one line are in what it prints."""
    told = small(tmp_path / "in")
    failed = server.submit(*command(*told, "--out", tmp_path / "out", "--set", "input=/nowhere"))
    assert failed.returncode == 1, failed.stdout
    assert "penstock: input folder /nowhere does not exist" in failed.stdout
    assert "exit code 2" in failed.stdout
    assert "Traceback" not in failed.stdout
    assert not (tmp_path / "out").exists()


def test_the_server_wants_the_token(server: JobServer, tmp_path: Path) -> None:
    assert server.status("0" * 64) in (401, 403)
    refused = server.job("submit", "--", "touch", str(tmp_path / "ran"), RAY_AUTH_TOKEN="0" * 64)
    assert refused.returncode != 0
    assert not (tmp_path / "ran").exists()


def test_a_stopped_job_ends_cleanly_and_the_same_submission_goes_on(
    server: JobServer, sample: Path, prepared: Path, tmp_path: Path
) -> None:
    out = tmp_path / "data"
    told = command(*arguments(sample, out))
    ending = f"trap : TERM; {shlex.join(told)}; echo ended with $?"  # prepare's own code, which Ray does not keep
    begun = server.submit("bash", "-c", ending, options=("--no-wait", "--submission-id", "stopped"))
    assert begun.returncode == 0, begun.stdout + begun.stderr
    wait_for(lambda: found(out, "clean-*/**/.attempt-*"), 180, "an attempt in clean")
    assert drivers(out)
    stopped = server.job("stop", "stopped")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert "was stopped" in stopped.stdout
    said = server.job("logs", "stopped").stdout
    assert "penstock: stopped as told; the same command goes on" in said
    assert "ended with 75" in said
    assert not (out / "manifest.json").exists()
    assert [path.name for path in out.rglob(".*") if path.name != ".lock"] == []
    assert not drivers(out)

    again = server.submit(*told)
    assert again.returncode == 0, again.stdout + again.stderr
    assert re.search("sources +done already", again.stdout)
    assert tree(out) == tree(prepared)
