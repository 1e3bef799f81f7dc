"""A server that speaks S3 (moto), a process of its own on loopback; and a relay before it that lets it die."""

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pytest
import requests

REGION = "us-east-1"


@dataclass(frozen=True)
class S3:
    url: str
    process: subprocess.Popen[str]

    def client(self, service: str = "s3") -> Any:
        import boto3

        return boto3.client(
            service, endpoint_url=self.url, region_name=REGION, aws_access_key_id="any", aws_secret_access_key="any"
        )

    def keys(self, name: str) -> tuple[str, str]:
        """Key and secret of a user who may do everything."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        everything = '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}'
        iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=everything)
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return made["AccessKeyId"], made["SecretAccessKey"]

    @contextmanager
    def asking_for_keys(self) -> Iterator[None]:
        """Every request has to be signed by a user there is."""
        self._reset_auth("0")
        try:
            yield
        finally:
            self._reset_auth("inf")

    def _reset_auth(self, num_free_requests: str) -> None:
        requests.post(f"{self.url}/moto-api/reset-auth", data=num_free_requests, timeout=30).raise_for_status()


@contextmanager
def s3_server(*options: str | Path) -> Iterator[S3]:
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        address = next(found[0] for line in process.stdout if (found := re.search(r"https?://127\.0\.0\.1:\d+", line)))
        threading.Thread(target=process.stdout.read, daemon=True).start()  # a full pipe would stop it
        yield S3(address, process)
    finally:
        process.kill()
        process.wait(30)


def environment(url: str, key: str = "any", secret: str = "any", **options: str) -> dict[str, str]:
    """What fsspec reads, in a process that knows of no other keys; it is s3fs that tries again, not botocore too."""
    facts = {
        "endpoint_url": url,
        "key": key,
        "secret": secret,
        "config_kwargs": '{"retries": {"total_max_attempts": 1}}',
    }
    return {f"FSSPEC_S3_{name.upper()}": value for name, value in (facts | options).items()}


def bucket_of(test: str, server: S3) -> str:
    """A new bucket with a name like that of the test."""
    name = re.sub(r"\W+|_", "-", test)[-60:].strip("-").lower()
    server.client().create_bucket(Bucket=name)
    return name


def configure(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    """fsspec as it would be in a process that began with these variables."""
    monkeypatch.setitem(fsspec.config.conf, "s3", {})
    fsspec.config.set_conf_env(fsspec.config.conf, variables)


@contextmanager
def relay(upstream: str, num_bytes: int, then: Callable[[], None]) -> Iterator[str]:
    """The same server at another address; `then` is called when so many bytes have come from it, and it is gone."""
    host, port = upstream.removeprefix("http://").split(":")
    left = [num_bytes]
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        with suppress(OSError):  # the other side has gone
            while left[0] > 0 and (piece := source.recv(16 << 10)):
                left[0] -= is_answer * len(piece)
                target.sendall(piece)
        if left[0] <= 0:
            then()
            listener.close()
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with suppress(OSError):  # closed
            while True:
                near, _ = listener.accept()
                far = socket.create_connection((host, int(port)))
                for ends in ((near, far, False), (far, near, True)):
                    threading.Thread(target=pump, args=ends, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()
