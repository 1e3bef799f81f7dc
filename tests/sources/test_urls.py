"""Canonical URLs: one form for one page, stable, and nothing else merged."""

import pytest

from pipeline.sources.web.urls import MAX_CHARS, canonical_url, page_key


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("HTTP://Example.COM:80", "http://example.com/"),
        ("https://example.com:443/a b?x=1&utm_medium=y&fbclid=z#frag", "https://example.com/a%20b?x=1"),
        ("https://example.com:8443/%7Ea%2fb?b=&a=1", "https://example.com:8443/~a%2Fb?b=&a=1"),
        ("https://example.com/a/./b/../c/..", "https://example.com/a/"),
        ("https://example.com/a;jsessionid=1A2B?PHPSESSID=0&q=a+b", "https://example.com/a?q=a+b"),
        ("https://example.com/?%C3%A4=ä&utm_source", "https://example.com/?%C3%A4=%C3%A4"),
        ("https://example.com/?sid=0123456789abcdef0123456789abcdef&id=1", "https://example.com/?id=1"),
        ("https://example.com/?file=article&sid=123", "https://example.com/?file=article&sid=123"),
        ("https://bücher.example/#!/story/1", "https://xn--bcher-kva.example/#!/story/1"),
        ("http://[2001:db8::1]:80/", "http://[2001:db8::1]/"),
        ("http://user:secret@example.com./", "http://example.com/"),
        ("http://example.com/%zz%", "http://example.com/%25zz%25"),
        ("ftp://example.com/", ""),
        ("http://[broken", ""),
        ("http://exa mple.com/", ""),
        ("http://example.com:99999/", ""),
        ("", ""),
    ],
)
def test_canonical_url(url: str, canonical: str) -> None:
    assert canonical_url(url) == canonical
    assert canonical_url(canonical) == canonical


def test_page_key() -> None:
    """Parameters of the page stay, as do capitals of the path."""
    same = [
        "http://www.example.com/Story/",
        "https://example.com/Story?utm_source=rss",
        "https://Example.com:443/Story#top",
    ]
    assert {page_key(url) for url in same} == {"example.com/Story"}
    others = ["https://example.com/story", "https://example.com/Story?id=1", "https://m.example.com/Story"]
    assert len({page_key(url) for url in [*others, same[0]]}) == 4
    assert page_key("dns:example.com") == ""
    assert page_key("http://example.com/" + "a" * MAX_CHARS) == ""
