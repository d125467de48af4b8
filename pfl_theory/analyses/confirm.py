"""Committed results computed again, a sample of their cells, and compared byte for byte."""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import one_of, require
from ..sweeps import Outcome, Progress, Row, Sources, Task, n_workers, run
from ..sweeps.sources import reference_roots, sources_of
from ..sweeps.state import LIBRARIES, confirmation_text
from .committed import SCALES, Made, folder_of, notes_of, read_committed, write_notes
from .module import Analysis, get, select
from .tables import text_of

LONGEST = 1200.0  # seconds that a single cell may have taken where none fits
_SHOWN = 10  # differences of one analysis

Say = Callable[[str], None]


class Difference(NamedTuple):
    """A field that is not what is committed."""

    column: str
    row: int
    committed: str
    computed: str

    def __str__(self) -> str:
        both = f"committed {self.committed or 'nothing'}, computed {self.computed or 'nothing'}"
        return f"column {self.column!r}, row {self.row}: {both}{self._size()}"

    def _size(self) -> str:
        try:
            a, b = float(self.committed), float(self.computed)
        except ValueError:
            return ""
        size = f"{abs(a - b):.3g}"
        return f"; they differ by {size}" + (f", relative {abs(a - b) / abs(a):.3g}" if a else "")


def differences(committed: Sequence[Row], computed: Sequence[Row], leave_out: Sequence[str] = ()) -> list[Difference]:
    """Fields whose text is not the committed one; `computed` are rows as a cell returns them, after its parameters.

    Examples
    --------
    >>> for difference in differences([{"x": "0.5", "y": "1"}], [{"x": 0.25, "y": 1}]):
    ...     print(difference)
    column 'x', row 0: committed 0.5, computed 0.25; they differ by 0.25, relative 0.5
    """
    found = []
    if len(committed) != len(computed):
        found.append(Difference("(number of rows)", 0, str(len(committed)), str(len(computed))))
    for k, (old, new) in enumerate(zip(committed, computed, strict=False)):
        for column in dict.fromkeys([*old, *new]):
            texts = str(old.get(column) or ""), text_of(new.get(column))
            if texts[0] != texts[1] and column not in leave_out:
                found.append(Difference(column, k, *texts))
    return found


def sample(seconds_of: dict[str, float], budget: float, seed: int | str) -> list[str]:
    """Cells in a random order, those left out that no longer fit into `budget` seconds; the cheapest one if none does.

    Examples
    --------
    >>> sample({"a": 50.0, "b": 2.0, "c": 3.0}, 6.0, 0), sample({"a": 50.0, "b": 40.0}, 6.0, 0)
    (['c', 'b'], ['b'])
    """
    order = sorted(seconds_of)
    random.Random(f"confirm {seed}").shuffle(order)
    chosen, left = [], budget
    for key in order:
        if seconds_of[key] <= left:
            chosen.append(key)
            left -= seconds_of[key]
    return chosen or [min(order, key=lambda key: seconds_of[key])]


class _Plan(NamedTuple):
    analysis: Analysis
    tasks: list[Task]  # all that are committed, in the order of the grid
    committed: dict[str, Made]
    chosen: list[Task]


def confirm_analyses(
    wanted: Sequence[str],
    *,
    seconds: float = 60.0,
    scale: str = "full",
    workers: int | str = 1,
    seed: int = 0,
    out: str | None = None,
    package: str = "analysis",
    say: Say = lambda _line: None,
    complain: Say = lambda _line: None,
) -> int:
    """Compute a sample of the committed cells again and compare; note in the result's JSON file what was confirmed.

    Parameters
    ----------
    wanted : sequence of str
        Names, or ``["all"]``.
    seconds : float
        What the cells of an analysis took together, at most, when they were made; at least one cell is computed, unless
        even the cheapest took more than 20 minutes.
    scale : {"quick", "full"}
        Which results.
    workers : int
        Processes.
    seed : int
        Of the sample.
    out : path, optional
        Where the results are: ``figures/quick`` or ``figures`` unless given.
    package : str
        Package whose modules are the analyses.
    say, complain : callable
        Where lines for the reader go, and where errors go.

    Returns
    -------
    int
        Exit code: 0, or 1 if something differs or fails; nothing is noted of such an analysis.
    """
    one_of("scale", scale, SCALES)
    number = n_workers(workers)
    require(seconds > 0, f"--seconds {seconds:g}: must be more than 0")
    chosen = select(wanted, package)
    folder = folder_of(scale, out)
    plans = []
    problems: list[str] = []
    for name in chosen:
        plan = _plan(get(name, package), folder / name, scale, seconds, seed)
        if isinstance(plan, _Plan):
            plans.append(plan)
        else:
            say(f"{name}: {plan}")
    todo = [task for plan in plans for task in plan.chosen]
    with tempfile.TemporaryDirectory() as store, Progress() as progress:
        done = run(todo, store=store, workers=number, on_event=progress) if todo else []
    outcomes = {outcome.task.key: outcome for outcome in done}
    for plan in plans:
        wrong, skipped = _judged(plan, [outcomes[task.key] for task in plan.chosen])
        if wrong:
            problems += wrong
        elif skipped:
            say(f"{plan.analysis.name}: {skipped}")
        else:
            confirmed = _note(plan, folder / plan.analysis.name, outcomes)
            say(f"{plan.analysis.name}: {confirmation_text(confirmed)}")
    for problem in problems:
        complain(f"error: {problem}")
    return 1 if problems else 0


def _plan(analysis: Analysis, folder: Path, scale: str, seconds: float, seed: int) -> _Plan | str:
    """What to compute again, or why nothing is."""
    name = analysis.name
    notes = notes_of(folder / f"{name}.json")
    if not notes.get("cells"):
        return f"skipped: nothing is committed in {folder}"
    tasks = analysis.tasks(scale, notes.get("seed", 0))
    made = read_committed(folder, name, tasks)
    keys = {cell["key"] for cell in notes["cells"] if cell["status"] != "skipped"}
    if not made and keys & {task.key for task in tasks}:
        return "skipped: its table is not the one that its notes describe; compute it again with --force"
    absent = len(keys - made.keys())
    if absent or not keys:
        return (
            f"skipped: {absent or 'all'} of its {len(notes['cells'])} committed cells are not in its grid here; are "
            f"its data absent? It uses {', '.join(map(str, notes.get('data') or [])) or 'none'}"
        )
    picked = set(sample({key: item.seconds for key, item in made.items()}, seconds, f"{seed} {name}"))
    longest = max(made[key].seconds for key in picked)
    if longest > max(LONGEST, seconds):
        return f"not confirmed: its cheapest cell took {longest / 60:.0f} minutes; give --seconds {longest + 1:.0f}"
    mine = [task for task in tasks if task.key in made]
    return _Plan(analysis, mine, made, [task for task in mine if task.key in picked])


def _judged(plan: _Plan, outcomes: Sequence[Outcome]) -> tuple[list[str], str]:
    """What is wrong, in lines, and why the analysis is skipped if it is."""
    clocks = getattr(plan.analysis.module, "CLOCKS", ())  # columns of wall-clock seconds
    wrong: list[str] = []
    for outcome in outcomes:
        what = outcome.task.describe()
        if outcome.status == "skipped":
            return [], f"skipped: {outcome.failure.message if outcome.failure else 'no data'}"
        if outcome.status == "failed":
            assert outcome.failure is not None
            kind = f"{outcome.failure.kind}: " if outcome.failure.details else ""
            wrong.append(f"{what}: {kind}{outcome.failure.message}")
            continue
        rows = [{**outcome.task.parameters, **row} for row in outcome.rows]
        found = differences(plan.committed[outcome.task.key].rows, rows, clocks)
        wrong += [f"{what}: {difference}" for difference in found]
    more = [f"{plan.analysis.name}: and {len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else []
    return wrong[:_SHOWN] + more, ""


def _note(plan: _Plan, folder: Path, outcomes: dict[str, Outcome]) -> dict[str, Any]:
    """Write into the notes what was confirmed, with the sources of all committed cells as they stand."""
    from ..provenance import provenance

    now = provenance(command=sys.argv)
    sources: list[Any] = []
    for task in plan.tasks:
        recorded = Sources.from_data(plan.committed[task.key].sources)
        if task.key in outcomes:
            made = outcomes[task.key].sources
        else:  # what earlier versions recorded does not say what the cell loaded by name: anything that it could
            made = sources_of(recorded.roots if recorded else reference_roots(task.reference))
        if made.as_data() not in sources:
            sources.append(made.as_data())
    path = folder / f"{plan.analysis.name}.json"
    notes = json.loads(path.read_text(encoding="utf-8"))
    confirmed = {
        "cells": len(plan.chosen),
        "of": len(plan.tasks),
        "date": str(now["date"])[:10],
        "packages": {name: now["packages"][name] for name in LIBRARIES},
        "python": now["python"],
        "cpu": now["cpu"],
        "csv_sha256": notes["csv_sha256"],
        "sources": sources,
    }
    write_notes(path, {**notes, "confirmed": confirmed})
    return confirmed
