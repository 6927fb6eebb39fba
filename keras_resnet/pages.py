"""Self-contained HTML pages, which open without a network connection."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.5rem; margin-bottom: 0; }}
.warning {{ background: #fff4d6; border-left: 4px solid #e0a100; padding: .6rem 1rem; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; margin: 1.5rem 0; width: 100%; font-size: .9rem; }}
th, td {{ padding: .4rem .6rem; border-bottom: 1px solid #d9dee4; text-align: left; vertical-align: top; }}
th {{ font-weight: 600; border-bottom: 2px solid #9aa5b1; }}
td.name {{ white-space: nowrap; }}
td.number {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }}
.good {{ color: #1a7f37; }} .bad {{ color: #c8102e; }} .plain {{ color: #6b7681; }}
td.good, td.bad, td.plain {{ min-width: 11rem; }}
img {{ max-width: 100%; }}
footer {{ color: #6b7681; font-size: .85rem; }}
</style>
{body}
</html>
"""


def page(title: str, body: Iterable[str]) -> str:
    """Returns a page.

    Args:
        title: the title, as text.
        body: the parts of the body, as HTML; empty ones are left out.
    """
    return _PAGE.format(title=html.escape(title), body="\n".join(part for part in body if part))


def element(tag: str, text: Any, kind: str = "") -> str:
    """Returns an element of a tag and, optionally, a class, with its text escaped."""
    return f"<{tag}{f' class={kind}' if kind else ''}>{html.escape(str(text))}</{tag}>"


def row(cells: Iterable[str]) -> str:
    """Returns a row of a table from its cells, which are HTML."""
    return f"<tr>{''.join(cells)}</tr>"


def table(headings: Iterable[str], rows: Iterable[str]) -> str:
    """Returns a table from the texts of its headings and its rows as HTML; wide tables scroll horizontally."""
    head = row(element("th", heading) for heading in headings)
    return "\n".join(["<div class=wide><table>", head, *rows, "</table></div>"])


def image(path: Path, shows: str) -> str:
    """Returns an element with a PNG file embedded in it; `shows` is its alternative text."""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{html.escape(shows)}" src="data:image/png;base64,{data}">'
