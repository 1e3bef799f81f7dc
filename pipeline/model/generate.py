"""Continue a prompt with an exported model: greedy, or drawn with temperature, top-k and top-p.

In:  a Hugging Face folder and a text. Out: the text that follows, without the prompt and without special tokens.
The same seed gives the same text on the same machine.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.core.errors import UserError
from pipeline.model.pretrained import context_size, device, load_decoder, load_tokenizer, offline

logger = logging.getLogger(__name__)


def generate(
    model: Path,
    prompt: str,
    *,
    max_new_tokens: int = 64,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    on_text: Callable[[str], None] | None = None,
) -> str:
    """`temperature` 0 is greedy; `top_k` 0 and `top_p` 1 keep every token.

    `on_text` is called with the prompt when nothing can be refused any more, then with each new piece of text as soon
    as it is certain.
    """
    sampling = _sampling(temperature, top_k, top_p)
    if not 0 <= seed < 2**32:
        raise UserError(f"seed ({seed}) must lie in 0 .. {2**32 - 1}")
    try:
        prompt.encode()
    except UnicodeEncodeError as error:  # a byte of the command line that is no UTF-8 has become half a character
        raise UserError(f"the prompt is not UTF-8: see what follows its first {error.start} characters") from None
    if max_new_tokens < 1:
        raise UserError(f"max_new_tokens ({max_new_tokens}) must be at least 1")
    offline()
    import torch
    import transformers

    tokenizer, decoder = load_tokenizer(model), load_decoder(model, device())
    # An empty prompt: the model has seen documents begin after the end of another.
    ids = tokenizer(prompt)["input_ids"] or [tokenizer.eos_token_id]
    room = context_size(model) - len(ids)
    if room < 1:
        raise UserError(f"the prompt has {len(ids)} tokens, the model sees {context_size(model)}; shorten it")
    if room < max_new_tokens:
        logger.warning("max_new_tokens cut from %d to %d: the model sees %d", max_new_tokens, room, context_size(model))
    prompt_BS = torch.tensor([ids], device=decoder.device)
    transformers.set_seed(seed)
    if on_text:
        on_text(prompt)
    with torch.inference_mode():
        output_BS = decoder.generate(
            prompt_BS,
            attention_mask=torch.ones_like(prompt_BS),
            max_new_tokens=min(max_new_tokens, room),
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            streamer=_Stream(tokenizer, on_text) if on_text else None,
            **sampling,
        )
    return _text(tokenizer, output_BS[0, len(ids) :].tolist())


def _sampling(temperature: float, top_k: int, top_p: float) -> dict[str, Any]:
    if not (temperature == 0 or 0.01 <= temperature <= 100):  # also NaN; below, scores over temperature overflow
        raise UserError(f"temperature ({temperature}) must be 0 (greedy), or lie between 0.01 and 100")
    if top_k < 0:
        raise UserError(f"top_k ({top_k}) must be 0 (all tokens) or more")
    if not 0 < top_p <= 1:
        raise UserError(f"top_p ({top_p}) must lie in (0, 1]")
    if temperature == 0:
        return {"do_sample": False}
    return {"do_sample": True, "temperature": temperature, "top_k": top_k, "top_p": top_p}


def _text(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True))


def _is_byte(piece: str) -> bool:
    return len(piece) == 6 and piece.startswith("<0x")


class _Stream:
    """transformers' streamer interface. Decodes all new tokens each time: a character may take several tokens.

    What a run of byte tokens means is certain only at its end: one byte too many, and none of them is a character.
    """

    def __init__(self, tokenizer: Any, on_text: Callable[[str], None]) -> None:
        self.tokenizer, self.on_text = tokenizer, on_text
        self.ids: list[int] | None = None  # None until the prompt has passed
        self.told = 0

    def put(self, value: Any) -> None:
        if self.ids is None:
            self.ids = []
            return
        self.ids += value.flatten().tolist()
        certain = len(self.ids)
        while certain and _is_byte(self.tokenizer.convert_ids_to_tokens(self.ids[certain - 1])):
            certain -= 1
        self._tell(_text(self.tokenizer, self.ids[:certain]))

    def end(self) -> None:
        self._tell(_text(self.tokenizer, self.ids or []))

    def _tell(self, text: str) -> None:
        if len(text) > self.told:
            self.on_text(text[self.told :])
            self.told = len(text)
