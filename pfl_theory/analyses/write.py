"""One analysis, from results to files: table, figures, notes."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError, OutputError
from ..sweeps import Row, Task
from ..sweeps.files import write_text
from ..sweeps.state import OLDER, state
from .committed import Made, notes_of, write_notes
from .module import Analysis
from .tables import csv_text, read_table


@dataclass
class Report:
    """What became of an analysis; `problems` are lines for the reader, and make the exit code 1."""

    name: str
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def _source_sets(made: Sequence[Made]) -> tuple[list[Any], list[int]]:
    """Few sources for many cells: each of them once."""
    sets: list[Any] = []
    numbers = []
    for item in made:
        if item.sources not in sets:
            sets.append(item.sources)
        numbers.append(sets.index(item.sources))
    return sets, numbers


def write_analysis(
    analysis: Analysis, tasks: Sequence[Task], made: Sequence[Made], folder: Path, context: dict[str, Any]
) -> Report:
    """Write table, figures and notes of one analysis.

    Parameters
    ----------
    analysis : Analysis
        What to draw.
    tasks, made : sequences
        Its cells in grid order, and their rows.
    folder : Path
        Where the files go.
    context : dict
        Keywords for :func:`~pfl_theory.provenance.provenance`.
    """
    from ..plotting import save_figure, style
    from ..provenance import provenance

    name, module = analysis.name, analysis.module
    report = Report(name)
    rows = [row for item in made for row in item.rows]
    text = csv_text(rows)
    skipped = sorted({str(row["status"]) for item in made if item.status == "skipped" for row in item.rows})
    report.notes += skipped
    figures: list[str] = []
    tables: list[str] = []
    verdicts: list[Row] = []
    write_text(folder / f"{name}.csv", text)
    drawable = [row for item in made if item.status != "skipped" for row in item.rows]
    if not rows:
        report.problems.append(f"{name}: not drawn: its cells returned no rows")
    if drawable:
        try:
            table = read_table(
                csv_text(drawable)
            )  # without the skipped rows, whose gaps would turn integers into floats
            with style():
                drawn = module.plot(table)
                for part, figure in (drawn if isinstance(drawn, dict) else {"": drawn}).items():
                    figures.append(f"{name}-{part}" if part else name)
                    save_figure(figure, folder, figures[-1])
            for part, frame in (module.tables(table) if hasattr(module, "tables") else {}).items():
                tables.append(f"{name}-{part}")
                write_text(folder / f"{tables[-1]}.csv", csv_text(frame.to_dict("records")))
            if hasattr(module, "verdicts"):
                # an empty field of a table reads as NaN: in the table of verdicts it is empty again
                verdicts = [{k: None if v != v else v for k, v in row.items()} for row in module.verdicts(table)]
                write_text(folder / "judged.csv", csv_text(verdicts))
        except OutputError:
            raise
        except InputError as error:
            report.problems.append(f"{name}: not drawn: {error}")
        except Exception as error:  # an analysis must not take the others along
            report.problems.append(f"{name}: not drawn: {type(error).__name__}: {error}\n{traceback.format_exc()}")
    _remove_others(folder, name, figures, tables, verdicts)

    sets, numbers = _source_sets(made)
    digest = hashlib.sha256(text.encode()).hexdigest()
    seconds = sum(item.seconds for item in made)
    before = notes_of(folder / f"{name}.json")
    unchanged = all(item.status in ("stored", "committed") for item in made)
    redrawn = unchanged and before.get("csv_sha256") == digest and "provenance" in before
    if redrawn:
        origin = before["provenance"]  # a redraw does not make the numbers younger
    else:
        origin = provenance(**{**context, "data": list(module.DATA), "seconds": seconds})
    notes = {
        "analysis": name,
        "title": analysis.title,
        "data": list(module.DATA),
        "choices": module.CHOICES,
        "scale": context["scale"],
        "seed": context["seed"],
        "figures": figures,
        "tables": tables,
        "skipped": skipped,
        "csv_sha256": digest,
        "provenance": origin,
        "cells": [
            {
                "key": task.key,
                "parameters": task.parameters,
                "status": "skipped" if item.status == "skipped" else "done",
                "rows": len(item.rows),
                "seconds": item.seconds,
                "sources": number,
            }
            for task, item, number in zip(tasks, made, numbers, strict=True)
        ],
        "sources": sets,
    }
    if redrawn and "confirmed" in before:
        notes["confirmed"] = before["confirmed"]
    write_notes(folder / f"{name}.json", notes)
    found = state(notes)
    older = sum(item.older for item in made)
    if found.kind == "older":
        report.notes.append(f"{OLDER}: {older} of {len(made)} cells; --force computes them, confirm compares a few")
    elif context["scale"] == "full":
        report.notes.append(found.text)
    return report


def _remove_others(folder: Path, name: str, figures: list[str], tables: list[str], verdicts: list[Row]) -> None:
    """Figures and tables that an earlier version of the analysis wrote and this one does not."""
    wanted = {f"{stem}.{end}" for stem in figures for end in ("pdf", "png")} | {
        f"{stem}.csv" for stem in [name, *tables]
    }
    wanted |= {f"{name}.json"} | ({"judged.csv"} if verdicts else set())
    before = notes_of(folder / f"{name}.json")
    known = {f"{stem}.{end}" for stem in before.get("figures", []) for end in ("pdf", "png")} | {
        f"{stem}.csv" for stem in before.get("tables", [])
    }
    for file in sorted((known | {"judged.csv"}) - wanted):
        if Path(file).name == file:
            (folder / file).unlink(missing_ok=True)
