import hashlib
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.checkpoint.layout import KINDS, Place
from pipeline.checkpoint.save import Fragment, Save
from pipeline.core.config import load
from pipeline.core.errors import ArtifactError, UserError
from pipeline.core.manifest import read_manifest, stage_folders, verify
from pipeline.evaluate.run import evaluate
from pipeline.export.huggingface import export
from pipeline.export.parity import TOLERANCE, ParityError
from pipeline.export.publish import publish, scratch
from pipeline.finetune.run import FinetuneConfig, finetune
from pipeline.model import weights
from pipeline.model.generate import generate
from pipeline.model.pretrained import load_decoder, load_tokenizer
from pipeline.model.reference import logits
from pipeline.shards.loader import Loader
from pipeline.train.config import PretrainConfig
from pipeline.train.state import RunState
from tests import ranks
from tests.models import toy_rows, write_jsonl
from tests.prepared import SEQ_LEN, VOCAB, prepare, pretrain_config
from tests.processes import ROOT, penstock


def random_weights(config: PretrainConfig) -> dict[str, torch.Tensor]:
    """Every weight differs from every other; norms are not 1."""
    torch.manual_seed(1)
    named = weights.shapes(config.model, VOCAB).items()
    return {name: torch.randn(shape) * 0.2 + (len(shape) == 1) for name, shape in named}


def write_checkpoint(run: Path, config: PretrainConfig, values: dict[str, torch.Tensor], step: int = 7) -> Path:
    """As one rank without tensor parallelism writes it."""

    def fragments() -> Iterator[Fragment]:
        for name, value in values.items():
            place = Place(name, tuple(value.shape), 1, value.numel(), 1, 0, 0, value.numel())
            yield Fragment(place, {kind: value.flatten() for kind in KINDS})

    return Save(run / "checkpoints", step, fragments(), run_state(config, step).model_dump(mode="json")).commit()


def run_state(config: PretrainConfig, step: int) -> RunState:
    loader = Loader(config.data.path, split="train", seq_len=config.data.seq_len, seed=0)
    facts = {"vocab_size": loader.vocab_size, "tokenizer_sha256": loader.tokenizer_sha256,
             "data_fingerprint": loader.fingerprint, "num_threads": 1}  # fmt: skip
    return RunState.of(config, step, 1e-3, loader.state(0), facts, b"")


@pytest.fixture(scope="module")
def exported(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with run/ (its newer checkpoint is damaged) and model/, exported from run/ by its folder."""
    folder = tmp_path_factory.mktemp("exported")
    config = pretrain_config(prepared)
    write_checkpoint(folder / "run", config, random_weights(config))
    damaged = write_checkpoint(folder / "run", config, random_weights(config), step=9) / "rank_00000.safetensors"
    raw = bytearray(damaged.read_bytes())
    raw[-1] ^= 1
    damaged.write_bytes(raw)
    (folder / "run" / "metrics.jsonl").write_text(
        '{"step": 5, "validation_loss": 5.25, "validation_perplexity": 190.6}\n'
        '{"step": 9, "validation_loss": 1.0, "validation_perplexity": 2.7}\n{"step": 9, "val'
    )
    export(folder / "run", folder / "model")
    return folder


def assert_same_logits(folder: Path, config: PretrainConfig, values: dict[str, torch.Tensor]) -> None:
    """As the definition computes them from `values`."""
    tokens = torch.arange(2 * SEQ_LEN).view(2, SEQ_LEN) % VOCAB
    with torch.inference_mode():
        theirs = load_decoder(folder)(tokens).logits
    ours = logits(config.model, values, tokens, VOCAB)
    assert theirs.shape == ours.shape == (2, SEQ_LEN, VOCAB)  # the rows that pad the vocabulary are gone
    assert float(ours.abs().max()) > 0.5
    assert float((theirs - ours).abs().max()) < TOLERANCE
    found = json.loads((folder / "penstock.json").read_bytes())["parity"]
    assert 0 <= found["max_abs_difference"] <= TOLERANCE == found["tolerance"]


def test_logits_of_an_untied_model(prepared: Path, exported: Path) -> None:
    config = pretrain_config(prepared)
    assert_same_logits(exported / "model", config, random_weights(config))
    assert json.loads((exported / "model" / "config.json").read_bytes())["architectures"] == ["LlamaForCausalLM"]


def test_logits_of_a_tied_model_with_qk_norm_and_one_key_value_head(prepared: Path, tmp_path: Path) -> None:
    config = pretrain_config(prepared, qk_norm=True, tied=True, num_kv_heads=1, rope_theta=500_000.0)
    write_checkpoint(tmp_path / "run", config, random_weights(config))
    out = export(tmp_path / "run", tmp_path / "model")
    assert_same_logits(out, config, random_weights(config))
    assert json.loads((out / "config.json").read_bytes())["architectures"] == ["Qwen3ForCausalLM"]


def test_bfloat16_is_rounding_and_nothing_else(
    prepared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    config = pretrain_config(prepared, tied=True, num_kv_heads=4)
    values = random_weights(config)
    write_checkpoint(tmp_path / "run", config, values)
    out = export(tmp_path / "run", tmp_path / "model", dtype="bfloat16")
    assert_same_logits(out, config, {name: value.bfloat16().float() for name, value in values.items()})
    with pytest.raises(AssertionError):
        assert_same_logits(out, config, values)
    found = json.loads((out / "penstock.json").read_bytes())["parity"]
    tokens = torch.randint(VOCAB, (2, SEQ_LEN), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        moved = float((load_decoder(out)(tokens).logits - logits(config.model, values, tokens, VOCAB)).abs().max())
    assert found["max_abs_rounding"] == pytest.approx(moved, abs=TOLERANCE)
    assert found["max_abs_rounding"] > 10 * TOLERANCE > found["max_abs_difference"]
    assert "weights rounded to bfloat16; logits within" in caplog.text
    assert f"{found['max_abs_rounding']:.1e} with those trained" in caplog.text
    card = (out / "README.md").read_text()
    assert f"| the same, with the weights as they were trained | {found['max_abs_rounding']:.2g}, where" in card


def test_the_folder_is_whole(prepared: Path, exported: Path) -> None:
    out = exported / "model"
    stages = json.loads((prepared / "manifest.json").read_bytes())["counts"]["stages"]
    for name in ("tokenizer.model", "tokenizer.json", "tokenizer_config.json"):
        assert (out / name).read_bytes() == (prepared / stages["tokenizer"] / name).read_bytes()
    tokenizer = load_tokenizer(out)
    text = "we found the apple\n  under a <s> €"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    origin = json.loads((out / "penstock.json").read_bytes())
    assert (origin["step"], origin["tokens"]) == (7, 7 * 2 * SEQ_LEN)
    assert origin["tokenizer_sha256"] == hashlib.sha256((out / "tokenizer.model").read_bytes()).hexdigest()
    card = (out / "README.md").read_text()
    assert "| validation loss at step 5 | 5.2500 nats per token |" in card  # that of step 9 is another checkpoint's
    assert "| train | books |" in card
    assert f"{math.exp(5.25):.2f}" in card
    assert verify(out) == []
    assert len(generate(out, "the", max_new_tokens=4)) > 0
    assert sorted(path.name for path in exported.iterdir()) == ["model", "run"]


def test_a_run_folder_means_its_newest_checkpoint_that_verifies(exported: Path, tmp_path: Path) -> None:
    assert json.loads((exported / "model" / "penstock.json").read_bytes())["step"] == 7
    with pytest.raises(ArtifactError, match=r"rank_00000.safetensors is damaged"):
        export(exported / "run" / "checkpoints" / "step_00000009", tmp_path / "other")


def test_a_checkpoint_of_two_tensor_parallel_ranks(prepared: Path, tmp_path: Path) -> None:
    """Trained, saved and exported for real."""
    config = pretrain_config(prepared, qk_norm=True)
    parallel = config.parallel.model_copy(update={"tp": 2})
    config = config.model_copy(update={"parallel": parallel})
    ours = ranks.run(2, train_and_save, config, tmp_path / "run")[0]
    out = export(tmp_path / "run", tmp_path / "model")
    with torch.inference_mode():
        theirs = load_decoder(out)(torch.arange(SEQ_LEN)[None]).logits
    assert float((theirs - torch.tensor(ours)).abs().max()) < TOLERANCE


def train_and_save(config: PretrainConfig, run: Path) -> list[Any]:
    """One step on each of two ranks; gives the logits after it."""
    from pipeline.model.topology import start
    from pipeline.train.engine import Engine

    engine = Engine(config, VOCAB, start(config.parallel.tp, config.parallel.pp))
    tokens = torch.arange(2 * SEQ_LEN).view(2, 1, SEQ_LEN) % VOCAB
    engine.train_step([(batch, batch.roll(-1)) for batch in tokens], lr=1e-2)
    Save(run / "checkpoints", 1, engine.fragments(), run_state(config, 1).model_dump(mode="json")).commit()
    return engine.logits(torch.arange(SEQ_LEN)[None]).tolist()


def test_a_wrong_mapping_is_refused_and_leaves_nothing(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = pretrain_config(prepared)
    write_checkpoint(tmp_path / "run", config, random_weights(config))
    right = weights.to_huggingface

    def gate_and_up_swapped(*args: Any) -> Iterator[tuple[str, torch.Tensor]]:
        swap = {"gate_proj": "up_proj", "up_proj": "gate_proj"}
        for name, value in right(*args):
            part = name.split(".")[-2]
            yield name.replace(part, swap.get(part, part)), value

    monkeypatch.setattr(weights, "to_huggingface", gate_and_up_swapped)
    with pytest.raises(ParityError, match=r"logits differ by [\d.]+ \(tolerance 0.0001\); nothing was written"):
        export(tmp_path / "run", tmp_path / "model")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_not_finite_are_refused(prepared: Path, tmp_path: Path, value: float) -> None:
    config = pretrain_config(prepared)
    values = random_weights(config)
    values["layers.1.mlp.down.weight"][3, 4] = value
    write_checkpoint(tmp_path / "run", config, values)
    with pytest.raises(ArtifactError, match=r"layers.1.mlp.down.weight has 1 values that are NaN or infinite"):
        export(tmp_path / "run", tmp_path / "model")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_another_tokenizer_is_refused(prepared: Path, tmp_path: Path, workers: Any) -> None:
    config = pretrain_config(prepared)
    write_checkpoint(tmp_path / "run", config, random_weights(config))
    other = prepare(tmp_path / "data", workers, seed=1)
    with pytest.raises(ArtifactError, match=r"holds tokenizer \w{16}, but step_00000007 was trained with \w{16}"):
        export(tmp_path / "run", tmp_path / "model", data=other)
    with pytest.raises(ArtifactError, match="does not exist from here"):
        export(tmp_path / "run", tmp_path / "model", data=tmp_path / "moved")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("name", ["tokenizer.model", "tokenizer.json", "tokenizer_config.json"])
def test_a_damaged_tokenizer_is_refused(prepared: Path, exported: Path, tmp_path: Path, name: str) -> None:
    """transformers reads tokenizer.json; the checkpoint knows tokenizer.model alone."""
    data = shutil.copytree(prepared, tmp_path / "data")
    file = stage_folders(data)["tokenizer"] / name
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
    with pytest.raises(ArtifactError, match=f"{name}: damaged"):
        export(exported / "run", tmp_path / "model", data=data)
    file.unlink()
    with pytest.raises(ArtifactError, match=f"{name}: missing"):
        export(exported / "run", tmp_path / "model", data=data)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_a_second_process_is_refused_and_the_first_not_disturbed(exported: Path, tmp_path: Path) -> None:
    with scratch(tmp_path / "model", "another mark") as folder:
        (folder / "weights").touch()
        with pytest.raises(UserError, match=r"another process is at work in .*\.model\.tmp; wait for it"):
            export(exported / "run", tmp_path / "model")
        assert (folder / "weights").exists()
    assert not list(tmp_path.iterdir())


def test_what_appears_meanwhile_is_not_written_over(exported: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    with scratch(out, "mark") as folder:
        out.mkdir()
        (out / "theirs").touch()
        with pytest.raises(UserError, match="model was written by something else meanwhile"):
            publish(folder, out, read_manifest(exported / "model"))
    assert [path.name for path in out.iterdir()] == ["theirs"]
    assert list(tmp_path.iterdir()) == [out]


def test_an_export_is_fine_tuned_by_the_lora_config_that_we_ship_and_evaluated(exported: Path, tmp_path: Path) -> None:
    rows = write_jsonl(tmp_path / "rows.jsonl", toy_rows(50))
    settings = [f"model={exported / 'model'}", f"data={rows}", "epochs=1", f"max_length={SEQ_LEN}"]
    config = load(FinetuneConfig, ROOT / "configs" / "finetune" / "topics_lora.yaml", settings)
    out = finetune(config, tmp_path / "topics")
    assert (out / "adapter" / "adapter_config.json").exists()
    found = evaluate(out, ["classification"], tmp_path / "scores", rows)["tasks"]["classification"]
    assert found["num_rows"] == 10
    assert found["confusion_matrix"] == json.loads((out / "results.json").read_bytes())["confusion_matrix"]


def test_the_same_export_is_skipped_another_refused(exported: Path, caplog: pytest.LogCaptureFixture) -> None:
    run, out = exported / "run", exported / "model"
    before = (out / "model.safetensors").stat().st_mtime_ns
    caplog.set_level("INFO")
    export(run, out)
    assert "export is done already" in caplog.text
    assert (out / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="holds another finished export; name another folder"):
        export(run, out, dtype="bfloat16")
    with pytest.raises(UserError, match="exists and is not a finished export"):
        export(run, exported)


def test_a_full_disk_is_one_line_and_leaves_nothing(prepared: Path, tmp_path: Path) -> None:
    """Files may not grow beyond 64 KiB; safetensors has an error of its own for that."""
    config = pretrain_config(prepared)
    write_checkpoint(tmp_path / "run", config, random_weights(config))
    done = penstock("export", tmp_path / "run", tmp_path / "model", max_file_kib=64)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"penstock: no room left on the disk while writing {tmp_path}/.model.tmp/")
    assert len(done.stderr.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_what_a_killed_export_left_is_not_in_the_next(exported: Path, tmp_path: Path) -> None:
    run = shutil.copytree(exported / "run", tmp_path / "run")
    mark = json.loads((exported / "model" / "manifest.json").read_bytes())["fingerprint"]
    left = tmp_path / ".model.tmp" / mark[:12]
    left.mkdir(parents=True)
    (left / ".config.json.123.tmp").write_text("{")
    (left / "model-00001.safetensors").write_text("half")
    out = export(run, tmp_path / "model")
    assert {path.name for path in out.iterdir()} == {path.name for path in (exported / "model").iterdir()}
    assert verify(out) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "run"]


def test_bad_requests(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="format onnx: this version writes hf"):
        export(tmp_path, tmp_path / "model", format="onnx")
    with pytest.raises(UserError, match="dtype int8: choose one of float32, bfloat16, float16"):
        export(tmp_path, tmp_path / "model", dtype="int8")
    with pytest.raises(ArtifactError, match="is neither a checkpoint nor a run with one"):
        export(tmp_path, tmp_path / "model")
