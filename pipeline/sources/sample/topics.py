"""A small labelled set for fine-tuning: from what a paragraph says, tell which library area it documents.

In:  passages. Out: rows {"text", "label", "split"}; splits are 80/10/10 by a hash of the text.

The rows come from the same documentation as the corpus, and overlap it: a model pretrained on the sample has
seen the sentences of every split, though never their labels. Good for a demonstration, not for a benchmark.
"""

import hashlib
from collections.abc import Sequence
from random import Random

from pipeline.sources.sample.harvest import STANDARD_LIBRARY, Passage

LABEL_OF_AREA = {
    "numpy": "numerics",
    "pyarrow": "data tables",
    "duckdb": "data tables",
    "torch": "deep learning",
    "sklearn": "machine learning",
    "networkx": "graphs",
    "sympy": "symbolic mathematics",
    "reference": "language reference",
}
NETWORKING = {
    "asynchat", "asyncio", "asyncore", "email", "ftplib", "html", "http", "imaplib", "ipaddress", "mailbox",
    "mimetypes", "netrc", "nntplib", "poplib", "selectors", "smtpd", "smtplib", "socket", "socketserver", "ssl",
    "telnetlib", "urllib", "webbrowser", "wsgiref", "xmlrpc",
}  # fmt: skip
LABELS = tuple(sorted({*LABEL_OF_AREA.values(), "networking"}))
MIN_WORDS, MAX_WORDS = 15, 120
MAX_ROWS_PER_LABEL = 260


def topic_rows(passages: Sequence[Passage], rng: Random) -> list[dict[str, str]]:
    """The first paragraph of each docstring, and every paragraph of the language reference, in random order."""
    texts: dict[str, list[str]] = {label: [] for label in LABELS}
    for passage in passages:
        label = label_of(passage)
        if label is None:
            continue
        paragraphs = passage.paragraphs if label == "language reference" else passage.paragraphs[:1]
        texts[label] += [text for text in paragraphs if MIN_WORDS <= text.count(" ") + 1 <= MAX_WORDS]
    rows = [
        {"text": text, "label": label, "split": split_of(text)}
        for label, candidates in texts.items()
        for text in rng.sample(candidates, min(len(candidates), MAX_ROWS_PER_LABEL))
    ]
    rng.shuffle(rows)
    return rows


def label_of(passage: Passage) -> str | None:
    if passage.area == STANDARD_LIBRARY:
        return "networking" if passage.module.partition(".")[0] in NETWORKING else None
    return LABEL_OF_AREA.get(passage.area)


def split_of(text: str) -> str:
    tenth = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) % 10
    return {8: "validation", 9: "test"}.get(tenth, "train")
