"""What `penstock sample` plants, by kind."""

import json
from pathlib import Path
from typing import Any


def planted(sample: Path, kind: str) -> dict[str, Any]:
    """The first document of a kind: source, key, and what the kind adds."""
    lines = map(json.loads, (sample / "truth.jsonl").read_text(encoding="utf-8").splitlines())
    return next(line for line in lines if line["kind"] == kind)
