"""docs/sources.md."""

import ast
from pathlib import Path

from pipeline.core import manual as tables
from pipeline.core import plugins
from pipeline.sources import manual


def test_the_page_is_what_the_code_says() -> None:
    """If it is not: python -m pipeline.sources.manual"""
    assert manual.PAGE.read_text(encoding="utf-8") == manual.write()


def test_no_cell_is_empty() -> None:
    rows = [line for line in manual.write().splitlines() if line.startswith("|")]
    assert not [row for row in rows if any(not cell.strip() for cell in row.strip("|").split("|"))]


def test_every_reason_in_a_sources_code_is_on_the_page() -> None:
    for name in plugins.names(manual.PACKAGE):
        module = plugins.load(manual.PACKAGE, name)
        listed = {reason for reason, _ in tables.reasons({name: module.__doc__ or ""})}
        for reason in given(Path(module.__file__ or "").read_text(encoding="utf-8")):
            assert any(known.startswith(reason.rstrip("0123456789")) for known in listed), (name, reason)


def given(source: str) -> list[str]:
    """Constants that the code passes as reason to `reject` and `broken`, their fourth argument."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and len(node.args) > 3]
    named = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in ("reject", "broken")]
    return [call.args[3].value for call in named if isinstance(call.args[3], ast.Constant)]
