"""All figures, tables and verdicts on one plain page, without scripts."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..sweeps.files import write_text
from ..sweeps.state import state
from .templates import filled

_ROWS = 20  # of a table on the page; the CSV has all
_HEADINGS = {"full": "Full scale", "quick": "Quick scale"}
_OUTCOMES = {"HOLDS": "✓", "VIOLATED": "✗", "INCONCLUSIVE": "?", "NOT_APPLICABLE": "–"}


def collect_verdicts(folder: str | os.PathLike[str], scale: str = "full") -> Path | None:
    """Join the verdicts of one scale that analyses left under `folder` into ``<folder>/verdicts.csv``.

    Returns
    -------
    Path or None
        The table; None where there are no verdicts, and nothing is written then.
    """
    root = Path(folder)
    header: list[str] = []
    rows: list[dict[str, str]] = []
    for path, _ in _found(root, scale):
        file = path.with_name("judged.csv")
        if file.exists():
            reader = csv.DictReader(io.StringIO(file.read_text(encoding="utf-8")))
            rows += [{**row, "scale": scale} for row in reader]
            header = list(dict.fromkeys([*header, *(reader.fieldnames or []), "scale"]))
    if not rows:
        return None
    stream = io.StringIO()
    writer = csv.DictWriter(stream, header, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    write_text(root / "verdicts.csv", stream.getvalue())
    return root / "verdicts.csv"


def build_index(folder: str | os.PathLike[str], scale: str = "full") -> Path:
    """Write ``<folder>/index.html`` from what analyses of one scale left in `folder`, and from its ``verdicts.csv``.

    Returns
    -------
    Path
        The page. It is written whole or not at all.
    """
    root = Path(folder)
    articles = "\n".join(_article(root, path.parent, notes) for path, notes in _found(root, scale))
    empty = _html("nothing", command=f"python -m analysis all --scale {scale}")
    section = _html("section", scale=scale, heading=_HEADINGS[scale], articles=articles or empty)
    page = _html("page", scale=scale, heading=_HEADINGS[scale], verdicts=_verdicts(root), section=section)
    write_text(root / "index.html", page + "\n")
    return root / "index.html"


def _found(root: Path, scale: str) -> list[tuple[Path, dict[str, Any]]]:
    """Notes of the analyses of one scale, by what they say and not by where they lie."""
    noted = [(path, _notes(path)) for path in sorted(root.glob("*/*.json"))]
    return [(path, notes) for path, notes in noted if notes is not None and notes["scale"] == scale]


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
    origin = notes.get("provenance") or {}
    found = state(notes)
    older = found.kind == "older"
    parts = [
        _html("older", module=escape(found.changed)) if older else _note(f"{found.text[0].upper()}{found.text[1:]}.")
    ]
    parts += [_note(str(line)) for line in notes.get("skipped") or []]
    if not notes["figures"]:
        parts.append(_note("No figure: all cells were skipped, or drawing failed."))
    for stem in map(str, notes["figures"]):
        part = f" ({stem.removeprefix(name + '-')})" if stem != name else ""
        alt = f"Figure: {notes['title']}{part}, {scale} scale; its numbers are in {name}.csv"
        parts.append(_html("figure", link=f"{link}/{quote(stem)}", alt=escape(alt), stem=escape(stem)))
    parts.append(_choices(notes.get("choices")))
    for stem in [name, *map(str, notes["tables"])]:
        parts.append(_table_file(folder / f"{stem}.csv", f"{link}/{quote(stem)}.csv", stem))
    if (folder / "judged.csv").exists():
        parts.append(_table_file(folder / "judged.csv", f"{link}/judged.csv", f"{name}: verdicts", rows=None))
    return _html(
        "article",
        scale=escape(scale),
        name=escape(name),
        title=escape(str(notes["title"])),
        data=escape(", ".join(map(str, notes.get("data") or [])) or "synthetic"),
        cells=len(notes["cells"]),
        seed=notes.get("seed"),
        date=origin.get("date"),
        command=escape(str(origin.get("command"))),
        body="\n".join(part for part in parts if part),
        link=f"{link}/{quote(name)}",
    )


def _html(fragment: str, **fields: object) -> str:
    return filled("index.html", fragment, **fields)


def _note(text: str) -> str:
    return _html("note", text=escape(text))


def _choices(choices: Any) -> str:
    if not choices:
        return ""
    if not isinstance(choices, dict):
        return _html("choices in words", text=escape(str(choices)))
    lines = [_html("choice", what=escape(str(what)), taken=escape(str(taken))) for what, taken in choices.items()]
    return _html("choices", choices="\n".join(lines))


def _verdicts(root: Path) -> str:
    path = root / "verdicts.csv"
    there = path.exists()
    table = _table_file(path, "verdicts.csv", "Verdicts", rows=None) if there else _html("no verdicts")
    return _html("verdicts", table=table)


def _table_file(path: Path, link: str, caption: str, rows: int | None = _ROWS) -> str:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            head, *lines = list(csv.reader(stream)) or [[]]
    except (OSError, ValueError, csv.Error):
        return _note(f"{path.name} cannot be read.")
    shown = lines if rows is None else lines[:rows]
    more = f"first {len(shown)} of {len(lines)} rows" if len(shown) < len(lines) else f"{len(lines)} rows"
    names = "".join(_html("head cell", text=escape(name)) for name in head)
    top = _html("head", cells=names) + "\n" if names else ""
    body = "\n".join(_row(head, line) for line in shown)
    return _html("table", caption=escape(caption), rows=more, link=link, head=top, body=body)


def _row(head: Sequence[str], line: Sequence[str]) -> str:
    cells = (_html("cell", text=_cell(name, value)) for name, value in zip(head, line, strict=False))
    return _html("row", cells="".join(cells))


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
