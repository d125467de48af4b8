"""Cells that a committed CSV holds, and whether the sources as they stand made them."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..sweeps import Row, Sources, Task
from ..sweeps.files import write_text
from ..sweeps.sources import differs

SCALES = ("quick", "full")


def folder_of(scale: str, out: str | os.PathLike[str] | None = None) -> Path:
    """Where results of a scale lie."""
    return Path(out) if out is not None else Path("figures/quick" if scale == "quick" else "figures")


def notes_of(path: Path) -> dict[str, Any]:
    """Notes of an analysis; empty where there are none, or damaged ones."""
    try:
        notes = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}


def write_notes(path: Path, notes: dict[str, Any]) -> None:
    """Write the notes of an analysis."""
    write_text(path, json.dumps(notes, indent=1, ensure_ascii=False, default=str) + "\n")


class Made(NamedTuple):
    """A cell's rows and where they come from. `status`: "stored", "computed", "committed", "skipped". `sources`: as
    they stand in the notes, also where an earlier version wrote them.
    """

    rows: list[Row]
    status: str
    seconds: float
    sources: Any
    older: bool = False


def read_committed(folder: Path, name: str, tasks: Sequence[Task]) -> dict[str, Made]:
    """Cells found in ``<name>.csv`` and ``<name>.json`` of a finished run, by key. Nothing, if the two do not belong
    together.
    """
    try:
        text = (
            (folder / f"{name}.csv").read_bytes().decode().replace("\r\n", "\n")
        )  # git may have changed the ends of lines
        notes = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        if notes["csv_sha256"] != hashlib.sha256(text.encode()).hexdigest():
            return {}
        rows = list(csv.DictReader(io.StringIO(text)))
        by_key = {task.key: task for task in tasks}
        found: dict[str, Made] = {}
        older = [differs(Sources.from_data(item)) is not None for item in notes["sources"]]
        for cell in notes["cells"]:
            mine, rows = rows[: cell["rows"]], rows[cell["rows"] :]
            if cell["status"] != "skipped" and cell["key"] in by_key:
                # An empty field is a column that the row did not have, or None: the same in a CSV.
                plain = [dict(row) for row in mine]
                number = cell["sources"]
                found[cell["key"]] = Made(plain, "committed", cell["seconds"], notes["sources"][number], older[number])
        return found
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return {}
