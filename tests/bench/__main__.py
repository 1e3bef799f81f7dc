"""Runs benches, prints one table, keeps the figures in tests/bench/results.json and, with --write, in BENCHMARKS.md.

    python -m tests.bench [NAME ...] [--write]      all benches by default; exit 1 when a bound is missed

A rerun of one bench replaces its rows only. Real corpora are read from the folder in PENSTOCK_TEST_DATA; without it
the benches that need them are skipped, a line each, and keep the rows they had.
"""

import argparse
import importlib
import json
import os
import pkgutil
import platform
import sys
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import tests.bench
from tests.bench.row import NoRealData, Row

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path("BENCHMARKS.md")
NOT_BENCHES = ("row", "dedup_corpus", "__main__")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.splitlines()[0])
    known = [m.name for m in pkgutil.iter_modules(tests.bench.__path__) if m.name not in NOT_BENCHES]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(known)}")
    parser.add_argument("--large", action="store_true", help="also rows that take ten minutes: 4 M documents in dedup")
    parser.add_argument("--write", action="store_true", help="also write BENCHMARKS.md")
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - set(known):
        parser.error(f"no bench {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    table = Table("bench", "what", "measured", "bound", "peer", title="Ratios against peers", title_justify="left")
    missed = 0
    for name in chosen.names or known:
        bench = importlib.import_module(f"tests.bench.{name}")
        try:
            rows = [*bench.rows(), *(bench.large_rows() if chosen.large and hasattr(bench, "large_rows") else ())]
        except NoRealData as error:
            print(f"SKIPPED bench {name}: it needs real corpora, and {error}", flush=True)
            continue
        missed += sum(not row.holds for row in rows)
        for row in rows:
            table.add_row(name, row.what, measured(row), bound(row), row.peer)
        results[name] = {"date": date.today().isoformat(), "machine": machine(), "rows": [asdict(row) for row in rows]}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    Console().print(table)
    if chosen.write:
        PAGE.write_text(page(results))
    sys.exit(f"{missed} bounds missed" if missed else 0)


def measured(row: Row) -> str:
    return f"{row.value:,.3g} {row.unit}" + ("" if row.holds else "  MISSED")


def bound(row: Row) -> str:
    return f"{'at most' if row.at_most else 'at least'} {row.bound:g} {row.unit}"


def machine() -> str:
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.processor())  # fmt: skip
    return f"{os.cpu_count()} shared cores, {model}, Python {platform.python_version()}"


def page(results: dict[str, Any]) -> str:
    lines = [
        "# Benchmarks", "",
        "Written by `make bench`: ratios against a named peer, the same work in the same run. Absolute figures are of",
        "small shared machines and mean little.", "",
    ]  # fmt: skip
    for name, result in sorted(results.items()):
        lines += [f"## {name}", "", f"{result['date']}, {result['machine']}.", ""]
        lines += ["| what | measured | bound | peer | detail |", "|---|---|---|---|---|"]
        for row in (Row(**row) for row in result["rows"]):
            lines.append(f"| {row.what} | {measured(row)} | {bound(row)} | {row.peer or '-'} | {row.detail or '-'} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    main()
