"""Perplexity: the number of tokens among which a model that is as unsure as this one would guess."""

import math

LARGEST_NATS = 700.0  # e^709 is the largest float, and infinity is not JSON


def perplexity(nats_per_token: float) -> float:
    return math.exp(min(nats_per_token, LARGEST_NATS))
