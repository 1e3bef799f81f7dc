"""Copies of an artifact to spoil."""

import json
import shutil
from pathlib import Path
from typing import Any


def copy(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to


def edit_manifest(folder: Path, key: str, value: Any) -> None:
    """Another value for one of the counts."""
    path = folder / "manifest.json"
    body = json.loads(path.read_bytes())
    body["counts"][key] = value
    path.write_text(json.dumps(body))
