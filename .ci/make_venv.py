"""`python3 make_venv.py FOLDER`: a venv with pip, also where Debian's python3 comes without python3-venv.

Debian splits ensurepip off into a package that needs root to install. Without it, pip's wheel is taken from the
package index (PIP_INDEX_URL, else PyPI), checked against the index's sha256, and installs itself.
"""

import hashlib
import importlib.util
import json
import os
import re
import ssl
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
import venv
from pathlib import Path

INDEX = "https://pypi.org/simple"
RELEASED = re.compile(r"pip-([\d.]+)-py3-none-any\.whl$")


def main(folder: Path) -> None:
    if sys.version_info < (3, 11):  # noqa: UP036  (whoever calls this may have any Python)
        sys.exit(f"penstock needs Python 3.11 or newer, this is {sys.version.split()[0]}: make PYTHON=python3.12 ...")
    with_pip = importlib.util.find_spec("ensurepip") is not None
    venv.create(folder, with_pip=with_pip, symlinks=True)
    if not with_pip:
        with tempfile.TemporaryDirectory() as temporary:
            wheel = fetch_pip(Path(temporary))
            subprocess.run(
                [folder / "bin/python", wheel / "pip", "install", "--quiet", "--no-index", wheel], check=True
            )


def fetch_pip(folder: Path) -> Path:
    """pip's newest wheel for any Python 3."""
    index = os.environ.get("PIP_INDEX_URL", INDEX).rstrip("/") + "/pip/"
    listing = json.loads(get(index, accept="application/vnd.pypi.simple.v1+json"))
    wheels = [file for file in listing["files"] if RELEASED.match(file["filename"]) and not file.get("yanked")]
    newest = max(wheels, key=lambda file: tuple(map(int, RELEASED.match(file["filename"])[1].split("."))))
    body = get(urllib.parse.urljoin(index, newest["url"]))
    if hashlib.sha256(body).hexdigest() != newest["hashes"]["sha256"]:
        sys.exit(f"{newest['filename']}: its sha256 is not the index's")
    path = folder / newest["filename"]
    path.write_bytes(body)
    return path


def get(url: str, accept: str = "*/*") -> bytes:
    context = ssl.create_default_context(cafile=os.environ.get("PIP_CERT"))
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, context=context, timeout=60) as response:
        return response.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
