"""docs/sources.md: every source and every fetcher on one page, written from what the code says of itself.

python -m pipeline.sources.manual      writes it; a test fails when the page is not what this would write
"""

from pathlib import Path

from pipeline.core.manual import reasons, settings_table
from pipeline.core.plugins import load, names
from pipeline.sources import run
from pipeline.sources.base import PACKAGE, SourceConfig
from pipeline.sources.fetch.base import PACKAGE as FETCHERS
from pipeline.sources.fetch.base import FetchConfig

PAGE = Path(__file__).parents[2] / "docs" / "sources.md"
INTRODUCTION = """
Written by `python -m pipeline.sources.manual` from the code; edit the docstrings there, not this page.

The first stage of `penstock prepare` reads raw files. Every record becomes a document, or a row of the ledger that says
why not: for its quality, or as an error, which fails the stage when there are too many (`max_error_rate`).

```yaml
sources:
  - wikipedia                                              # with its defaults
  - {name: jsonl, paths: ["notes/*.jsonl"], text_field: body}
```
"""
FETCHING = """
`penstock fetch NAME OUT --set key=value` brings the raw files. A mirror, or a server of your own, is `base_url`.

```
penstock fetch wikipedia build/raw/wikipedia --set language=simple --set date=20260901
penstock fetch cc_news build/raw/cc_news --set month=2026-09 --set num_files=2
penstock fetch books build/raw/books --set 'gutenberg=[11, 1342, 2700-2710]'
```
"""


def write() -> str:
    """The whole page."""
    docs = {name: (load(PACKAGE, name).__doc__ or "").strip() for name in names(PACKAGE)}
    lines = ["# Sources", INTRODUCTION, "## All sources", "", *settings_table(SourceConfig), "## Reasons", "",
             "| reason | source |", "|---|---|"]  # fmt: skip
    found: dict[str, list[str]] = {"empty_file": ["any"], "not_a_file": ["any"]}
    for reason, name in reasons(docs):
        found.setdefault(reason, []).append(f"[{name}](#{name})")
    lines += [f"| `{reason}` | {', '.join(sources)} |" for reason, sources in sorted(found.items())]
    lines += ["", (run.__doc__ or "").strip().rpartition("\n\n")[2], ""]
    for name, text in docs.items():
        model = load(PACKAGE, name).Config
        shared = {key for key in SourceConfig.model_fields if key != "paths"}
        lines += [f"## {name}", "", text, "", *settings_table(model, without=shared | {"name"})]
    lines += ["# Fetching", FETCHING]
    for name in names(FETCHERS):
        model = load(FETCHERS, name).Config
        own = [key for key in model.model_fields if key not in FetchConfig.model_fields or key == "base_url"]
        lines += [f"## fetch {name}", "", *settings_table(model, without=set(model.model_fields) - set(own))]
    lines += ["## All fetchers", "", *settings_table(FetchConfig, without=("name", "base_url"))]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(write(), encoding="utf-8")
