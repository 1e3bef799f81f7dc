"""`penstock demo`: the whole way on one machine, as the commands a person would type, shown as they run.

sample -> prepare -> pretrain (tp=2, one rank killed with SIGKILL) -> resume (pp=2) -> export -> fine-tune -> evaluate
-> generate, then one table. Every step is a command of its own; a second run skips what is done.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.core.errors import PenstockError, UnhealthyNode, UserError
from pipeline.core.manifest import SUMMARY
from pipeline.prepare import Summary
from pipeline.train.metrics import EVENTS, METRICS
from pipeline.train.metrics import read as read_records

ROOT = Path(__file__).parent.parent  # of the checkout: configs/ and launch/ lie beside the package
PROMPT = "The function returns"
MARKER = ".penstock-demo"  # so that --fresh removes nothing but a demo


@dataclass(frozen=True)
class Row:
    """One line of the final table."""

    stage: str
    seconds: float
    figures: str


class DemoFailed(PenstockError):
    pass


def run(out: Path, fresh: bool = False) -> None:
    """All steps, then the table; raises DemoFailed naming the step that failed."""
    if fresh and out.exists():
        if not (out / MARKER).exists():
            raise UserError(f"{out} is not an earlier demo; --fresh will not remove it")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARKER).touch()
    Demo(out).run()


class Demo:
    def __init__(self, out: Path) -> None:
        self.out = out
        self.rows: list[Row] = []
        self.console = Console()

    def run(self) -> None:
        out, configs = self.out, _relative(ROOT / "configs")
        sample, data, pretrained, model = out / "sample", out / "data", out / "run", out / "model"
        launch = [str(_relative(ROOT / "launch" / "pretrain.sh")), str(configs / "pretrain" / "tiny.yaml")]
        launch += ["--out", str(pretrained), "--set", f"data.path={data}"]
        prepare = ["prepare", "--config", str(configs / "data" / "sample.yaml"), "--set", f"input={sample}"]
        topics = ["finetune", "--config", str(configs / "finetune" / "topics.yaml"), "--set", f"model={model}"]

        self.step("sample", ["penstock", "sample", str(sample)], lambda: _sample_figures(sample))
        self.step("prepare", ["penstock", *prepare, "--out", str(data)], lambda: _prepare_figures(data))
        if not any(pretrained.glob("checkpoints/step_*[0-9]")):  # else an earlier demo has come past this
            self.killed_pretrain([*launch, "--set", "parallel.tp=2"], pretrained)
        # The same command would do; another layout shows that a checkpoint belongs to none.
        resume = [*launch, "--set", "parallel.tp=1", "--set", "parallel.pp=2"]
        self.step("pretrain pp=2", resume, lambda: _pretrain_figures(pretrained))
        self.step("export", ["penstock", "export", str(pretrained), str(model)], lambda: _export_figures(model))
        self.step(
            "finetune",
            [
                "penstock",
                *topics,
                "--set",
                f"data={sample / 'finetune' / 'topics.jsonl'}",
                "--out",
                str(out / "topics"),
            ],
            lambda: _finetune_figures(out / "topics"),
        )
        self.step(
            "evaluate",
            ["penstock", "evaluate", str(model), "--tasks", "perplexity", "--data", str(data),
             "--out", str(out / "perplexity")],
            lambda: _perplexity_figures(out / "perplexity"),
        )  # fmt: skip
        self.step(
            "evaluate",
            ["penstock", "evaluate", str(out / "topics"), "--tasks", "classification",
             "--data", str(sample / "finetune" / "topics.jsonl"), "--out", str(out / "classification")],
            lambda: _classification_figures(out / "classification"),
        )  # fmt: skip
        sampling = ["--temperature", "0.8", "--top-p", "0.95"]
        self.generate(["penstock", "generate", str(model), "--prompt", PROMPT, *sampling])
        self.table()

    def step(self, stage: str, command: list[str], figures: Callable[[], str]) -> None:
        self.show(command)
        start = time.monotonic()
        result = subprocess.run(_real(command), check=False)
        if result.returncode != 0:
            raise DemoFailed(f"'{stage}' ended with exit code {result.returncode}: {shlex.join(command)}")
        self.rows.append(Row(stage, time.monotonic() - start, figures()))

    def generate(self, command: list[str]) -> None:
        self.show(command)
        start = time.monotonic()
        done = subprocess.run(_real(command), stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise DemoFailed(f"'generate' ended with exit code {done.returncode}")
        self.console.print(done.stdout, markup=False, highlight=False)
        seconds = time.monotonic() - start
        self.rows.append(Row("generate", seconds, f"{PROMPT} ...: {len(done.stdout) - len(PROMPT)} characters more"))

    def killed_pretrain(self, command: list[str], run_folder: Path) -> None:
        """Start a run on tp=2 and, once it has a checkpoint and is past it, kill -9 one of its ranks."""
        self.show(command)
        start = time.monotonic()
        process = subprocess.Popen(_real(command))
        try:
            while process.poll() is None and not _past_first_checkpoint(run_folder):
                time.sleep(0.2)
            if process.poll() is not None:
                raise DemoFailed(f"pretraining ended early with exit code {process.returncode}")
            pid = _pid_of_rank(1, process.pid)
            self.show(["kill", "-9", str(pid)], note="rank 1 of the run above")
            os.kill(pid, signal.SIGKILL)
            exit_code = process.wait()
        finally:
            process.terminate()
            process.wait()
        if exit_code != UnhealthyNode.exit_code:
            raise DemoFailed(f"a run that lost a rank ended with exit code {exit_code}, not {UnhealthyNode.exit_code}")
        step = _metrics(run_folder)[-1]["step"]
        text = f"rank 1 killed after step {step}; the run ended with exit code {exit_code}"
        self.rows.append(Row("pretrain tp=2", time.monotonic() - start, text))

    def show(self, command: list[str], note: str = "") -> None:
        self.console.print(f"\n[bold]$ {shlex.join(command)}[/bold]{'   # ' + note if note else ''}", highlight=False,
                           soft_wrap=True)  # fmt: skip

    def table(self) -> None:
        table = Table(title="\nThe whole way", title_justify="left")
        table.add_column("stage")
        table.add_column("seconds", justify="right")
        table.add_column("figures")
        for row in self.rows:
            table.add_row(row.stage, f"{row.seconds:.0f}", row.figures)
        table.add_row("total", f"{sum(row.seconds for row in self.rows):.0f}", str(self.out))
        self.console.print(table)


# ---- commands and processes ------------------------------------------------------------------------------------


def _real(command: list[str]) -> list[str]:
    """`penstock` as this interpreter runs it, whether or not the venv is on PATH."""
    return [sys.executable, "-m", "pipeline", *command[1:]] if command[0] == "penstock" else command


def _relative(path: Path) -> Path:
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def _pid_of_rank(rank: int, launcher: int) -> int:
    """Among the children of launch/pretrain.sh: another run on this machine is none of ours."""
    for child in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
        try:
            environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        except OSError:  # ended meanwhile
            continue
        if f"RANK={rank}".encode() in environment:
            return int(child)
    raise DemoFailed(f"found no process of rank {rank}")


def _metrics(run_folder: Path) -> list[dict[str, Any]]:
    return [record for record in read_records(run_folder / METRICS) if "loss" in record]


def _past_first_checkpoint(run_folder: Path) -> bool:
    steps = [int(path.name.removeprefix("step_")) for path in run_folder.glob("checkpoints/step_*[0-9]")]
    metrics = _metrics(run_folder)
    return bool(steps and metrics and metrics[-1]["step"] >= min(steps) + 5)


# ---- figures of the final table --------------------------------------------------------------------------------


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_bytes())


def _sample_figures(sample: Path) -> str:
    planted = len((sample / "truth.jsonl").read_text(encoding="utf-8").splitlines())
    megabytes = sum(path.stat().st_size for path in sample.rglob("*") if path.is_file()) / 1e6
    return f"{megabytes:.1f} MB of raw files, {planted} planted documents"


def _prepare_figures(data: Path) -> str:
    summary = Summary.model_validate_json((data / SUMMARY).read_bytes())
    sources, planted = summary.sources, summary.planted.values()
    tokens = sum(row["tokens"] for split in summary.tokens["splits"].values() for row in split.values())
    return (
        f"{sum(flow.documents_in for flow in sources):,} documents in, "
        f"{sum(flow.documents_kept for flow in sources):,} kept, {tokens:,} tokens; "
        f"planted: {sum(row.found for row in planted)} of {sum(row.planted for row in planted)} found"
    )


def _pretrain_figures(run_folder: Path) -> str:
    summary = _read(run_folder / "summary.json")
    resumed = [event["step"] for event in read_records(run_folder / EVENTS) if event["event"] == "resume"]
    return (
        f"resumed after step {resumed[-1] if resumed else 0}, done at {summary['step']}; validation loss "
        f"{summary['validation_loss']:.3f} (perplexity {summary['validation_perplexity']:.1f}), unigram entropy "
        f"{summary['unigram_entropy']:.3f}"
    )


def _export_figures(model: Path) -> str:
    parity = _read(model / "penstock.json")["parity"]
    return f"logits within {parity['max_abs_difference']:.1e} of the engine's (tolerance {parity['tolerance']:.0e})"


def _finetune_figures(topics: Path) -> str:
    return _accuracy(_read(topics / "results.json"))


def _classification_figures(folder: Path) -> str:
    return _accuracy(_read(folder / "results.json")["tasks"]["classification"])


def _accuracy(scores: dict[str, Any]) -> str:
    return (
        f"accuracy {scores['accuracy']:.3f}, macro F1 {scores['macro_f1']:.3f}; "
        f"majority {scores['majority_accuracy']:.3f}"
    )


def _perplexity_figures(folder: Path) -> str:
    scores = _read(folder / "results.json")["tasks"]["perplexity"]
    return (
        f"test perplexity {scores['perplexity']:.1f}, {scores['bits_per_byte']:.2f} bits per byte; unigram entropy "
        f"{scores['unigram_entropy']:.3f} nats, model {scores['nats_per_token']:.3f}"
    )
