"""What every analysis shares.

An analysis is a module with ``grid(scale) -> cells``, ``cell(*, seed, **parameters) -> rows`` and ``plot(table) ->
Figure``; everything else (workers, store, tables, provenance, index, command line) is here.

Beside the three functions a module has

- ``TITLE``: str; ``DATA``: names of the data sets it uses; ``CHOICES``: what the source leaves open and what was taken
  (dict or str);
- optional ``tables(table) -> dict of frames`` (more CSV files) and ``verdicts(table) -> list of dicts`` (rows for the
  index).

Rows get their cell's parameters as first columns. ``plot`` may return a dict of figures. Cells that lack their data
become rows with ``status = "skipped: needs ..."``, which ``plot``, ``tables`` and ``verdicts`` do not see.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import importlib
import importlib.util
import io
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import InputError, OutputError, one_of, require
from .sweeps import Outcome, Progress, Row, Store, Task, make_task, n_workers, run
from .sweeps.files import canonical_json, write_text
from .sweeps.sources import Sources, differs

if TYPE_CHECKING:
    from pandas import DataFrame

SCALES = ("quick", "full")
SKIPPED = "skipped: "
OLDER = "made by older sources"

Say = Callable[[str], None]


# --- tables: text first, so that a stored, a computed and a committed cell give the same bytes ---


def text_of(value: Any) -> str:
    """A value as it stands in a CSV; floats by `repr`, which reads back bit for bit.

    Examples
    --------
    >>> [text_of(value) for value in (0.1, 1.0, 3, True, None, float("nan"), "a", [1, 2])]
    ['0.1', '1.0', '3', 'True', '', 'nan', 'a', '[1,2]']
    """
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return canonical_json(value)
    return repr(float(value)) if isinstance(value, float) else str(value)  # a NumPy float shows its type otherwise


def csv_text(rows: Sequence[Row]) -> str:
    r"""Rows as CSV; columns in order of first appearance.

    Examples
    --------
    >>> csv_text([{"a": 1}, {"a": 2, "b": 0.5}])
    'a,b\n1,\n2,0.5\n'
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([text_of(row.get(name)) for name in columns] for row in rows)
    return stream.getvalue()


def read_table(text: str) -> DataFrame:
    """Read the table behind a CSV. What `plot` sees always comes from here, so that a redraw from the file draws the
    same.

    Columns become booleans, integers, floats or strings, whichever fits all their fields; an empty field is NaN or
    None. (pandas' own reader rounds floats in some versions.)

    Examples
    --------
    >>> read_table(csv_text([{"k": 1, "x": 0.1, "name": "a"}, {"k": 2, "x": None, "name": "b"}])).to_dict("list")
    {'k': [1, 2], 'x': [0.1, nan], 'name': ['a', 'b']}
    """
    import pandas as pd

    names, *lines = csv.reader(io.StringIO(text))
    return pd.DataFrame({name: _column([line[k] for line in lines]) for k, name in enumerate(names)})


def _column(fields: list[str]) -> list[Any]:
    given = [item for item in fields if item != ""]
    if given and set(given) <= {"True", "False"}:
        return [{"True": True, "False": False}.get(item) for item in fields]
    if not any("_" in item for item in given):  # Python reads 1_0 as ten
        with contextlib.suppress(ValueError):
            return [int(item) for item in fields]
        with contextlib.suppress(ValueError):
            return [float(item or "nan") for item in fields]
    return [item or None for item in fields]


# --- modules ---


@dataclass(frozen=True)
class Analysis:
    """A module of the analyses' package, checked."""

    name: str
    module: ModuleType

    @property
    def title(self) -> str:
        """What the figure shows, in a line."""
        return str(self.module.TITLE)

    def tasks(self, scale: str, seed: int) -> list[Task]:
        """The cells of the grid."""
        cells = self.module.grid(scale)
        require(len(cells) > 0, f"analysis {self.name}: grid({scale!r}) is empty")
        return [make_task(self.name, f"{self.module.__name__}:cell", cell, seed) for cell in cells]


def names(package: str = "analysis") -> list[str]:
    """Names of all analyses: the package's files without a leading underscore. Nothing is imported."""
    try:
        spec = importlib.util.find_spec(package)
    except ImportError:
        spec = None
    folders = list(spec.submodule_search_locations or []) if spec else []
    require(bool(folders), f"no package {package!r} here; run from the folder of the repository that holds {package}/")
    return sorted(
        path.stem for folder in folders for path in Path(folder).glob("*.py") if not path.name.startswith("_")
    )


def get(name: str, package: str = "analysis") -> Analysis:
    """Import an analysis by name and check that it has what an analysis has."""
    module = importlib.import_module(f"{package}.{name}")
    missing = [item for item in ("TITLE", "DATA", "CHOICES", "grid", "cell", "plot") if not hasattr(module, item)]
    require(
        not missing,
        f"{package}/{name}.py lacks {', '.join(missing)}; an analysis has TITLE, DATA, CHOICES, grid, cell and plot",
    )
    return Analysis(name, module)


def _select(wanted: Sequence[str], package: str) -> list[str]:
    known = names(package)
    for name in wanted:
        require(name == "all" or name in known, f"unknown analysis {name!r}; there are: {', '.join(known)}, or all")
    return known if "all" in wanted else list(dict.fromkeys(wanted))


# --- cells that a committed CSV holds ---


class Made(NamedTuple):
    """A cell's rows and where they come from. `status`: "stored", "computed", "committed", "skipped". `sources`: as
    they stand in the notes, also where an earlier version wrote them.
    """

    rows: list[Row]
    status: str
    seconds: float
    sources: Any
    older: bool = False


def committed(folder: Path, name: str, tasks: Sequence[Task]) -> dict[str, Made]:
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


# --- one analysis, from results to files ---


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


def write(
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
    from .plotting import save_figure, style
    from .provenance import provenance

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
    before = _notes(folder / f"{name}.json")
    if (
        all(item.status in ("stored", "committed") for item in made)
        and before.get("csv_sha256") == digest
        and "provenance" in before
    ):
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
    write_text(folder / f"{name}.json", json.dumps(notes, indent=1, ensure_ascii=False, default=str) + "\n")
    older = sum(item.older for item in made)
    if older:
        report.notes.append(f"{OLDER}: {older} of {len(made)} cells; --force computes them again")
    return report


def _notes(path: Path) -> dict[str, Any]:
    try:
        notes = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}


def _remove_others(folder: Path, name: str, figures: list[str], tables: list[str], verdicts: list[Row]) -> None:
    """Figures and tables that an earlier version of the analysis wrote and this one does not."""
    wanted = {f"{stem}.{end}" for stem in figures for end in ("pdf", "png")} | {
        f"{stem}.csv" for stem in [name, *tables]
    }
    wanted |= {f"{name}.json"} | ({"judged.csv"} if verdicts else set())
    before = _notes(folder / f"{name}.json")
    known = {f"{stem}.{end}" for stem in before.get("figures", []) for end in ("pdf", "png")} | {
        f"{stem}.csv" for stem in before.get("tables", [])
    }
    for file in sorted((known | {"judged.csv"}) - wanted):
        if Path(file).name == file:
            (folder / file).unlink(missing_ok=True)


# --- all of it ---


def prepare(folder: Path) -> None:
    """Make `folder` and check that it can be written, before anything is computed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".probe-") as probe:
            probe.write(b"x" * 4096)
            probe.flush()
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written ({error.strerror or error}); choose another folder with --out, or make room"
        ) from error


def run_analyses(
    wanted: Sequence[str],
    *,
    scale: str = "quick",
    workers: int | str | None = None,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    explain: bool = False,
    force: bool = False,
    package: str = "analysis",
    say: Say = lambda _line: None,
    complain: Say = lambda _line: None,
) -> int:
    """Compute what is not stored, draw everything, and build the index. Returns the exit code (0, or 1 if something
    failed).

    Parameters
    ----------
    wanted : sequence of str
        Names, or ``["all"]``.
    scale : {"quick", "full"}
        Handed to every ``grid``.
    workers : int, optional
        Processes; two unless given, or one where there is one processor.
    seed : int
        Root seed.
    out : path, optional
        Output folder: ``figures/quick`` or ``figures`` unless given.
    explain : bool
        Say of every cell why it runs or does not.
    force : bool
        Compute stored and committed cells again.
    package : str
        Package whose modules are the analyses.
    say, complain : callable
        Where lines for the reader go, and where errors go.
    """
    from .index import build_index, collect_verdicts

    begin = time.perf_counter()
    one_of("scale", scale, SCALES)
    number = n_workers(min(2, os.cpu_count() or 1) if workers is None else workers)
    chosen = _select(wanted, package)
    root = Path("figures")
    folder = Path(out) if out is not None else root / "quick" if scale == "quick" else root
    prepare(folder)
    store = Store(folder / ".store")
    if not (store.folder / ".gitignore").exists():
        write_text(store.folder / ".gitignore", "*\n")

    analyses = [get(name, package) for name in chosen]
    tasks = {analysis.name: analysis.tasks(scale, seed) for analysis in analyses}
    found: dict[str, Made] = {}
    if scale == "full" and not force:  # a full-scale result is shown as it is, and never made again by itself
        for name, mine in tasks.items():
            kept = committed(folder / name, name, mine)
            found.update(
                {task.key: kept[task.key] for task in mine if task.key in kept and store.lookup(task)[0] is None}
            )
    todo = [task for mine in tasks.values() for task in mine if task.key not in found]

    with Progress() as progress:

        def tell(event: Any) -> None:
            if explain and event.kind in ("stored", "waiting"):
                say(f"{event.task.describe()}: {event.reason}")
            progress(event)

        if explain:
            for task in (task for mine in tasks.values() for task in mine if task.key in found):
                say(f"{task.describe()}: committed{f', {OLDER}' if found[task.key].older else ''}")
        outcomes = {
            outcome.task.key: outcome for outcome in run(todo, store=store, workers=number, force=force, on_event=tell)
        }

    context = {"command": sys.argv, "seed": seed, "scale": scale, "workers": number}
    problems: list[str] = []
    for analysis in analyses:
        mine = tasks[analysis.name]
        failed = [outcomes[task.key] for task in mine if task.key in outcomes and outcomes[task.key].status == "failed"]
        if failed:
            problems += _failures(analysis.name, failed, len(mine))
            continue
        made = [found.get(task.key) or _made(outcomes[task.key]) for task in mine]
        report = write(
            analysis,
            mine,
            [_with_parameters(task, item) for task, item in zip(mine, made, strict=True)],
            folder / analysis.name,
            context,
        )
        computed = sum(item.status == "computed" for item in made)
        say(
            f"{analysis.name}: {len(mine)} cells, {computed} computed -> "
            f"{folder / analysis.name}{''.join(f'; {note}' for note in report.notes)}"
        )
        problems += report.problems
    base = root if out is None or Path(out).resolve().is_relative_to(root.resolve()) else folder
    collect_verdicts(base)
    page = build_index(base)
    say(f"{page} ({time.perf_counter() - begin:.1f} s)")
    for problem in problems:
        complain(f"error: {problem}")
    return 1 if problems else 0


def _made(outcome: Outcome) -> Made:
    if outcome.status == "skipped":
        message = outcome.failure.message if outcome.failure else "no data"
        return Made([{"status": message if message.startswith(SKIPPED) else SKIPPED + message}], "skipped", 0.0, Sources().as_data())
    return Made(outcome.rows, outcome.status, outcome.seconds, outcome.sources.as_data())


def _with_parameters(task: Task, made: Made) -> Made:
    if made.status == "committed":
        return made
    return made._replace(rows=[{**task.parameters, **row} for row in made.rows])


def _failures(name: str, failed: Sequence[Outcome], total: int) -> list[str]:
    lines = [
        f"{name}: {len(failed)} of {total} cells failed, so it is not drawn; the others are stored, run again to go on"
    ]
    for outcome in failed:
        assert outcome.failure is not None
        kind = f"{outcome.failure.kind}: " if outcome.failure.details else ""
        lines.append(
            f"{outcome.task.describe()}: {kind}{outcome.failure.message}"
            + (f"\n{outcome.failure.details}" if outcome.failure.details else "")
        )
    return lines


def main(arguments: Sequence[str] | None = None, *, package: str = "analysis") -> None:
    """Command line: ``python -m analysis NAME|all [--scale quick|full] [--workers W] [--seed S] [--out DIR] [--explain]
    [--force]``.

    Ends the process: 0 = done (also where data are absent), 1 = a cell or a figure failed, 2 = bad input, 130 =
    interrupted.
    """
    import typer

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

    @app.command(help="Compute what is not stored yet, and draw figures and tables.")
    def analyses(
        name: list[str] = typer.Argument(help="Analyses by name, or: all"),  # noqa: B008 (typer's way)
        scale: str = typer.Option("quick", help="quick (at most 20 s each) or full"),
        workers: str = typer.Option("", help="Number of worker processes (default: 2, or 1 on one processor)"),
        seed: int = typer.Option(0, help="Root seed"),
        out: str = typer.Option("", help="Output folder (default: figures/quick, or figures at full scale)"),
        explain: bool = typer.Option(False, "--explain", help="Say of every cell why it runs or does not"),
        force: bool = typer.Option(False, "--force", help="Compute everything again"),
    ) -> None:
        def complain(line: str) -> None:
            typer.echo(line, err=True)

        try:
            code = run_analyses(
                name,
                scale=scale,
                workers=workers or None,
                seed=seed,
                out=out or None,
                explain=explain,
                force=force,
                package=package,
                say=typer.echo,
                complain=complain,
            )
        except InputError as error:
            complain(f"error: {error}")
            code = 2
        except KeyboardInterrupt:
            complain("interrupted; finished cells are stored, run the same command again to go on")
            code = 130
        raise typer.Exit(code)

    try:
        code = app(
            args=None if arguments is None else list(arguments), prog_name=f"python -m {package}", standalone_mode=False
        )
    except Exception as error:
        if not hasattr(
            error, "format_message"
        ):  # what is wrong with the arguments, told in a line like any other bad input
            raise
        typer.echo(f"error: {' '.join(error.format_message().split())}; see python -m {package} --help", err=True)
        code = 2
    sys.exit(code)
