"""Fixtures of the cleaning tests."""

from pathlib import Path

import pytest

from pipeline.clean.unicode import repair


@pytest.fixture(scope="session")
def real_texts(real_data: Path) -> list[str]:
    """Real pages and articles as our sources read them, repaired."""
    from tests.sources.reading import read_all

    pages, _ = read_all("cc_news", real_data, "news/CC-NEWS*.warc.gz", "news/dolma*.warc.gz")
    articles, _ = read_all("wikipedia", real_data, "wikipedia/enwiki-table*")
    texts = [repair(item.text) for item in [*pages.values(), *list(articles.values())[:100]]]
    return [text for text in texts if text.strip()]
