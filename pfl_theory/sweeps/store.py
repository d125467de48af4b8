"""Results on disk: one file for each cell, whole or not at all, believed only while the code that made it is
unchanged.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .cells import Row, Task, decode_rows, encode_rows
from .files import canonical_json, write_text
from .sources import Sources, differs

_PART_LIFETIME = 3600.0  # seconds after which a ".part" file belongs to a writer that was killed


@dataclass(frozen=True)
class Stored:
    """What the store knows about a cell: its rows, how long they took, and the sources that made them."""

    rows: list[Row]
    seconds: float
    sources: Sources = field(default_factory=Sources)


@dataclass(frozen=True)
class Store:
    """A folder ``<folder>/<analysis>/<key>.json``.

    Examples
    --------
    >>> import tempfile
    >>> from pfl_theory.sweeps.cells import make_task
    >>> task = make_task("demo", "analysis.demo:cell", {"tau": 4})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = Store(Path(folder))
    ...     before = store.lookup(task)
    ...     store.write(task, Stored([{"x": float("nan")}], 0.5))
    ...     after = store.lookup(task)
    >>> before
    (None, 'new')
    >>> after
    (Stored(rows=[{'x': nan}], seconds=0.5, sources=Sources(roots=(), modules={})), 'stored')
    """

    folder: Path

    def path(self, task: Task) -> Path:
        """File of a cell."""
        return self.folder / task.analysis / f"{task.key}.json"

    def write(self, task: Task, record: Stored) -> None:
        """Keep a result. The file carries its own hash, so that damage is noticed even where it still parses."""
        data = {
            "analysis": task.analysis,
            "function": task.reference,
            "cell": task.parameters,
            "seed": task.seed,
            "rows": encode_rows(record.rows),
            "seconds": record.seconds,
            "sources": record.sources.as_data(),
        }
        # Columns keep the order in which the cell gave them; the hash is of the canonical text.
        write_text(
            self.path(task), json.dumps({**data, "sha256": _hash(data)}, allow_nan=False, separators=(",", ":")) + "\n"
        )

    def lookup(self, task: Task) -> tuple[Stored | None, str]:
        """A cell's result if it still holds, and why or why not.

        The reason is ``"stored"``, ``"new"``, ``"stored file unreadable"`` or ``"source changed: <module>"``.
        """
        try:
            data = json.loads(self.path(task).read_text(encoding="utf-8"))
            found = data.pop("sha256")
            if (
                found != _hash(data)
                or data["function"] != task.reference
                or (data["cell"], data["seed"]) != (task.parameters, task.seed)
            ):
                return None, "stored file unreadable"
            sources = Sources.from_data(data["sources"])
            record = Stored(decode_rows(data["rows"]), float(data["seconds"]), sources or Sources())
        except FileNotFoundError:
            return None, "new"
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None, "stored file unreadable"
        changed = differs(sources)
        return (None, f"source changed: {changed}") if changed else (record, "stored")

    def tidy(self) -> None:
        """Remove what killed writers left behind."""
        for part in self.folder.glob("*/.*.part"):
            with contextlib.suppress(OSError):
                if time.time() - part.stat().st_mtime > _PART_LIFETIME:
                    os.unlink(part)


def _hash(data: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(data).encode()).hexdigest()
