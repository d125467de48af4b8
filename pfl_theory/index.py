"""All figures, tables and verdicts on one plain page, without scripts."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .sweeps.files import write_text
from .sweeps.sources import Sources, differs

_ROWS = 20  # of a table on the page; the CSV has all
_SECTIONS = {"full": "Full scale", "quick": "Quick scale"}
_OUTCOMES = {"HOLDS": "✓", "VIOLATED": "✗", "INCONCLUSIVE": "?", "NOT_APPLICABLE": "–"}

_CSS = """
body { font: 16px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 64rem; padding: 0 1rem; color: #111; background: #fff; }
section.quick > h2 { border-left: 0.4rem dashed #555; padding-left: 0.6rem; }
section.full > h2 { border-left: 0.4rem solid #555; padding-left: 0.6rem; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; } figcaption { font-size: 0.9rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 0.8rem; margin: 0.8rem 0; }
caption { text-align: left; font-weight: 600; padding: 0.2rem 0; } th, td { border: 1px solid #bbb; padding: 0.15rem 0.45rem; text-align: left; }
#verdicts td { white-space: nowrap; } #verdicts td:nth-last-child(-n+2) { min-width: 22rem; white-space: normal; }
th { background: #eee; } .note { border: 1px solid #555; padding: 0.3rem 0.6rem; } dl { font-size: 0.9rem; } dt { font-weight: 600; }
""".strip()


def collect_verdicts(folder: str | os.PathLike[str]) -> Path | None:
    """Join the verdicts that analyses left under `folder` and its subfolder ``quick`` into ``<folder>/verdicts.csv``,
    with their scale.
    """
    root = Path(folder)
    header: list[str] = []
    rows: list[dict[str, str]] = []
    for base in (root, root / "quick"):
        for file in sorted(base.glob("*/judged.csv")):
            notes = _notes(file.with_name(f"{file.parent.name}.json")) or {"scale": "quick" if base != root else "full"}
            reader = csv.DictReader(io.StringIO(file.read_text(encoding="utf-8")))
            rows += [{**row, "scale": notes["scale"]} for row in reader]
            header = list(dict.fromkeys([*header, *(reader.fieldnames or []), "scale"]))
    if not rows:
        return None
    stream = io.StringIO()
    writer = csv.DictWriter(stream, header, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    write_text(root / "verdicts.csv", stream.getvalue())
    return root / "verdicts.csv"


def build_index(folder: str | os.PathLike[str]) -> Path:
    """Write ``<folder>/index.html`` from what analyses left in `folder` and in its subfolder ``quick``, and from
    ``verdicts.csv``.

    Quick and full results stand in sections of their own, by what their notes say, not by where they lie.

    Returns
    -------
    Path
        The page. It is written whole or not at all.
    """
    root = Path(folder)
    found = [
        (path, notes)
        for base in (root, root / "quick")
        for path in sorted(base.glob("*/*.json"))
        if (notes := _notes(path)) is not None
    ]
    body = [_verdicts(root)]
    for scale, heading in _SECTIONS.items():
        mine = [(path, notes) for path, notes in found if notes["scale"] == scale]
        articles = "\n".join(_article(root, path.parent, notes) for path, notes in mine)
        command = f"python -m analysis all --scale {scale}"
        empty = f"<p>Nothing here yet: <code>{command}</code> makes it.</p>"
        body.append(f'<section class="{scale}" id="{scale}">\n<h2>{heading}</h2>\n{articles or empty}\n</section>')
    contents = '<nav><p>On this page: <a href="#verdicts">Verdicts</a>, <a href="#full">Full scale</a>, <a href="#quick">Quick scale</a></p></nav>'
    page = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        '<head>\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>pfl-theory: figures, tables and verdicts</title>\n<style>\n{_CSS}\n</style>\n</head>",
        f"<body>\n<h1>pfl-theory: figures, tables and verdicts</h1>\n{contents}",
        *body,
        "</body>\n</html>\n",
    ]
    write_text(root / "index.html", "\n".join(page))
    return root / "index.html"


def _notes(path: Path) -> dict[str, Any] | None:
    """Notes of an analysis, or None if the file is something else or damaged."""
    try:
        notes = json.loads(path.read_text(encoding="utf-8"))
        complete = path.stem == path.parent.name == notes["analysis"] and all(
            name in notes for name in ("title", "scale", "figures", "tables", "cells")
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return notes if complete else None


def _article(root: Path, folder: Path, notes: dict[str, Any]) -> str:
    name, scale = str(notes["analysis"]), str(notes["scale"])
    link = quote(folder.relative_to(root).as_posix())
    data = ", ".join(map(str, notes.get("data") or [])) or "synthetic"
    parts = [f'<article id="{escape(scale)}-{escape(name)}">', f"<h3>{escape(str(notes['title']))}</h3>"]
    origin = notes.get("provenance") or {}
    made = f"{len(notes['cells'])} cells, seed {notes.get('seed')}; made {origin.get('date')} by <code>{escape(str(origin.get('command')))}</code>"
    parts.append(f"<p>{escape(name)}, {escape(scale)} scale. Data: {escape(data)}. {made}.</p>")
    changed = [name for name in (differs(Sources.from_data(item)) for item in notes.get("sources") or []) if name]
    if changed:
        parts.append(f'<p class="note">Made by older sources: <code>{escape(changed[0])}</code> has changed since.</p>')
    parts += [f'<p class="note">{escape(str(line))}</p>' for line in notes.get("skipped") or []]
    if not notes["figures"]:
        parts.append('<p class="note">No figure: all cells were skipped, or drawing failed.</p>')
    for stem in map(str, notes["figures"]):
        where = f"{link}/{quote(stem)}"
        alt = (
            f"Figure: {notes['title']}"
            + (f" ({stem.removeprefix(name + '-')})" if stem != name else "")
            + f", {scale} scale; its numbers are in {name}.csv"
        )
        parts.append(f'<figure>\n<a href="{where}.pdf"><img src="{where}.png" alt="{escape(alt)}"></a>')
        parts.append(
            f'<figcaption>{escape(stem)}: <a href="{where}.pdf">PDF</a>, <a '
            f'href="{where}.png">PNG</a></figcaption>\n</figure>'
        )
    parts.append(_choices(notes.get("choices")))
    for stem in [name, *map(str, notes["tables"])]:
        parts.append(_table_file(folder / f"{stem}.csv", f"{link}/{quote(stem)}.csv", stem))
    if (folder / "judged.csv").exists():
        parts.append(_table_file(folder / "judged.csv", f"{link}/judged.csv", f"{name}: verdicts", rows=None))
    parts.append(f'<p>How it was made: <a href="{link}/{quote(name)}.json">{escape(name)}.json</a></p>\n</article>')
    return "\n".join(part for part in parts if part)


def _choices(choices: Any) -> str:
    if not choices:
        return ""
    if isinstance(choices, dict):
        return (
            "<dl>\n"
            + "\n".join(f"<dt>{escape(str(what))}</dt><dd>{escape(str(taken))}</dd>" for what, taken in choices.items())
            + "\n</dl>"
        )
    return f"<p>Choices: {escape(str(choices))}</p>"


def _verdicts(root: Path) -> str:
    path = root / "verdicts.csv"
    table = _table_file(path, "verdicts.csv", "Verdicts", rows=None) if path.exists() else "<p>No verdicts yet.</p>"
    return f'<section id="verdicts">\n<h2>Verdicts</h2>\n{table}\n</section>'


def _table_file(path: Path, link: str, caption: str, rows: int | None = _ROWS) -> str:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            head, *lines = list(csv.reader(stream)) or [[]]
    except (OSError, ValueError, csv.Error):
        return f'<p class="note">{escape(path.name)} cannot be read.</p>'
    shown = lines if rows is None else lines[:rows]
    more = f"first {len(shown)} of {len(lines)} rows" if len(shown) < len(lines) else f"{len(lines)} rows"
    title = f'{escape(caption)} ({more}, <a href="{link}">CSV</a>)'
    return _table(title, head, shown)


def _table(title: str, head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{_cell(name, value)}</td>" for name, value in zip(head, line, strict=False)) + "</tr>"
        for line in lines
    )
    top = f"<thead><tr>{cells}</tr></thead>\n" if cells else ""
    return f'<div class="wide"><table>\n<caption>{title}</caption>\n{top}<tbody>\n{body}\n</tbody></table></div>'


def _cell(column: str, value: str) -> str:
    """A cell as text; long floats shortened, outcomes marked by a sign beside the word."""
    if column in ("outcome", "expected") and value in _OUTCOMES:
        return f"{_OUTCOMES[value]} {escape(value)}"
    if len(value) > 12:
        try:
            return escape(f"{float(value):.6g}")
        except ValueError:
            pass
    return escape(value)
