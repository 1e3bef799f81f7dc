import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from pipeline.core.errors import ArtifactError
from pipeline.model.pretrained import context_size, load_decoder, load_tokenizer, read_config
from tests.models import CONTEXT, write_decoder


def changed(base: Path, out: Path, **weights: object) -> Path:
    """`base` with weights replaced, or removed where None."""
    shutil.copytree(base, out)
    named = load_file(out / "model.safetensors") | weights
    save_file({name: value for name, value in named.items() if value is not None}, out / "model.safetensors",
              metadata={"format": "pt"})  # fmt: skip
    return out


def test_weights_that_are_missing_or_unknown_are_refused(base: Path, tmp_path: Path) -> None:
    head = load_file(base / "model.safetensors")["lm_head.weight"]
    with pytest.raises(ArtifactError, match=r"lacks weights, e.g. lm_head.weight \(1 in all\)"):
        load_decoder(changed(base, tmp_path / "a", **{"lm_head.weight": None}))
    with pytest.raises(ArtifactError, match=r"has unknown weights, e.g. model.extra.weight \(1 in all\)"):
        load_decoder(changed(base, tmp_path / "b", **{"model.extra.weight": head.clone()}))


def test_a_folder_that_is_no_model(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"is not a model folder: it has no config.json"):
        load_decoder(tmp_path)
    without = tmp_path / "without"
    shutil.copytree(base, without)
    (without / "tokenizer.json").unlink()
    with pytest.raises(ArtifactError, match=r"has no tokenizer\.json"):
        load_decoder(without)
    (without / "model.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"has no model\.safetensors"):
        load_decoder(without)
    (without / "config.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"config.json is damaged"):
        load_decoder(without)


def test_a_classifier_is_not_a_decoder(base: Path, tmp_path: Path) -> None:
    folder = changed(base, tmp_path / "model")
    config = read_config(folder) | {"architectures": ["LlamaForSequenceClassification"]}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ArtifactError, match="holds a LlamaForSequenceClassification; this needs a LlamaForCausalLM"):
        load_decoder(folder)


def test_a_tokenizer_larger_than_the_model_is_refused(tokenizer_files: Path, tmp_path: Path) -> None:
    folder = write_decoder(tmp_path / "model", tokenizer_files, vocab_size=300)
    with pytest.raises(ArtifactError, match="the tokenizer has 400 tokens, the model 300"):
        load_tokenizer(folder)


def test_a_tied_qwen_loads(tokenizer_files: Path, tmp_path: Path) -> None:
    folder = write_decoder(tmp_path / "model", tokenizer_files, qwen=True, tie_word_embeddings=True)
    model = load_decoder(folder)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert context_size(folder) == CONTEXT
