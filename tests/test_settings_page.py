"""docs/settings.md."""

from pipeline import settings_page


def test_the_page_is_what_the_code_says() -> None:
    """If it is not: python -m pipeline.settings_page"""
    assert settings_page.PAGE.read_text(encoding="utf-8") == settings_page.write()


def test_every_setting_is_explained() -> None:
    """By the docstring of its field, so that no cell of the page is empty."""
    rows = [line for line in settings_page.write().splitlines() if line.startswith("|")]
    assert len(rows) > 50
    assert not [row for row in rows if any(not cell.strip() for cell in row.strip("|").split("|"))]
