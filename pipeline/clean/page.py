"""docs/filters.md: every recipe and every filter on one page, written from what the code says of itself.

    python -m pipeline.clean.page          writes it; a test fails when the page is not what this would write

Recipes come from their YAML files, filters from their modules' docstrings, settings from their fields'.
"""

import ast
import json
from collections.abc import Iterator
from pathlib import Path

from pipeline.clean import recipe
from pipeline.clean.run import DEFAULT_FILTERS
from pipeline.clean.survey import PACKAGE
from pipeline.core.manual import reasons, settings_table
from pipeline.core.plugins import load, names

PAGE = Path(__file__).parents[2] / "docs" / "filters.md"
DROPS = ("Drop", "below", "above")
INTRODUCTION = f"""
Written by `python -m pipeline.clean.page` from the code; edit the docstrings there, not this page.

`penstock prepare` sends every document through the filters of `clean.filters`, in their order. A filter keeps a
document, edits it, or drops it for a reason; each verdict is a row of the ledger. The detail of a drop is a number and
the threshold that it missed: "7 words, fewer than min_words 50". An edit is seen by the filters after it, a drop ends
the document's way. Without a config the filters are
{", ".join(f"`{name}`" for name in DEFAULT_FILTERS)}.

```yaml
clean:
  filters:
    - unicode                              # with its defaults
    - {{name: quality, max_words: 400_000}}  # with a threshold of yours
```

A recipe is such a list with a name and a pin. Take one by `extends: recipes/fineweb.yaml`; look at it with
`penstock recipe show fineweb`; see what another one would do to your documents with
`penstock recipe diff fineweb c4 --data DIR`.
"""


def write() -> str:
    """The whole page."""
    filters = {name: (load(PACKAGE, name).__doc__ or "").strip() for name in names(PACKAGE)}
    lines = ["# Filters and recipes", INTRODUCTION, "## Recipes", ""]
    for name in recipe.names():
        lines += recipe_section(name)
    lines += ["## Reasons", "", "What a reason or an edit in the ledger means is said under its filter.", "",
              "| reason or edit | filter |", "|---|---|"]  # fmt: skip
    lines += [f"| `{reason}` | [{name}](#{name}) |" for reason, name in sorted(set(reasons(filters)))]
    lines += ["| `empty` | edits left nothing of the text |", "", "## Filters", ""]
    for name, text in filters.items():
        lines += [f"### {name}", "", text, "", *settings_table(load(PACKAGE, name).Config)]
    return "\n".join(lines).rstrip() + "\n"


def recipe_section(name: str) -> Iterator[str]:
    chosen = recipe.read(name)
    yield from (f"### Recipe {name}", "", f"{recipe.about(name)} Pin: `{chosen.pin}`.", "")
    yield from ("| filter | settings that are not its defaults |", "|---|---|")
    for section in chosen.filters:
        changed = section.model_dump(mode="json", exclude_defaults=True, exclude={"name"})
        shown = ", ".join(f"`{key}: {json.dumps(value)}`" for key, value in changed.items())
        yield f"| [{section.name}](#{section.name}) | {shown or '-'} |"
    yield ""


def reasons_in(source: str) -> Iterator[str]:
    """What a module's code passes to `Drop`, `below` and `above`; of an f-string the part before its first value."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in DROPS:
            reason = node.args[0]
            if isinstance(reason, ast.JoinedStr):
                reason = reason.values[0]
            if isinstance(reason, ast.Constant):
                yield str(reason.value)


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(write(), encoding="utf-8")
