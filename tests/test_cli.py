"""The command as people meet it: help, exit codes, one line for every mistake."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.processes import ROOT, penstock, started, wait_for

VERBS = ["doctor", "sample", "fetch", "prepare", "plan", "pretrain", "export", "finetune", "evaluate", "generate",
         "verify", "pull", "explain", "demo", "ledger", "recipe", "dedup"]  # fmt: skip


def test_help_answers_in_half_a_second() -> None:
    def seconds() -> float:
        start = time.monotonic()
        assert penstock("--help").returncode == 0
        return time.monotonic() - start

    assert min(seconds() for _ in range(5)) < 0.5


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, pipeline.cli; print([m for m in ('torch','ray','pyarrow','numpy','pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


GROUPS = ["ledger summary", "ledger sample", "recipe list", "recipe show", "recipe diff", "dedup curve"]


@pytest.mark.parametrize("verb", [*VERBS[:-3], *GROUPS])
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    shown = penstock(*verb.split(), "--help")
    assert shown.returncode == 0
    assert "Example: " in shown.stdout


def test_the_help_lists_exactly_these_verbs() -> None:
    commands = penstock("--help").stdout.partition("Commands:")[2]
    assert [line.split()[0] for line in commands.splitlines() if line.startswith("  ") and line[2] != " "] == VERBS


def test_doctor_names_versions() -> None:
    done = penstock("doctor")
    assert done.returncode == 0
    assert "torch            2.13.0" in done.stdout


def mistake(*arguments: str | Path) -> str:
    """What the command says when the user is wrong: exit 2, no traceback."""
    done = penstock(*arguments)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stderr


def prepare(*settings: str, out: Path) -> list[str]:
    return ["prepare", "--config", "configs/data/sample.yaml", "--out", str(out),
            *(part for setting in settings for part in ("--set", setting))]  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("tokenizer.vocabsize=100", "tokenizer.vocabsize: unknown key; did you mean 'vocab_size'?"),
        ("clean.filters=[languag]", "clean.filters.0: unknown name 'languag'"),
        ("sources=[{name: wikipedia, path: x}]", "sources.0.path: unknown key; did you mean 'paths'?"),
        ("num_workers=many", "num_workers: expected a whole number, found 'many'"),
        ("num_workers=-1", "num_workers: expected at least 1, found -1"),
        ("sources=[{name: jsonl, label: .x}]", "sources.0.label:"),
        ("clean.filters=[{name: language, keep: [english]}]", "does not know english; did you mean en?"),
        ("clean.filters=[{name: blocklist, words: [no.txt]}]", "cannot read blocklist no.txt (in "),
        ("input=does/not/exist", "does/not/exist"),
    ],
)
def test_bad_prepare_settings(tmp_path: Path, setting: str, message: str) -> None:
    said = mistake(*prepare(f"input={tmp_path}", setting, out=tmp_path / "out"))
    assert message in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_typo_is_said_before_what_it_left_out(sample: Path, tmp_path: Path) -> None:
    said = mistake(*prepare(f"inptu={sample}", out=tmp_path / "out")).splitlines()
    assert "inptu: unknown key; did you mean 'input'?" in said[0]
    assert "input: required, but not given" in said[1]


def test_empty_corpus(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    said = mistake(*prepare(f"input={tmp_path / 'corpus'}", out=tmp_path / "out"))
    assert len(said.splitlines()) == 1
    assert "source bookcorpus: no file matches" in said


def test_out_below_a_file(tmp_path: Path, sample: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/a.txt").write_text("a")
    said = mistake(*prepare(f"input={sample}", out=tmp_path / "mine"))
    assert "mine has other files in it (a.txt); name a new folder, or that of a prepare" in said
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["a.txt"]
    said = mistake(*prepare(f"input={sample}", out=tmp_path / "file" / "sub"))
    assert "cannot make the folder" in said
    assert said.endswith("file/sub: Not a directory\n")


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    assert "is not a model folder: it has no config.json" in mistake("generate", tmp_path, "--prompt", "x")


def test_plan_for_less_than_one_rank() -> None:
    said = mistake("plan", "--config", "configs/pretrain/tiny.yaml", "--world-size", "-4")
    assert "'--world-size': Input should be greater than or equal to 1" in said


def test_interrupted_prepare_says_so(sample: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipeline", *prepare(f"input={sample}", "num_workers=1", out=tmp_path / "out")]
    # a shell that started the tests in the background has made all of its children deaf to SIGINT
    with started(["env", "--default-signal=INT", *command], tmp_path / "log") as process:
        wait_for(lambda: "starts" in (tmp_path / "log").read_text(), 60, "the first stage")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    said = (tmp_path / "log").read_text()
    assert "penstock: interrupted; what is done stays: run the same command again to go on" in said


def test_missing_config_file(tmp_path: Path) -> None:
    assert "cannot read config" in mistake("prepare", "--config", tmp_path / "no.yaml", "--out", tmp_path / "out")


def test_verify_names_the_flipped_byte(prepared: Path, tmp_path: Path) -> None:
    import shutil

    data = tmp_path / "data"
    shutil.copytree(prepared, data)
    assert "all as written" in penstock("verify", data).stdout
    shard = next(data.glob("shards-*/*.train.*.tokens.arrow"))
    with open(shard, "r+b") as file:
        file.seek(shard.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
    assert f"{shard}: damaged" in mistake("verify", data)


@pytest.mark.skipif(subprocess.run(["unshare", "-Urm", "true"], check=False).returncode != 0,
                    reason="no user namespaces here: the full disk is NOT tested")  # fmt: skip
def test_full_disk_is_one_line_and_leaves_no_half_written_file(sample: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    out.mkdir()
    inside = " ".join([sys.executable, "-m", "pipeline", *prepare(f"input={sample}", "num_workers=2", out=out)])
    script = f"mount -t tmpfs -o size=600k none {out} && {inside}; code=$?; find {out} -name '*.attempt*'; exit $code"
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "no room left on the disk" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.strip() == ""
