"""Which weights fine-tuning moves: all of them, or a small adapter beside them (peft).

A method is chosen by name in the config: `method: full`, or `method: {name: lora, rank: 16}`.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from pipeline.core.config import Config

if TYPE_CHECKING:
    from torch import nn

# All linear layers of a decoder layer. peft's own choice, q and v, leaves most of the gain behind.
LINEAR_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class Full(Config):
    """Every weight is trained."""

    name: Literal["full"] = "full"


class Lora(Config):
    """Low-rank updates of all linear layers and a new head are trained (arXiv 2106.09685)."""

    name: Literal["lora"] = "lora"
    rank: int = Field(default=8, gt=0)
    """Of the update B A of each linear layer."""
    alpha: int = Field(default=16, gt=0)
    """The update is scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Of the update's input."""


def _just_a_name(given: Any) -> Any:
    return {"name": given} if isinstance(given, str) else given


Method = Annotated[Full | Lora, Field(discriminator="name"), BeforeValidator(_just_a_name)]


def apply(method: Full | Lora, model: "nn.Module", task_type: str) -> "nn.Module":
    """The model to train. `task_type`: peft's name of the task, by which it knows the new head."""
    if isinstance(method, Full):
        return model
    import peft

    adapter = peft.LoraConfig(
        task_type=task_type,
        r=method.rank,
        lora_alpha=method.alpha,
        lora_dropout=method.dropout,
        target_modules=list(LINEAR_LAYERS),
    )
    return peft.get_peft_model(model, adapter)


def count_trainable(model: "nn.Module") -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
