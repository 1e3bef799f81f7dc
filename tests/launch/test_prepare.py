"""launch/prepare.sh on one machine; on a cluster it is the same command with a Ray around it."""

import subprocess
from pathlib import Path

from pipeline.core.manifest import stage_folders
from tests.processes import ROOT


def launch(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["launch/prepare.sh", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True,
                          timeout=300, check=False)  # fmt: skip


def test_it_prepares_what_the_config_names(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    text = "The quick brown fox and the lazy dog have to be in that story with all of the others. " * 12
    lines = "".join(f'{{"text": "{number} {text}"}}\n' for number in range(60))
    (tmp_path / "in" / "a.jsonl").write_text(lines)
    settings = [f"input={tmp_path / 'in'}", "sources=[jsonl]", "clean.filters=[unicode]", "dedup.near=false",
                "tokenizer.vocab_size=300", "num_workers=1"]  # fmt: skip
    chosen = [part for setting in settings for part in ("--set", setting)]
    done = launch("configs/data/sample.yaml", "--out", tmp_path / "out", *chosen)
    assert done.returncode == 0, done.stderr
    assert list(stage_folders(tmp_path / "out")) == ["sources", "clean", "dedup", "tokenizer", "shards"]


def test_mistakes_end_with_two() -> None:
    for arguments, said in (
        ((), "sbatch"),
        (("--out", "x"), "sbatch"),
        (("configs/data/sample.yaml",), "--out is missing"),
    ):
        refused = launch(*arguments)
        assert refused.returncode == 2
        assert said in refused.stderr
        assert "Traceback" not in refused.stderr
