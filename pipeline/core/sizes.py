"""Numbers of bytes, as people read them."""


def in_units(num_bytes: int) -> str:
    """ "28 B", "4.1 kB", "5.2 MB", "1,204.0 GB": powers of a thousand."""
    if abs(num_bytes) < 1000:
        return f"{num_bytes} B"
    for power, unit in ((3, "kB"), (6, "MB")):
        if abs(num_bytes) < 999.95 * 10**power:
            return f"{num_bytes / 10**power:.1f} {unit}"
    return f"{num_bytes / 1e9:,.1f} GB"
