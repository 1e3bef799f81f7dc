"""Masking of personal data: MB/s on news pages that hold none, and against datatrove's formatter on all."""

import importlib.metadata  # noqa: F401  (datatrove 0.10 uses it without importing it)
import time
from collections.abc import Callable, Iterator

from pipeline.clean import pii
from tests.bench.row import Row, real_data
from tests.sources.reading import read_all

ROUNDS = 5


def rows() -> Iterator[Row]:
    from datatrove.pipeline.formatters import PIIFormatter

    data = real_data()
    pages = [page.text for page in read_all("cc_news", data, "news/CC-NEWS*.warc.gz")[0].values()]
    plain = [text for text in pages if pii.mask(text, pii.Config()) == text]
    config = pii.Config(iban=False, card=False, phone=False)  # what datatrove masks
    ours, theirs = (rate(mask, pages) for mask in (lambda text: pii.mask(text, config), PIIFormatter().format))
    size = f"{sum(map(len, pages)) / 1e6:.1f} M characters of news, best of {ROUNDS}"
    yield Row("PII masking, e-mail and IP", ours / theirs, "x", 5, peer="datatrove 0.10 PIIFormatter",
              detail=f"{ours:.0f} and {theirs:.1f} MB/s; {size}")  # fmt: skip
    everything = rate(lambda text: pii.mask(text, pii.Config()), plain)
    yield Row("PII masking, all kinds, text without hits", everything, "MB/s", 100,
              detail=f"{len(plain)} of {len(pages)} pages")  # fmt: skip


def rate(mask: Callable[[str], str], texts: list[str]) -> float:
    """MB of UTF-8 a second, in the best round."""
    seconds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for text in texts:
            mask(text)
        seconds.append(time.process_time() - start)
    return sum(len(text.encode()) for text in texts) / 1e6 / min(seconds)
