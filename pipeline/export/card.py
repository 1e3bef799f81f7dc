"""README.md of an export: what the model is, what it has read and what was measured, from the manifests alone."""

from pipeline.export.parity import Parity
from pipeline.export.source import Data, Source
from pipeline.model.perplexity import perplexity
from pipeline.model.weights import num_parameters


def write_card(source: Source, data: Data, parity: Parity, dtype: str) -> str:
    parts = [_head(source, dtype), _training(source), _measured(source, parity), _data(data), _use()]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(source: Source, dtype: str) -> str:
    model, vocab_size = source.model, source.state.vocab_size
    options = [name for name, on in (("tied embeddings", model.tied), ("qk-norm", model.qk_norm)) if on]
    return f"""---
library_name: transformers
pipeline_tag: text-generation
---
# {source.folder.parent.parent.resolve().name}, step {source.state.step:,}

A decoder pretrained with Penstock, exported from `{source.folder.name}` in {dtype}.

| | |
|---|---|
| parameters | {num_parameters(model, vocab_size):,} |
| layers x hidden size | {model.num_layers} x {model.hidden_size} |
| heads / key-value heads | {model.num_heads} / {model.num_kv_heads} |
| MLP width | {model.ffn_size:,} (SwiGLU) |
| vocabulary | {vocab_size:,} |
| context | {source.config.data.seq_len:,} tokens |
| options | {", ".join(options) or "none"} |"""


def _training(source: Source) -> str:
    config, state = source.config, source.state
    optim, schedule = config.optim, config.schedule
    return f"""## Training

| | |
|---|---|
| tokens | {state.tokens:,} |
| steps | {state.step:,} of {config.steps:,} |
| batch | {config.batch.global_batch:,} sequences of {config.data.seq_len:,} tokens |
| optimizer | AdamW, betas {optim.betas[0]:g} and {optim.betas[1]:g}, weight decay {optim.weight_decay:g} |
| learning rate | {optim.lr:g} at its peak; {schedule.name}, {schedule.warmup_steps:,} steps of warm-up |
| gradient norm | cut at {optim.grad_clip:g} |
| precision | {config.precision}, master weights fp32 |
| seeds | weights {config.seed}, data {config.data.seed} |"""


def _measured(source: Source, parity: Parity) -> str:
    lines = ["## Measured", "", "| what | figure |", "|---|---|"]
    losses = source.validation_losses()
    if losses:
        step, loss = losses[-1]
        lines.append(f"| validation loss at step {step:,} | {loss:.4f} nats per token |")
        lines.append(f"| validation perplexity at step {step:,} | {perplexity(loss):.2f} |")
    rounded = parity.dtype != "float32"
    alike = f" with weights rounded to {parity.dtype} alike" if rounded else ""
    lines.append(
        f"| largest difference of a logit from the training engine's{alike}, {parity.batch[0]} x {parity.batch[1]} "
        f"tokens | {parity.max_abs_difference:.2g} (tolerance {parity.tolerance:g}) |"
    )
    if rounded:
        lines.append(
            f"| the same, with the weights as they were trained | {parity.max_abs_rounding:.2g}, where the largest "
            f"logit is {parity.max_abs_logit:.3g} |"
        )
    if not losses:
        lines += ["", "No validation loss: the run's metrics did not lie beside the checkpoint."]
    return "\n".join(lines)


def _data(data: Data) -> str:
    if data.shards is None:
        return ""
    rows = ["## Data", "", "| split | source | documents | tokens |", "|---|---|---|---|"]
    for split, sources in sorted(data.shards.counts["splits"].items()):
        for name, counts in sorted(sources.items()):
            rows.append(f"| {split} | {name} | {counts['documents']:,} | {counts['tokens']:,} |")
    return "\n".join(rows)


def _use() -> str:
    return """## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForCausalLM.from_pretrained(".")
```

The tokenizer adds neither `<s>` nor `</s>`, and reads `<s>` in a text as text. Documents end with `</s>`."""
