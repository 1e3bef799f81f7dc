import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from pipeline.core.config import load
from pipeline.core.errors import ConfigError, UserError
from pipeline.core.manifest import verify
from pipeline.export.publish import scratch
from pipeline.finetune.run import FinetuneConfig, finetune
from pipeline.finetune.sequence_classification import Classifier
from tests.models import toy_rows, write_decoder, write_jsonl
from tests.processes import penstock


def config(base: Path, data: Path | dict[str, str], **changes: Any) -> FinetuneConfig:
    given = data if isinstance(data, dict) else str(data)
    settings = {"task": "sequence_classification", "model": str(base), "data": given, "lr": 3e-3, "epochs": 6,
                "early_stopping_patience": None}  # fmt: skip
    return FinetuneConfig.model_validate(settings | changes)


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 rows, 40 of them to test on; always answering 'fruit' is right in 0.7."""
    return write_jsonl(tmp_path_factory.mktemp("rows") / "toy.jsonl", toy_rows())


def read(out: Path) -> dict[str, Any]:
    return json.loads((out / "results.json").read_bytes())


@pytest.mark.parametrize(
    ("method", "num_rows", "epochs", "lr"),
    [("full", 200, 6, 3e-3), ({"name": "lora", "rank": 8, "dropout": 0.05}, 600, 5, 2e-2)],
    ids=["full", "lora"],
)
def test_it_learns_what_a_few_words_tell(
    base: Path, tmp_path: Path, method: Any, num_rows: int, epochs: int, lr: float
) -> None:
    toy = write_jsonl(tmp_path / "toy.jsonl", toy_rows(num_rows))
    out = finetune(config(base, toy, method=method, epochs=epochs, lr=lr), tmp_path / "out")
    results = read(out)
    assert results["majority_accuracy"] == 0.7
    assert results["accuracy"] >= 0.9
    assert results["macro_f1"] >= 0.9
    fifth = num_rows // 5
    assert results["num_rows_by_split"] == {"train": 3 * fifth, "validation": fifth, "test": fifth}
    assert results["epochs"] == epochs

    predictions = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    right = sum(row["label"] == row["predicted"] for row in predictions)
    assert right / len(predictions) == results["accuracy"]
    classifier = Classifier.load(out)  # the folder alone, as anybody would load it
    rows = classifier.predict([row["text"] for row in predictions])
    assert [classifier.labels[row.index(max(row))] for row in rows] == [row["predicted"] for row in predictions]

    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    validation = [row for row in metrics if "eval_loss" in row]
    assert len(validation) == results["epochs"]
    assert min(row["eval_loss"] for row in validation) == results["validation_loss"]
    assert verify(out) == []
    assert {path.name for path in tmp_path.iterdir()} == {"out", "toy.jsonl"}
    if method == "full":
        assert results["num_trained_parameters"] == results["num_parameters"]
        assert not (out / "adapter").exists()
    else:
        # Seven linear layers in two blocks (in + out of each, times the rank) and the head.
        widths = 32 + 32, 32 + 16, 32 + 16, 32 + 32, 32 + 64, 32 + 64, 64 + 32
        assert results["num_trained_parameters"] == 2 * 8 * sum(widths) + 2 * 32


def test_the_adapter_on_its_base_is_the_merged_model(base: Path, toy: Path, tmp_path: Path) -> None:
    import peft
    import torch

    from pipeline.model.pretrained import load_model

    out = finetune(config(base, toy, method="lora", epochs=1), tmp_path / "out")
    head = {"new": ("score.",), "unused": ("lm_head.",), "num_labels": 2}
    adapted = peft.PeftModel.from_pretrained(
        load_model(base, "AutoModelForSequenceClassification", **head), str(out / "adapter")
    ).eval()
    tokens = torch.arange(60).view(2, 30) + 10
    with torch.inference_mode():
        difference = adapted(tokens).logits - Classifier.load(out).model(tokens).logits
    assert float(difference.abs().max()) < 1e-5


def test_early_stopping_keeps_the_best_epoch(base: Path, tmp_path: Path) -> None:
    """Labels that no text tells: the training rows are learnt by heart, and validation gets worse."""
    rows = toy_rows(300)
    for number, row in enumerate(rows):
        row["label"] = "yes" if (number * 7919) % 13 < 6 else "no"
    data = write_jsonl(tmp_path / "noise.jsonl", rows)
    out = finetune(config(base, data, epochs=30, lr=1e-2, early_stopping_patience=2), tmp_path / "out")
    results = read(out)
    assert results["epochs"] == results["best_epoch"] + 2 < 30
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    losses = [row["eval_loss"] for row in metrics if "eval_loss" in row]
    assert losses.index(min(losses)) + 1 == results["best_epoch"]


def test_gradient_accumulation_changes_nothing(base: Path, toy: Path, tmp_path: Path) -> None:
    """transformers would double loss and gradient here; see trainer.fit."""
    whole = finetune(config(base, toy, epochs=1), tmp_path / "whole")
    halves = finetune(config(base, toy, epochs=1, micro_batch_size=8), tmp_path / "halves")
    series = [
        [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines() if "grad_norm" in line]
        for out in (whole, halves)
    ]
    assert len(series[0]) == len(series[1]) > 3
    for one, other in zip(*series, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-4)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-3)


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    base: Path, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = config(base, toy, epochs=4, method={"name": "lora", "dropout": 0.1})
    unbroken = finetune(settings, tmp_path / "unbroken")

    class Killed(BaseException):
        pass

    def die(checkpoints: Any, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 20:  # in the third of four epochs
            raise Killed

    from transformers import EarlyStoppingCallback, TrainerCallback  # noqa: F401

    with monkeypatch.context() as patch:
        patch.setattr(TrainerCallback, "on_substep_end", die)
        patch.setattr(TrainerCallback, "on_optimizer_step", die)
        with pytest.raises(Killed):
            finetune(settings, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    half = next(tmp_path.glob(".out.tmp/*/checkpoints"))
    newest = max(half.iterdir(), key=lambda path: int(path.name.rpartition("-")[2]))
    shutil.copytree(newest, half / "checkpoint-18")  # and one that was being written when the run was killed
    (half / "checkpoint-18" / "trainer_state.json").write_text('{"epoch": 2.')

    caplog.set_level("INFO")
    out = finetune(settings, tmp_path / "out")
    assert "continuing from checkpoint-16" in caplog.text
    for name in (
        "model.safetensors",
        "predictions.jsonl",
        "metrics.jsonl",
        "manifest.json",
        "adapter/adapter_model.safetensors",
    ):
        assert (out / name).read_bytes() == (unbroken / name).read_bytes(), name


def test_a_finished_result_is_skipped_another_refused(
    base: Path, toy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = finetune(config(base, toy, epochs=1), tmp_path / "out")
    before = (out / "results.json").read_bytes()
    moved = shutil.copy(toy, tmp_path / "moved.jsonl")  # other place, same bytes
    caplog.set_level("INFO")
    finetune(config(base, Path(moved), epochs=1), out)
    assert f"finetune is done already: {out}" in caplog.text
    assert (out / "results.json").read_bytes() == before
    with pytest.raises(UserError, match="holds another finished finetune; name another folder"):
        finetune(config(base, toy, epochs=2), out)
    with pytest.raises(UserError, match="exists and is not a finished finetune"):
        finetune(config(base, toy, epochs=1), tmp_path)


@pytest.mark.parametrize("max_file_kib", [64, 192], ids=["safetensors", "torch.save"])
def test_a_full_disk_is_one_line_and_the_work_goes_on_from_where_it_was(
    base: Path, toy: Path, tmp_path: Path, max_file_kib: int
) -> None:
    """The weights do not fit; or they do, but the optimizer, twice as large, does not."""
    weights = (base / "model.safetensors").stat().st_size // 1024
    assert 64 < weights < 192 < 2 * weights - 64
    settings = config(base, toy, epochs=1)
    file = tmp_path / "finetune.json"  # JSON is YAML
    file.write_text(settings.model_dump_json())
    done = penstock("finetune", "--config", file, "--out", tmp_path / "out", max_file_kib=max_file_kib)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("penstock: no room left on the disk while writing ")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
    left = next(tmp_path.glob(".out.tmp/*/"))
    (left / ".results.json.123.tmp").write_text("{")  # killed while it was written
    finetune(settings, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.tmp"))
    assert verify(tmp_path / "out") == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["finetune.json", "out"]


def test_a_second_process_is_refused_whatever_its_config(base: Path, toy: Path, tmp_path: Path) -> None:
    with scratch(tmp_path / "out", "another mark", go_on=True) as theirs:
        (theirs / "metrics.jsonl").write_text("theirs")
        with pytest.raises(UserError, match=r"another process is at work in .*\.out\.tmp; wait for it, or name"):
            finetune(config(base, toy, epochs=1), tmp_path / "out")
    assert [path.read_text() for path in tmp_path.glob(".out.tmp/*/*")] == ["theirs"]
    finetune(config(base, toy, epochs=1), tmp_path / "out")  # what would never be finished goes
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_seed_decides_the_result(base: Path, toy: Path, tmp_path: Path) -> None:
    outs = [finetune(config(base, toy, epochs=1, seed=seed), tmp_path / f"{i}") for i, seed in enumerate((1, 1, 2))]
    heads = [load_file(out / "model.safetensors")["score.weight"] for out in outs]
    assert (outs[0] / "model.safetensors").read_bytes() == (outs[1] / "model.safetensors").read_bytes()
    assert not heads[0].equal(heads[2])


def test_long_rows_are_cut_and_counted(base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = toy_rows(40)
    rows[1]["text"] = " ".join(row["text"] for row in rows)
    caplog.set_level("INFO")
    data = write_jsonl(tmp_path / "rows.jsonl", [*rows, *toy_rows(60, seed=1)])
    out = finetune(config(base, data, epochs=1, max_length=40), tmp_path / "out")
    assert "1 of 100 rows are longer than 40 tokens and were cut" in caplog.text
    assert read(out)["num_rows_cut"] == {"train": 0, "validation": 1, "test": 0}
    assert Classifier.load(out).tokenizer.model_max_length == 40


def test_qwen_with_tied_embeddings(tokenizer_files: Path, toy: Path, tmp_path: Path) -> None:
    folder = write_decoder(tmp_path / "model", tokenizer_files, qwen=True, tie_word_embeddings=True)
    out = finetune(config(folder, toy, lr=6e-3), tmp_path / "out")
    assert read(out)["accuracy"] >= 0.85


# ---- mistakes of the user --------------------------------------------------------------------------------------


def rows_with(**changes: Any) -> list[dict[str, Any]]:
    """Toy rows, the last one changed; None removes a key."""
    rows: list[dict[str, Any]] = [dict(row) for row in toy_rows(50)]
    rows[-1] = {key: value for key, value in (rows[-1] | changes).items() if value is not None}
    return rows


@pytest.mark.parametrize(
    ("rows", "changes", "message"),
    [
        (rows_with(text=None), {}, r"line 50: no column 'text'; found: label, split"),
        (rows_with(split=None), {}, r"line 50: no column 'split', though other rows have it"),
        (rows_with(split="trian"), {}, r"line 50: unknown split 'trian'; known: train, validation"),
        (rows_with(split=3), {}, r"line 50: unknown split 3; known"),
        (rows_with(text="  "), {}, r"line 50: 'text' must be a text that is not empty, found '  '"),
        (rows_with(label=1.5), {}, r"line 50: 'label' must be a string or an integer, found 1.5"),
        (rows_with(label="new", split="test"), {}, r"line 50: label 'new' \(test\) is not among the labels of the "
         "training rows: fruit, tools"),
        (rows_with(), {"task": {"name": "sequence_classification", "labels": ["fruit", "tools", "toys"]}},
         "label 'toys' has no training row"),
        (rows_with(), {"task": {"name": "sequence_classification", "labels": ["fruit", "toys"]}},
         r"label 'tools' \(train\) is not among the labels of the config: fruit, toys"),
        ([row | {"label": "fruit"} for row in toy_rows(50)], {}, "all training rows have the label 'fruit'"),
        ([row | {"split": "train"} for row in toy_rows(50)], {}, r"no rows to test \(train \d+, .*, test 0\)"),
        ([row | {"split": "test"} for row in toy_rows(50)], {}, "no rows to train on"),
        (rows_with(), {"max_length": 65}, r"max_length \(65\) is beyond the 64 tokens that the model sees; try 64"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_used(
    base: Path, tmp_path: Path, rows: list[dict[str, Any]], changes: dict[str, Any], message: str
) -> None:
    data = write_jsonl(tmp_path / "rows.jsonl", rows)
    with pytest.raises(UserError, match=message) as caught:
        finetune(config(base, data, **changes), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_file_that_cannot_be_read(base: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"text": "a", "label": "b"}\n{"text": \n')
    with pytest.raises(UserError, match=r"bad.jsonl: line 2: not JSON"):
        finetune(config(base, bad), tmp_path / "out")
    bad.write_text("[1]\n")
    with pytest.raises(UserError, match=r"line 1: expected a JSON object, found a list"):
        finetune(config(base, bad), tmp_path / "out")
    bad.write_bytes(b'{"text": "\xff"}\n')
    with pytest.raises(UserError, match=r"bad.jsonl: not UTF-8"):
        finetune(config(base, bad), tmp_path / "out")
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(b"\x1f\x8b\x08\x00 this is no gzip")
    with pytest.raises(UserError, match=r"cannot read .*cut.jsonl.gz"):
        finetune(config(base, cut), tmp_path / "out")
    with pytest.raises(UserError, match=r"cannot read .*none.jsonl: No such file"):
        finetune(config(base, tmp_path / "none.jsonl"), tmp_path / "out")


def test_a_folder_that_is_not_an_exported_decoder(base: Path, toy: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a model folder: it has no config.json \(penstock export writes one\)"):
        finetune(config(tmp_path, toy), tmp_path / "out")
    classifier = finetune(config(base, toy, epochs=1), tmp_path / "out")
    with pytest.raises(UserError, match=r"holds a LlamaForSequenceClassification; this needs a LlamaForCausalLM"):
        finetune(config(classifier, toy), tmp_path / "again")
    without_pad = shutil.copytree(base, tmp_path / "without_pad")
    settings = json.loads((without_pad / "config.json").read_bytes())
    (without_pad / "config.json").write_text(json.dumps(settings | {"pad_token_id": None}))
    with pytest.raises(UserError, match="has no pad_token_id"):
        finetune(config(without_pad, toy), tmp_path / "again")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "without_pad"]


def test_mistakes_in_the_config(tmp_path: Path) -> None:
    file = tmp_path / "finetune.yaml"
    file.write_text("task: sequence_clasification\nmodel: m\ndata: {path: a, train: b, test: c}\nmetod: lora\n")
    with pytest.raises(ConfigError) as caught:
        load(FinetuneConfig, file, ["method.name=lora", "method.rank=0", "batch_size=9", "micro_batch_size=2"])
    text = str(caught.value)
    assert "task: unknown name 'sequence_clasification'; did you mean 'sequence_classification'?" in text
    assert "data: give either path (one file) or train, validation and test, not both" in text
    assert "metod: unknown key; did you mean 'method'?" in text
    assert "rank: expected more than 0, found 0" in text
    file.write_text("task: sequence_classification\nmodel: m\ndata: {train: b}\nbatch_size: 9\nmicro_batch_size: 2\n")
    with pytest.raises(ConfigError, match=r"data: give either path \(one file\), or train and test"):
        load(FinetuneConfig, file)
    for seed in (-1, 2**32):
        with pytest.raises(ConfigError, match=rf"seed: expected (at least 0|less than 4294967296), found {seed}"):
            load(FinetuneConfig, file, [f"seed={seed}"])
    with pytest.raises(ConfigError, match=r"batch_size \(9\) must divide by micro_batch_size \(2\)"):
        load(FinetuneConfig, file, ["data=rows.jsonl"])
    file.write_text("task: sequence_classification\nmodel: m\n")
    fractions = "data={path: a, validation_fraction: 0.5, test_fraction: 0.5}"
    with pytest.raises(ConfigError, match="leave nothing to train on"):
        load(FinetuneConfig, file, [fractions])


@pytest.mark.parametrize("name", ["topics", "topics_lora", "rotten_tomatoes"])
def test_the_configs_that_we_ship(name: str) -> None:
    root = Path(__file__).parents[2] / "configs" / "finetune"
    found = load(FinetuneConfig, root / f"{name}.yaml", ["model=m", "data=rows.jsonl"])
    assert found.task.name == "sequence_classification"
    assert found.method.name == ("lora" if name == "topics_lora" else "full")
