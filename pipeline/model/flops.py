"""How much computing a token costs, in closed form; no torch."""

import math

from pipeline.model.config import ModelConfig
from pipeline.model.weights import shapes


def flops_per_token(config: ModelConfig, vocab_size: int, seq_len: int) -> int:
    """Floating-point operations to train on one token, forward and backward, recomputation not counted.

    6 N + 12 L S H (PaLM, arXiv 2204.02311, appendix B): N weights that multiply (no norms, no embedding look-up, but
    the head, tied or not), 2 operations each, once forward and twice backward; attention over S keys, twice
    (scores, values). As there, causal attention is counted in full, so that numbers compare with other people's.
    """
    named = shapes(config, vocab_size)
    multiplied = sum(math.prod(s) for name, s in named.items() if len(s) == 2 and not name.startswith("embedding"))
    if config.tied:
        multiplied += math.prod(named["embedding.weight"])
    return 6 * multiplied + 12 * config.num_layers * seq_len * config.hidden_size
