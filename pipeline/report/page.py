"""The waterfalls of `penstock ledger summary` as one HTML file: inline SVG and CSS, no script, no network."""

from html import escape
from pathlib import Path

from pipeline.core.errors import UserError
from pipeline.core.ledger import Flow
from pipeline.core.sizes import in_units
from pipeline.report.waterfall import Bar, Summary, bars

ROW, BAR = 22, 15  # pixels
LABELS, PLOT, FIGURES = 300, 420, 240
COLOURS = ("#d1495b", "#edae49", "#00798c", "#8d6a9f", "#66a182")  # of the stages, in order

STYLE = """
:root { color-scheme: light dark; --ink: #222; --faint: #888; --paper: #fff; --line: #e4e4e4; --whole: #7a8a99; }
@media (prefers-color-scheme: dark) { :root { --ink: #ddd; --faint: #999; --paper: #1b1d1f; --line: #383c40; } }
body { font: 14px/1.4 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;
       max-width: 1000px; padding: 0 1rem; }
h1 { font-size: 1.3rem } h2 { font-size: 1.05rem; margin: 2rem 0 .3rem }
p { color: var(--faint); margin: .2rem 0 }
svg { width: 100%; height: auto; display: block } svg text { font: 12px system-ui, sans-serif; fill: var(--ink) }
svg .faint { fill: var(--faint) } svg .whole { fill: var(--whole) } svg .rest { fill: var(--line) }
.key { display: inline-block; width: .8em; height: .8em; margin: 0 .3em 0 1em; vertical-align: baseline }
""".strip()


def write(summary: Summary, file: Path) -> None:
    colours = {stage: COLOURS[number % len(COLOURS)] for number, stage in enumerate(summary.stages)}
    keys = "".join(f'<span class="key" style="background:{colours[s]}"></span>{escape(s)}' for s in summary.stages)
    unused = ""
    if summary.unused:
        size = in_units(sum(folder.num_bytes for folder in summary.unused))
        names = ", ".join(escape(folder.name) for folder in summary.unused)
        unused = f"<p>Unused stage folders of other settings, which may go: {names} ({size}).</p>\n"
    body = "".join(_section(flow, colours) for flow in summary.flows)
    html = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Ledger of {escape(summary.data)}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n"
        f"<h1>What became of the documents of {escape(summary.data)}</h1>\n<p>dropped in:{keys}</p>\n{unused}{body}"
        "</body>\n</html>\n"
    )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(html, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror}") from None


def _section(flow: Flow, colours: dict[str, str]) -> str:
    rows = bars(flow)
    height = ROW * len(rows)
    kept = (
        f"{rows[-1].share:.1%} of the documents and {flow.bytes_kept / max(1, flow.bytes_in):.1%} of the bytes are kept"
    )
    drawn = "".join(_row(bar, number * ROW, colours) for number, bar in enumerate(rows))
    return (
        f"<h2>{escape(flow.source)}</h2>\n<p>{kept}</p>\n"
        f'<svg viewBox="0 0 {LABELS + PLOT + FIGURES} {height}" role="img" aria-label="{escape(flow.source)}">\n'
        f"{drawn}</svg>\n"
    )


def _row(bar: Bar, top: int, colours: dict[str, str]) -> str:
    """Label, what is left (grey) with what the rule took behind it, figures."""
    middle = top + ROW - 7
    documents, share = (f"{bar.documents:,}", f"{bar.share:.1%}") if bar.documents else ("", "")  # edits take none
    label = f"{bar.stage}: {bar.name}" if bar.stage else bar.name
    size = in_units(bar.num_bytes)
    told = f"{label}: {bar.documents:,} documents, {size}; {bar.left:.1%} left"
    left = PLOT * bar.left
    if bar.stage:
        taken = max(PLOT * bar.share, 1.5 if bar.documents else 0)
        boxes = _box(LABELS, top, left, 'class="rest"') + _box(
            LABELS + left, top, taken, f'fill="{colours[bar.stage]}"'
        )
    else:
        boxes = _box(LABELS, top, left, 'class="whole"')
    faint = ' class="faint"' if bar.stage else ""
    return (
        f"<g><title>{escape(told)}</title>"
        f'<text x="{LABELS - 10}" y="{middle}" text-anchor="end">{escape(label)}</text>{boxes}'
        f'<text x="{LABELS + PLOT + 100}" y="{middle}" text-anchor="end">{documents}</text>'
        f'<text x="{LABELS + PLOT + 160}" y="{middle}" text-anchor="end"{faint}>{share}</text>'
        f'<text x="{LABELS + PLOT + FIGURES}" y="{middle}" text-anchor="end"{faint}>{size}</text>'
        "</g>\n"
    )


def _box(x: float, top: int, width: float, look: str) -> str:
    return f'<rect x="{x:.1f}" y="{top + (ROW - BAR) // 2}" width="{width:.1f}" height="{BAR}" {look}/>'
