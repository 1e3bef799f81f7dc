"""Random numbers that depend on names, not on the order of calls: `derive(seed, "minhash", 3)`."""

import xxhash


def derive(seed: int, *names: str | int) -> int:
    """A 64-bit seed, a pure function of its arguments."""
    return xxhash.xxh3_64_intdigest("\x1f".join(map(str, names)).encode(), seed=seed & (2**64 - 1))


def keep_fraction(key: bytes, seed: int) -> float:
    """A number in [0, 1) that belongs to `key`: `keep_fraction(doc_id, seed) < 0.01` samples 1 % of documents."""
    return (xxhash.xxh3_64_intdigest(key, seed=seed & (2**64 - 1)) >> 11) / 2**53
